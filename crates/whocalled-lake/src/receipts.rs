//! The receipts of runs, kept in the lake beside its tables.
//!
//! Each is one object, `_receipts/<begin of the run>-<run id>.json`; Delta readers overlook names
//! that begin with an underscore. They are an account for people: nothing in the lake follows from
//! them, and the lake does not look into them.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::{Error, Lake};

/// The directory of the receipts in the lake.
pub(crate) const DIRECTORY: &str = "_receipts";
/// How long receipts are kept, at least: a year, and time to look back on it. A vacuum deletes older
/// ones.
pub const RECEIPTS_RETENTION: TimeDelta = TimeDelta::days(400);

/// When a run began, in the name of its receipt, so that names are in the order of time.
const STARTED_AT: &str = "%Y%m%dT%H%M%SZ";
/// How many receipts are read at the same time.
const READS_AT_A_TIME: usize = 8;

/// The receipt of a run, as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    /// When the run began, to the second.
    pub started_at: DateTime<Utc>,
    /// What names the run in the ledger.
    pub run_id: String,
    /// What was kept: JSON, unless somebody has damaged it.
    pub json: Bytes,
}

impl Lake {
    /// Keeps the receipt of a run, in place of an earlier one of the same run and begin. Readers see
    /// one of them whole.
    pub async fn put_receipt(&self, started_at: DateTime<Utc>, run_id: &str, json: &[u8]) -> Result<(), Error> {
        if run_id.is_empty() || !run_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::Argument {
                argument: "run_id",
                value: format!("{run_id:?}"),
                reason: "it is part of a file name: letters, digits and hyphens only",
            });
        }
        let path = Path::from_iter([DIRECTORY.to_owned(), format!("{}-{run_id}.json", started_at.format(STARTED_AT))]);
        let put = self.storage.store().put(&path, Bytes::copy_from_slice(json).into()).await;
        put.map(drop).map_err(|error| Error::write(path.to_string(), error))
    }

    /// The receipts of the last runs, `count_max` at most, newest first.
    pub async fn receipts(&self, count_max: usize) -> Result<Vec<KeptReceipt>, Error> {
        let mut named = self.named_receipts().await?;
        named.sort_by(|left, right| (right.1, &right.2).cmp(&(left.1, &left.2)));
        named.truncate(count_max);
        let read = async |(path, started_at, run_id): (Path, DateTime<Utc>, String)| {
            let found = match self.storage.store().get(&path).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match found {
                Ok(json) => Ok(Some(KeptReceipt { started_at, run_id, json })),
                // A vacuum was faster.
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::storage(path.to_string(), error)),
            }
        };
        let read = stream::iter(named).map(read).buffered(READS_AT_A_TIME);
        read.try_filter_map(async |receipt| Ok(receipt)).try_collect().await
    }

    /// Deletes the receipts of runs that began before `since`; how many there were.
    pub(crate) async fn delete_receipts(&self, since: DateTime<Utc>) -> Result<usize, Error> {
        let mut count = 0;
        for (path, ..) in self.named_receipts().await?.into_iter().filter(|(_, started_at, _)| *started_at < since) {
            match self.storage.store().delete(&path).await {
                Ok(()) => count += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(Error::write(path.to_string(), error)),
            }
        }
        Ok(count)
    }

    /// Every object with the name of a receipt, with the begin of the run and its id.
    async fn named_receipts(&self) -> Result<Vec<(Path, DateTime<Utc>, String)>, Error> {
        let directory = Path::from(DIRECTORY);
        let listing = self.storage.store().list(Some(&directory)).try_collect::<Vec<_>>().await;
        let listing = listing.map_err(|error| Error::storage(directory.to_string(), error))?;
        let named = listing.into_iter().filter_map(|object| {
            let (started_at, run_id) = object.location.filename()?.strip_suffix(".json")?.split_once('-')?;
            let started_at = NaiveDateTime::parse_from_str(started_at, STARTED_AT).ok()?.and_utc();
            let run_id = run_id.to_owned();
            Some((object.location, started_at, run_id))
        });
        Ok(named.collect())
    }
}
