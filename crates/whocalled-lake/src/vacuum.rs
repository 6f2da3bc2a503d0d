//! Deletes the files that no snapshot needs: replaced ones, and those of runs that ended early.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use deltalake::checkpoints::cleanup_metadata;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tracing::warn;
use whocalled_types::Table;

use crate::data_file::object_path;
use crate::failpoint::VACUUM_FILE_DELETED;
use crate::receipts::{DIRECTORY as RECEIPTS, RECEIPTS_RETENTION};
use crate::views::{VIEWS_DIRECTORY, VIEWS_RETENTION};
use crate::{Error, Lake};

/// How long a file without use is kept unless the user says otherwise; Delta's own default.
pub const RETENTION: TimeDelta = TimeDelta::days(7);
/// A shorter time could take files from a run that has written them and not decided yet, or from
/// a query that has begun to read them.
const RETENTION_MIN: TimeDelta = TimeDelta::hours(1);

/// What a vacuum deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// How many Parquet files were deleted.
    pub files: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many expired entries of the Delta logs were deleted.
    pub log_entries: usize,
    /// How many receipts were deleted.
    pub receipts: usize,
    /// How many files of materialized views were deleted.
    pub view_files: usize,
}

impl Lake {
    /// Recovers the lake, then deletes the Parquet files that are in no table, were last in one
    /// longer than `retention` ago, and were written longer than that ago; and the receipts of runs
    /// longer than [`RECEIPTS_RETENTION`] ago; and views that others took the place of longer than
    /// [`VIEWS_RETENTION`] ago.
    pub async fn vacuum(&mut self, retention: TimeDelta, now: DateTime<Utc>) -> Result<Vacuumed, Error> {
        if retention < RETENTION_MIN {
            return Err(Error::Argument {
                argument: "retention",
                value: format!("{} minutes", retention.num_minutes()),
                reason: "runs and queries under way may need files for an hour",
            });
        }
        self.recover(now).await?;
        let mut vacuumed = Vacuumed::default();
        for table in Table::ALL {
            for file in self.unneeded(table, now - retention).await? {
                match self.storage.store().delete(&file.location).await {
                    Ok(()) => {
                        vacuumed.files += 1;
                        vacuumed.bytes += file.size;
                    }
                    // Another vacuum was faster.
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(Error::write(file.location.to_string(), error)),
                }
                self.failpoints.hit(VACUUM_FILE_DELETED)?;
            }
            self.delete_leftovers(table.name(), now - retention, &mut vacuumed).await?;
            match cleanup_metadata(self.table(table)?.delta(), None).await {
                Ok(count) => vacuumed.log_entries += count,
                Err(error) => warn!(%table, %error, "expired entries of the Delta log could not be deleted"),
            }
        }
        self.delete_leftovers(RECEIPTS, now - retention, &mut vacuumed).await?;
        vacuumed.receipts = self.delete_receipts(now - RECEIPTS_RETENTION).await?;
        vacuumed.view_files = self.delete_views(now - VIEWS_RETENTION).await?;
        self.delete_leftovers(VIEWS_DIRECTORY, now - retention, &mut vacuumed).await?;
        Ok(vacuumed)
    }

    /// The Parquet files below a table's directory that nothing has needed since `since`.
    async fn unneeded(&self, table: Table, since: DateTime<Utc>) -> Result<Vec<ObjectMeta>, Error> {
        let directory = Path::from(table.name());
        let needed: BTreeSet<Path> = self.files(table)?.into_iter().map(|file| file.path).collect();
        let removed_at = self.removed_at(table).await?;
        let listing = self.storage.store().list(Some(&directory)).try_collect::<Vec<_>>().await;
        let mut files = listing.map_err(|error| Error::storage(directory.to_string(), error))?;
        files.retain(|file| {
            let is_data = file.location.extension() == Some("parquet")
                && !file.location.parts().any(|part| part.as_ref().starts_with('_'));
            let used_at = removed_at.get(&file.location).copied().unwrap_or_default().max(file.last_modified);
            is_data && !needed.contains(&file.location) && used_at < since
        });
        Ok(files)
    }

    /// Deletes what a killed process leaves of a file that it was writing to a local directory:
    /// object_store writes to `NAME#NUMBER` first, and does not list such names.
    async fn delete_leftovers(&self, below: &str, since: DateTime<Utc>, vacuumed: &mut Vacuumed) -> Result<(), Error> {
        let Some(directory) = self.location.as_directory() else { return Ok(()) };
        let directory = directory.join(below);
        let failed = |error| Error::io(directory.display().to_string(), error);
        // The first receipt makes their directory.
        let exists = tokio::fs::try_exists(&directory).await.map_err(failed)?;
        let mut directories: Vec<_> = exists.then(|| directory.clone()).into_iter().collect();
        while let Some(directory) = directories.pop() {
            let mut entries = tokio::fs::read_dir(&directory).await.map_err(failed)?;
            while let Some(entry) = entries.next_entry().await.map_err(failed)? {
                let metadata = match entry.metadata().await {
                    // A file that another run has put in its place meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(failed)?,
                };
                let name = entry.file_name();
                let is_leftover = name
                    .to_str()
                    .and_then(|name| name.rsplit_once('#'))
                    .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if is_leftover && DateTime::<Utc>::from(metadata.modified().map_err(failed)?) < since {
                    let removed = tokio::fs::remove_file(entry.path()).await;
                    removed.map_err(|error| Error::io_write(entry.path().display().to_string(), error))?;
                    vacuumed.files += 1;
                    vacuumed.bytes += metadata.len();
                }
            }
        }
        Ok(())
    }

    /// When files left a table, as far as its log still says so.
    async fn removed_at(&self, table: Table) -> Result<BTreeMap<Path, DateTime<Utc>>, Error> {
        let lake_table = self.table(table)?;
        let log_store = lake_table.delta().log_store();
        let tombstones = lake_table.state()?.all_tombstones(log_store.as_ref()).try_collect::<Vec<_>>().await;
        let tombstones = tombstones.map_err(|error| Error::delta(table, "read", error))?;
        let removed = tombstones.iter().map(|it| {
            let at = it.deletion_timestamp().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
            (object_path(table.name(), &it.path()), at)
        });
        Ok(removed.collect())
    }
}
