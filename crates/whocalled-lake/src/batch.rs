//! The unit of commit, and the check that its counts add up.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use whocalled_types::{Advance, Position, Table};

use crate::Error;

/// How far a blob is committed, and what is known of it. One per blob, of its last generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobState {
    /// The generation, the committed bytes, and how to recognise them.
    pub position: Position,
    /// When the blob was created, if the archive said so at the last commit.
    pub created_at: Option<DateTime<Utc>>,
    /// When the blob was last modified, if the archive said so at the last commit.
    pub modified_at: Option<DateTime<Utc>>,
    /// How far the blob was looked at, in bytes: its length when last listed, or less where reading it
    /// ended early.
    pub listed_bytes: u64,
    /// How many rows this generation gave, rejects apart.
    pub row_count: u64,
    /// How many rejects this generation gave.
    pub reject_count: u64,
    /// The number of the batch that committed last.
    pub last_batch: i64,
    /// When that batch was committed.
    pub committed_at: DateTime<Utc>,
}

/// One range of one blob that a batch commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobAdvance {
    /// The blob, as in the `blob` column: `container/name`.
    pub blob: String,
    /// The range, and the position after it. Towards the next generation it replaces the blob: all
    /// rows and rejects of the earlier generations leave the lake with the same commit.
    pub advance: Advance,
    /// How long the blob was when listed, in bytes.
    pub listed_bytes: u64,
    /// When the blob was created, if the archive says so.
    pub created_at: Option<DateTime<Utc>>,
    /// When the blob was last modified, if the archive says so.
    pub modified_at: Option<DateTime<Utc>>,
    /// How many records the range holds.
    pub record_count: u64,
    /// How many of them became rows.
    pub row_count: u64,
    /// How many of them became rejects.
    pub reject_count: u64,
}

/// Some ranges of some blobs with all their rows: committed as a whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Names the run in the ledger.
    pub run_id: String,
    /// The archive that the blobs are in, without secrets.
    pub archive: String,
    /// The ranges. Several of one blob must be in order.
    pub advances: Vec<BlobAdvance>,
    /// The rows by table, rejects included, ledger excluded. The columns are those of the table, in
    /// any order; text may be dictionary-encoded. Every row has a `date`.
    pub rows: BTreeMap<Table, Vec<RecordBatch>>,
}

impl Batch {
    /// Adds rows of a table.
    pub fn push(&mut self, table: Table, rows: RecordBatch) {
        if rows.num_rows() > 0 {
            self.rows.entry(table).or_default().push(rows);
        }
    }

    /// How many rows the batch holds, rejects included.
    pub fn row_count(&self) -> usize {
        self.rows.values().flatten().map(RecordBatch::num_rows).sum()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.advances.is_empty() && self.row_count() == 0
    }

    /// Fails unless the rows are exactly those that the ranges account for.
    pub(crate) fn check_balance(&self) -> Result<(), Error> {
        let unbalanced = |reason: String| Err(Error::Unbalanced { reason });
        if self.rows.contains_key(&Table::Ledger) {
            return unbalanced("it has rows for the ledger, which only a commit writes".to_owned());
        }
        for advance in &self.advances {
            if advance.record_count != advance.row_count + advance.reject_count {
                return unbalanced(format!(
                    "{} records of blob {} became {} rows and {} rejects",
                    advance.record_count, advance.blob, advance.row_count, advance.reject_count
                ));
            }
        }
        let rejects = count(self.rows.get(&Table::Rejects).into_iter().flatten());
        let rows = count(self.rows.iter().filter(|(table, _)| **table != Table::Rejects).flat_map(|(_, rows)| rows));
        let row_count: u64 = self.advances.iter().map(|it| it.row_count).sum();
        let reject_count: u64 = self.advances.iter().map(|it| it.reject_count).sum();
        if rows != row_count {
            return unbalanced(format!("it holds {rows} rows where its ranges account for {row_count}"));
        }
        if rejects != reject_count {
            return unbalanced(format!("it holds {rejects} rejects where its ranges account for {reject_count}"));
        }
        Ok(())
    }

    /// The states of the batch's blobs after it, or an error if a range does not follow `states`;
    /// and the blobs whose earlier generations it replaces.
    pub(crate) fn advance(
        &self,
        states: &BTreeMap<String, BlobState>,
        number: i64,
        now: DateTime<Utc>,
    ) -> Result<(BTreeMap<String, BlobState>, BTreeSet<String>), Error> {
        let mut after: BTreeMap<String, BlobState> = BTreeMap::new();
        let mut replaced = BTreeSet::new();
        for it in &self.advances {
            let before = after.get(&it.blob).or_else(|| states.get(&it.blob));
            let position = it
                .advance
                .apply(before.map(|state| &state.position))
                .map_err(|source| Error::Advance { blob: it.blob.clone(), source })?;
            let continued = before.filter(|state| state.position.generation == position.generation);
            if before.is_some() && continued.is_none() {
                if after.contains_key(&it.blob) {
                    return Err(Error::Unbalanced {
                        reason: format!("blob {} is replaced after another range of it in the same batch", it.blob),
                    });
                }
                replaced.insert(it.blob.clone());
            }
            let state = BlobState {
                position,
                created_at: it.created_at,
                modified_at: it.modified_at,
                listed_bytes: it.listed_bytes,
                row_count: continued.map_or(0, |state| state.row_count) + it.row_count,
                reject_count: continued.map_or(0, |state| state.reject_count) + it.reject_count,
                last_batch: number,
                committed_at: now,
            };
            after.insert(it.blob.clone(), state);
        }
        Ok((after, replaced))
    }
}

fn count<'a>(rows: impl Iterator<Item = &'a RecordBatch>) -> u64 {
    rows.map(|it| it.num_rows() as u64).sum()
}
