//! Takes the rows of re-created blobs out of the files that hold them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use chrono::{DateTime, Utc};
use deltalake::kernel::{Action, Add};
use futures::TryStreamExt;
use whocalled_types::Table;

use crate::data_file::{remove, write_rows};
use crate::failpoint::PREPARE_FILE_WRITTEN;
use crate::read::read_file;
use crate::{Error, Lake, statistics};

/// The column that names a row's blob.
const BLOB: &str = "blob";

impl Lake {
    /// Adds to `actions` what takes every row of these blobs out of the data tables: each file that
    /// holds one is replaced by a file without them, or by none.
    pub(crate) async fn without_blobs(
        &self,
        blobs: &BTreeSet<String>,
        number: i64,
        now: DateTime<Utc>,
        actions: &mut BTreeMap<Table, Vec<Action>>,
    ) -> Result<(), Error> {
        for table in Table::data() {
            for add in self.table(table)?.adds()? {
                if may_hold(&add, blobs) && self.holds(table, &add, blobs).await? {
                    let replacement = self.rewrite(table, &add, blobs, number, now).await?;
                    let actions = actions.entry(table).or_default();
                    actions.push(Action::Remove(remove(&add, true, now)));
                    actions.extend(replacement);
                }
            }
        }
        Ok(())
    }

    /// Whether a file has a row of one of the blobs; reads one column.
    async fn holds(&self, table: Table, add: &Add, blobs: &BTreeSet<String>) -> Result<bool, Error> {
        let mut rows = read_file(self.storage.store(), &self.table(table)?.layout, add, Some(&[BLOB]))?;
        while let Some(rows) = rows.try_next().await? {
            if others(table, &rows, blobs)?.false_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn rewrite(
        &self,
        table: Table,
        add: &Add,
        blobs: &BTreeSet<String>,
        number: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Action>, Error> {
        let layout = &self.table(table)?.layout;
        let mut rows = read_file(self.storage.store(), layout, add, None)?;
        let mut kept = Vec::new();
        while let Some(rows) = rows.try_next().await? {
            let others = others(table, &rows, blobs)?;
            let rows = filter_record_batch(&rows, &others).map_err(|error| Error::arrow(table, error))?;
            if rows.num_rows() > 0 {
                kept.push(rows);
            }
        }
        let hit = || self.failpoints.hit(PREPARE_FILE_WRITTEN);
        let label = number.to_string();
        let written = write_rows(self.storage.store(), table.name(), layout, kept, &label, now, hit).await?;
        Ok(written.into_iter().map(|it| Action::Add(it.add)).collect())
    }
}

/// Whether the statistics of a file leave room for one of the blobs.
fn may_hold(add: &Add, blobs: &BTreeSet<String>) -> bool {
    statistics::text_bounds(add.stats.as_deref(), BLOB)
        .is_none_or(|(lowest, highest)| lowest > highest || blobs.range(lowest..=highest).next().is_some())
}

/// Which rows are of other blobs.
fn others(table: Table, rows: &RecordBatch, blobs: &BTreeSet<String>) -> Result<BooleanArray, Error> {
    let column = rows.column_by_name(BLOB).and_then(|it| it.as_string_opt::<i32>());
    let column = column.ok_or_else(|| Error::damaged(table, "it has no column blob"))?;
    Ok((0..column.len()).map(|row| Some(column.is_null(row) || !blobs.contains(column.value(row)))).collect())
}
