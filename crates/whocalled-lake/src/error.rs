//! What can go wrong with a lake, and what the caller should do about it.

use std::error::Error as StdError;
use std::{fmt, io};

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::TransactionError;
use whocalled_types::{AdvanceError, ErrorKind, Table};

/// An error from outside this crate, of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a write that failed leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// A batch that was not decided, or a lake that was not made.
    Batch,
    /// A batch of that number, which is decided, and not in every table yet.
    Decided(i64),
    /// An export.
    Export,
    /// The rows of views.
    Views,
}

impl Unfinished {
    const fn place(self) -> &'static str {
        match self {
            Self::Batch | Self::Decided(_) | Self::Views => "lake",
            Self::Export => "export",
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("nothing of the batch is visible, and the next run goes on from there"),
            Self::Decided(batch) => {
                write!(f, "batch {batch} is decided and not in every table yet, and the next run completes it")
            }
            Self::Export => f.write_str("what the export was to replace is as it was"),
            Self::Views => f.write_str("the lake's tables are whole, and queries compute what was to be written"),
        }
    }
}

/// Every way in which an operation on a lake fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text given as a location cannot be one.
    #[error("cannot use `{location}` as a lake: {reason}")]
    Location {
        /// The text, without anything after a `?`.
        location: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// There is no lake at the location.
    #[error("there is no lake at {location}: create it with `whocalled convert ARCHIVE --lake {location}`")]
    Missing {
        /// The location.
        location: String,
    },
    /// The location is a file, or lies below one.
    #[error("{location} is not a directory: give a new or an empty directory for the lake")]
    NotADirectory {
        /// The location.
        location: String,
    },
    /// The location holds something that is not a lake.
    #[error(
        "{location} holds something else (found `{found}`) and no whocalled-lake.json: give an empty place for the lake"
    )]
    Foreign {
        /// The location.
        location: String,
        /// A file or directory that a lake does not have.
        found: String,
    },
    /// The lake was written by a newer version of whocalled.
    #[error(
        "the lake at {location} has format {format}, written by {created_by}, and this version reads format \
         {supported}: upgrade whocalled"
    )]
    Newer {
        /// The location.
        location: String,
        /// The format in its marker.
        format: u64,
        /// The newest format that this version reads.
        supported: u64,
        /// The name and version in its marker.
        created_by: String,
    },
    /// Reading or writing is not permitted, or the credentials are not accepted.
    #[error("access to {location} is denied: check its permissions and the credentials for it")]
    Denied {
        /// The location, or an object in it.
        location: String,
        /// What the storage said.
        #[source]
        source: BoxError,
    },
    /// There is no room, or no quota, left for writing.
    #[error("the {}'s disk is full, at {place}: make room; {unfinished}", unfinished.place())]
    Full {
        /// The object that was being written.
        place: String,
        /// What is left behind.
        unfinished: Unfinished,
        /// What the storage said.
        #[source]
        source: BoxError,
    },
    /// Writing is not permitted, or the file system is mounted read-only.
    #[error(
        "the {} cannot be written to, at {place}: give write permission, or mount it writable; {unfinished}",
        unfinished.place()
    )]
    ReadOnly {
        /// The object that was being written.
        place: String,
        /// What is left behind.
        unfinished: Unfinished,
        /// What the storage said.
        #[source]
        source: BoxError,
    },
    /// The lake contradicts itself, or another program has changed what only we may change.
    #[error("the lake is damaged at {place}: {reason}")]
    Damaged {
        /// A table or a file of the lake.
        place: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A table has other columns than it should have.
    #[error(
        "table {table} has other columns than this version writes: {reason}; take a new place, or the version that \
         made this one"
    )]
    Schema {
        /// The table.
        table: String,
        /// The first difference.
        reason: String,
    },
    /// Rows given for a table do not fit its columns.
    #[error("rows for table {table} do not fit it: {reason}")]
    Rows {
        /// The table.
        table: String,
        /// The first difference.
        reason: String,
    },
    /// The counts of a batch do not add up, so that nothing of it was committed.
    #[error("the batch does not balance, nothing of it was committed: {reason}")]
    Unbalanced {
        /// Which counts differ.
        reason: String,
    },
    /// A range of a batch does not continue what is committed.
    #[error("cannot commit a range of blob {blob}")]
    Advance {
        /// The blob.
        blob: String,
        /// Position and range.
        #[source]
        source: AdvanceError,
    },
    /// Another run decided this batch number first.
    #[error("another run committed batch {batch} first, so nothing of this run's is in the lake: run it again")]
    Conflict {
        /// The number that both wanted.
        batch: i64,
    },
    /// The ledger's last batch may not be in every table yet.
    #[error("batch {batch} may not be in every table yet: recover the lake before changing it")]
    RecoverFirst {
        /// The ledger's last batch.
        batch: i64,
    },
    /// Another program wrote meanwhile, to a lake each time it was being read.
    #[error("{location} was changed by another program meanwhile: try again")]
    Busy {
        /// The location.
        location: String,
    },
    /// An argument is outside what is safe.
    #[error("{argument} cannot be {value}: {reason}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        reason: &'static str,
    },
    /// The storage failed.
    #[error("storage failed at {place}")]
    Storage {
        /// The location or object.
        place: String,
        /// What the storage said.
        #[source]
        source: object_store::Error,
    },
    /// The Delta log of a table could not be read or written.
    #[error("the Delta log of {table} could not be {action}")]
    Delta {
        /// The table.
        table: String,
        /// `read` or `written`.
        action: &'static str,
        /// What delta-rs said.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A Parquet file could not be read or written.
    #[error("Parquet file {path} could not be read or written")]
    Parquet {
        /// The file.
        path: String,
        /// What the Parquet library said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Columns could not be computed.
    #[error("rows of table {table} could not be processed")]
    Arrow {
        /// The table.
        table: String,
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The rows handed to an export ended in an error.
    #[error("the rows to export could not be computed")]
    Input {
        /// What their producer said.
        #[source]
        source: BoxError,
    },
    /// A failpoint was told to stop here. Only tests see this.
    #[error("stopped at failpoint {at}")]
    Interrupted {
        /// The failpoint.
        at: &'static str,
    },
}

impl Error {
    /// What a caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict { .. } | Self::RecoverFirst { .. } | Self::Busy { .. } => ErrorKind::Retry,
            // Whatever the storage said: trying again gives nobody room or a permission.
            Self::Full { .. } | Self::ReadOnly { .. } | Self::Denied { .. } => ErrorKind::Abort,
            _ if object_store_error(self).is_some_and(is_transient) => ErrorKind::Retry,
            _ => ErrorKind::Abort,
        }
    }

    /// An error of the storage while it read or listed `place`.
    pub(crate) fn storage(place: impl Into<String>, source: object_store::Error) -> Self {
        let place = place.into();
        match cause(&source) {
            Some(cause) => Self::caused(cause, false, place, source.into()),
            None => Self::Storage { place, source },
        }
    }

    /// An error of the storage while it wrote or deleted `place`.
    pub(crate) fn write(place: impl Into<String>, source: object_store::Error) -> Self {
        let place = place.into();
        match cause(&source) {
            Some(cause) => Self::caused(cause, true, place, source.into()),
            None => Self::Storage { place, source },
        }
    }

    /// An error of a local file or directory that was read.
    pub(crate) fn io(place: impl Into<String>, source: io::Error) -> Self {
        Self::storage(place, local(source))
    }

    /// An error of a local file or directory that was made or deleted.
    pub(crate) fn io_write(place: impl Into<String>, source: io::Error) -> Self {
        Self::write(place, local(source))
    }

    /// An error of delta-rs while it did `action` to the log of a table.
    pub(crate) fn delta(table: impl ToString, action: &'static str, source: DeltaTableError) -> Self {
        let table = table.to_string();
        match cause(&source) {
            Some(cause) => Self::caused(cause, action == WRITTEN, table, source.into()),
            None => Self::Delta { table, action, source: Box::new(source) },
        }
    }

    /// An error whose cause tells the user what to do. What may be read and not be written is not
    /// denied, but read-only.
    fn caused(cause: Cause, writing: bool, place: String, source: BoxError) -> Self {
        let unfinished = Unfinished::Batch;
        match cause {
            Cause::Full => Self::Full { place, unfinished, source },
            Cause::ReadOnly => Self::ReadOnly { place, unfinished, source },
            Cause::Forbidden if writing => Self::ReadOnly { place, unfinished, source },
            Cause::Forbidden | Cause::Unauthenticated => Self::Denied { location: place, source },
            Cause::NotADirectory => Self::NotADirectory { location: place },
        }
    }

    /// The same, with what else than an undecided batch is left behind.
    pub(crate) fn leaving(self, what: Unfinished) -> Self {
        match self {
            Self::Full { place, source, .. } => Self::Full { place, unfinished: what, source },
            Self::ReadOnly { place, source, .. } => Self::ReadOnly { place, unfinished: what, source },
            other => other,
        }
    }

    /// An error of a Parquet file that is written to the storage as it is made.
    pub(crate) fn parquet_write(path: impl Into<String>, source: parquet::errors::ParquetError) -> Self {
        let path = path.into();
        match cause(&source) {
            Some(cause) => Self::caused(cause, true, path, source.into()),
            None => Self::Parquet { path, source },
        }
    }

    /// An error of Arrow while it processed rows of a table.
    pub(crate) fn arrow(table: impl ToString, source: arrow::error::ArrowError) -> Self {
        Self::Arrow { table: table.to_string(), source }
    }

    /// A contradiction found in the lake.
    pub(crate) fn damaged(place: impl ToString, reason: impl Into<String>) -> Self {
        Self::Damaged { place: place.to_string(), reason: reason.into() }
    }

    /// A contradiction found in the ledger.
    pub(crate) fn damaged_ledger(reason: impl Into<String>) -> Self {
        Self::damaged(Table::Ledger, reason)
    }
}

