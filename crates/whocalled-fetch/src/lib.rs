//! Lists and reads the blobs of an archive: a Storage Account that diagnostic settings write to, or
//! a local directory laid out like one.
//!
//! [`Archive`] is all there is to it. A listing is paged and lazy; a read returns exactly the range
//! that was asked for, or an error, whatever happens to the connection in between. Nothing here
//! knows what is in a blob.
//!
//! ```no_run
//! # async fn example(now: chrono::DateTime<chrono::Utc>) -> Result<(), whocalled_fetch::Error> {
//! use futures::TryStreamExt;
//! use whocalled_fetch::{Archive, Auth};
//!
//! let archive = Archive::open("https://account.blob.core.windows.net", Auth::default(), now).await?;
//! for container in archive.containers().await? {
//!     let mut pages = archive.list(&container, "");
//!     while let Some(page) = pages.try_next().await? {
//!         for blob in page {
//!             let bytes = archive.read(&blob.name, 0..blob.bytes).await?;
//!             assert_eq!(bytes.len() as u64, blob.bytes);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every request of a run goes through one retry policy (module `retry`), and how many run at the same
//! time follows what the account bears (module `pace`). How large a range is asked for is the
//! caller's business.

mod account;
mod auth;
mod buffers;
mod directory;
mod error;
mod location;
mod pace;
mod probe;
mod retry;
mod sas;
mod secret;
mod traffic;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use whocalled_types::{BlobName, HourSpan};

pub use auth::{Auth, AuthKind};
pub use error::{Cause, Error};
pub use probe::{
    Greeting, Survey,
    endpoint::{Endpoint, Reach},
    terms::SasTerms,
};
pub use retry::RetryPolicy;
pub use sas::account_sas;
pub use secret::Secret;
pub use traffic::Traffic;

use account::Account;
use directory::Directory;
use location::Location;
use traffic::Counters;

/// A blob as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its container and name.
    pub name: BlobName,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was created. `None` for a file: the birth time of a copy is that of the copying, and
    /// would look like a re-creation.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was last written to, or touched.
    pub modified_at: Option<DateTime<Utc>>,
    /// Its ETag, without meaning but for equality. `None` for a file.
    pub etag: Option<String>,
}

/// An archive that can be listed and read.
#[derive(Debug)]
pub struct Archive {
    source: Source,
    display: String,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum Source {
    Directory(Directory),
    Account(Box<Account>),
}

impl Archive {
    /// Opens the archive at `location`: a directory, or the URL of a Storage Account, which may hold
    /// a SAS and may name one container of the account.
    ///
    /// A directory may be the archive itself, the parent of a subdirectory `archive`, or the
    /// directory of one container. For an account, credentials are settled here: a SAS in the URL
    /// comes first, then `auth`. The account itself is not asked anything yet. `now` is what a SAS's
    /// expiry is measured by.
    ///
    /// # Errors
    /// All of kind `Abort`: a location that is none, a missing directory, a SAS that has expired or
    /// lacks a permission, or no credential that answers.
    pub async fn open(location: &str, auth: Auth, now: DateTime<Utc>) -> Result<Self, Error> {
        Self::open_with(location, auth, now, RetryPolicy::default()).await
    }

    /// As [`Archive::open`], with another policy of repeating what fails.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub async fn open_with(location: &str, auth: Auth, now: DateTime<Utc>, policy: RetryPolicy) -> Result<Self, Error> {
        let counters = Arc::new(Counters::default());
        let (source, display) = match Location::parse(location)? {
            Location::Directory(path) => {
                (Source::Directory(Directory::open(path, Arc::clone(&counters)).await?), location.to_owned())
            }
            Location::Account(url) => {
                let account = Account::open(url, auth, now, policy, Arc::clone(&counters)).await?;
                let display = account.display();
                (Source::Account(Box::new(account)), display)
            }
        };
        Ok(Self { source, display, counters })
    }

