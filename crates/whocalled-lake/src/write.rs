//! Prepare: the rows of a batch as data files.
//!
//! It needs of the lake only its tables' columns, so that the files of one batch can be written while the one before
//! is committed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::kernel::Action;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use whocalled_types::Table;

use crate::data_file::{WRITES_AT_A_TIME, write_rows};
use crate::failpoint::{PREPARE_BEFORE, PREPARE_FILE_WRITTEN};
use crate::layout::Layout;
use crate::{Batch, BlobAdvance, Error, Failpoints, Lake};

/// Writes the rows of batches, which are to be committed in the same order.
pub struct Writer {
    store: Arc<dyn ObjectStore>,
    layouts: BTreeMap<Table, Arc<Layout>>,
    failpoints: Failpoints,
    /// The number of the next batch unless another program commits one first. It is in the files' names, where people
    /// look for it and nothing else does.
    number: i64,
}

/// A batch whose rows are in data files, which no snapshot names yet.
pub struct WrittenBatch {
    pub(crate) run_id: String,
    pub(crate) archive: String,
    pub(crate) advances: Vec<BlobAdvance>,
    /// How many rows there are, by table.
    pub(crate) rows: BTreeMap<Table, u64>,
    pub(crate) files: BTreeMap<Table, Vec<Action>>,
}

impl Lake {
    /// What writes batches that follow the loaded state.
    pub fn writer(&self) -> Writer {
        Writer {
            store: self.object_store(),
            layouts: self.tables.iter().map(|(table, known)| (*table, Arc::clone(&known.layout))).collect(),
            failpoints: self.failpoints.clone(),
            number: self.last_batch() + 1,
        }
    }
}

impl Writer {
    /// Writes the rows of a batch. Unless [`Lake::commit_written`] follows, the files are orphans, and
    /// [`Lake::vacuum`] deletes them.
    ///
    /// # Errors
    /// [`Error::Unbalanced`] when the rows are not those that the ranges account for, [`Error::Rows`] when they are not
    /// the table's, and whatever keeps files from being written.
    pub async fn write(&mut self, batch: Batch, now: DateTime<Utc>) -> Result<WrittenBatch, Error> {
        batch.check_balance()?;
        let is_empty = batch.is_empty();
        let Batch { run_id, archive, advances, rows } = batch;
        let mut written = WrittenBatch { run_id, archive, advances, rows: BTreeMap::new(), files: BTreeMap::new() };
        if is_empty {
            return Ok(written);
        }
        self.failpoints.hit(PREPARE_BEFORE)?;
        let label = self.number.to_string();
        let hit = || self.failpoints.hit(PREPARE_FILE_WRITTEN);
        let mut writing = stream::iter(rows)
            .map(async |(table, rows)| {
                let layout =
                    self.layouts.get(&table).ok_or_else(|| Error::damaged(table, "the table is not loaded"))?;
                let files = write_rows(&self.store, table.name(), layout, rows, &label, now, hit).await?;
                Ok::<_, Error>((table, files))
            })
            .buffered(WRITES_AT_A_TIME);
        while let Some((table, files)) = writing.try_next().await? {
            written.rows.insert(table, files.iter().map(|it| it.row_count).sum());
            written.files.insert(table, files.into_iter().map(|it| Action::Add(it.add)).collect());
        }
        drop(writing);
        self.number += 1;
        Ok(written)
    }
}

impl WrittenBatch {
    /// How many rows the batch has, rejects included.
    pub fn row_count(&self) -> u64 {
        self.rows.values().sum()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.advances.is_empty() && self.rows.is_empty()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer(batch {})", self.number)
    }
}

impl fmt::Debug for WrittenBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrittenBatch({} ranges, {} rows)", self.advances.len(), self.row_count())
    }
}
