//! What ends a run.

use std::path::PathBuf;

use whocalled_types::ErrorKind;

/// A failure that ends a run. What was committed before it stays committed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive could not be listed.
    #[error(transparent)]
    Archive(#[from] whocalled_fetch::Error),
    /// The lake could not be read or committed to.
    #[error(transparent)]
    Lake(#[from] whocalled_lake::Error),
    /// Decoded columns could not be built.
    #[error(transparent)]
    Convert(#[from] whocalled_convert::Error),
    /// The archive has no container that diagnostic settings write to.
    #[error(
        "archive {archive} has no log container (insights-logs-*, insights-activity-logs, insights-metrics-pt1m): \
         check the location, or wait up to a day after diagnostic settings were made"
    )]
    Empty {
        /// The archive's location, without secrets.
        archive: String,
    },
    /// A container was asked for that the archive does not have.
    #[error("archive {archive} has no container {container}; it has {}", present.join(", "))]
    NoContainer {
        /// The archive's location, without secrets.
        archive: String,
        /// The container that was asked for.
        container: String,
        /// The containers it has.
        present: Vec<String>,
    },
    /// The lake holds another archive's records, whose blobs may have the same names.
    #[error("the lake holds records of {recorded}, and {given} is another archive: use another lake for it")]
    OtherArchive {
        /// The archive that the ledger names.
        recorded: String,
        /// The archive of this run.
        given: String,
    },
    /// Decoding ended without a result, which is a defect.
    #[error("decoding of blob {blob} broke off: this is a defect, please report it with the blob's name")]
    Decoder {
        /// The blob.
        blob: String,
    },
    /// The receipt's counts do not add up, which is a defect.
    #[error("the run does not balance: {reason}: this is a defect, please report it with the receipt")]
    Unbalanced {
        /// Which counts differ.
        reason: String,
    },
    /// Another run is writing to the mirror.
    #[error("another fetch is writing to {}: wait for it to end, or give --wait", path.display())]
    MirrorBusy {
        /// The mirror's directory.
        path: PathBuf,
    },
    /// The directory mirrors another archive.
    #[error("{} mirrors {recorded}, and {given} is another archive: give another directory", path.display())]
    OtherMirror {
        /// The mirror's directory.
        path: PathBuf,
        /// The archive that it is of.
        recorded: String,
        /// The archive of this run.
        given: String,
    },
    /// A blob's name is no path below the mirror's directory.
    #[error("the name of blob {blob} leads out of the directory")]
    Name {
        /// The blob.
        blob: String,
    },
    /// The receipt is no JSON, which is a defect.
    #[error("the receipt cannot be written: this is a defect, please report it")]
    Receipt {
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A local file could not be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Archive(error) => error.kind(),
            Self::Lake(error) => error.kind(),
            Self::Convert(error) => error.kind(),
            Self::MirrorBusy { .. } => ErrorKind::Retry,
            _ => ErrorKind::Abort,
        }
    }
}

/// Whether a blob's failure would be every other blob's too, so that a run had better end.
pub(crate) fn ends_run(error: &whocalled_fetch::Error) -> bool {
    use whocalled_fetch::Error::{Denied, Exhausted, Expired, Token, Unreachable};
    matches!(error, Denied { .. } | Exhausted { .. } | Expired { .. } | Token { .. } | Unreachable { .. })
}