    /// The location as it may be shown: without a SAS.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// What tells this archive from others: the account's endpoint, such as
    /// `https://account.blob.core.windows.net`, or `directory`, since directories get moved and
    /// copied.
    pub fn identity(&self) -> String {
        match &self.source {
            Source::Directory(_) => "directory".to_owned(),
            Source::Account(account) => account.identity().to_owned(),
        }
    }

    /// Whether it is a local directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.source, Source::Directory(_))
    }

    /// Which credential answered: `SAS`, `account key`, `workload identity`, `managed identity`,
    /// `client certificate`, `client secret` or `Azure CLI`; `none` for a directory.
    pub fn credential(&self) -> &'static str {
        match &self.source {
            Source::Directory(_) => "none",
            Source::Account(account) => account.credential(),
        }
    }

    /// The containers that diagnostic settings write to, sorted; none where there are none.
    ///
    /// Where the caller may not list an account's containers, the usual names are tried one by one.
    ///
    /// # Errors
    /// `Abort` where access is denied, `Retry` where the account cannot be reached.
    pub async fn containers(&self) -> Result<Vec<String>, Error> {
        match &self.source {
            Source::Directory(directory) => directory.containers().await,
            Source::Account(account) => account.containers().await,
        }
    }

    /// The blobs of a container whose names begin with `prefix`, in the order of their names, page by
    /// page. The stream ends with the first error.
    ///
    /// # Errors
    /// `Skip` where there is no such container, otherwise as [`Archive::containers`].
    pub fn list(&self, container: &str, prefix: &str) -> BoxStream<'_, Result<Vec<ListedBlob>, Error>> {
        match &self.source {
            Source::Directory(directory) => directory.list(container, prefix),
            Source::Account(account) => account.list(container, prefix),
        }
    }

    /// The blobs of a container whose names are of `hours`, and those whose names have no hour, in the
    /// order of their names. Of an account it takes about one request for each resource, however
    /// many hours the archive holds.
    ///
    /// # Errors
    /// As [`Archive::list`].
    pub fn list_hours(&self, container: &str, hours: HourSpan) -> BoxStream<'_, Result<Vec<ListedBlob>, Error>> {
        match &self.source {
            Source::Directory(directory) => directory.list_hours(container, hours),
            Source::Account(account) => account.list_hours(container, hours),
        }
    }

    /// Exactly the bytes `range` of a blob. The range is held in memory, and is asked for in one
    /// request; where the connection breaks off, the rest is asked for from the last byte received.
    /// An append to the blob in the meantime does no harm, so no ETag is held against it.
    ///
    /// # Errors
    /// `Skip` where the blob is gone, has fewer bytes than `range.end`, or is offline; `Retry` where
    /// the account throttles, fails or breaks off more often than is borne with; `Abort` where
    /// access is denied.
    pub async fn read(&self, blob: &BlobName, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        match &self.source {
            Source::Account(account) => account.read(blob, range).await,
            Source::Directory(directory) => directory.read(blob.clone(), range).await,
        }
    }

    /// Several ranges, each as [`Archive::read`] reads it but in the pieces in which it came, in their order. They are held
    /// in memory together; files are read one after the other, and an account's blobs at the same time.
    ///
    /// # Errors
    /// Those of [`Archive::read`] for each range; for all of them only where the process is ending.
    pub async fn read_all(&self, ranges: Vec<(BlobName, Range<u64>)>) -> Result<Vec<Result<Vec<Bytes>, Error>>, Error> {
        match &self.source {
            Source::Directory(directory) => {
                let read = directory.read_all(ranges).await?;
                Ok(read.into_iter().map(|bytes| Ok(vec![bytes?])).collect())
            }
            Source::Account(account) => {
                let reads = ranges.iter().map(|(blob, range)| account.read_pieces(blob, range.clone()));
                Ok(futures::future::join_all(reads).await)
            }
        }
    }

    /// What has been transferred since the archive was opened.
    pub fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }
}