/// Whether a commit failed because the table's version was not the one it was conditional on.
pub(crate) fn is_lost_race(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_)
                    | TransactionError::VersionAlreadyExists(_)
                    | TransactionError::CommitConflict(_)
            }
    )
}

/// What delta-rs did when it failed to write.
pub(crate) const WRITTEN: &str = "written";

/// A cause that only the user can do something about.
enum Cause {
    Full,
    ReadOnly,
    Forbidden,
    Unauthenticated,
    NotADirectory,
}

fn cause(error: &(dyn StdError + 'static)) -> Option<Cause> {
    sources(error).find_map(|source| {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Cause::Full),
                io::ErrorKind::ReadOnlyFilesystem => Some(Cause::ReadOnly),
                io::ErrorKind::PermissionDenied => Some(Cause::Forbidden),
                io::ErrorKind::NotADirectory => Some(Cause::NotADirectory),
                _ => None,
            };
        }
        match source.downcast_ref::<object_store::Error>()? {
            object_store::Error::PermissionDenied { .. } => Some(Cause::Forbidden),
            object_store::Error::Unauthenticated { .. } => Some(Cause::Unauthenticated),
            _ => None,
        }
    })
}

fn local(source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "local", source: source.into() }
}

fn object_store_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a object_store::Error> {
    sources(error).find_map(|source| source.downcast_ref())
}

/// An error and what it was caused by, outermost first.
fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// object_store reports what remains of a failed request after its own retries as `Generic`.
fn is_transient(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. })
}
