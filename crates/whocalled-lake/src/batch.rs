//! The unit of commit, and the check that its counts add up.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use whocalled_types::{Advance, BlobFacts, BlobFinding, BlobName, BlobPhase, Position, Table};

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
    /// Whether the last commit found that the archive does not have the blob any more.
    pub gone: bool,
    /// Whether it was sealed without its last bytes being a complete record, so that these need no
    /// second look until the blob grows.
    pub torn: bool,
    /// The number of the batch that committed last.
    pub last_batch: i64,
    /// When that batch was committed.
    pub committed_at: DateTime<Utc>,
}

impl BlobState {
    /// Where the blob is in its life, as far as its last commit tells. `blob` is its name, and
    /// `seal_after` how long it must be quiet to be taken for complete.
    ///
    /// Where the archive says no time of modification, that of the commit stands for it.
    pub fn phase(&self, blob: &str, seal_after: TimeDelta, now: DateTime<Utc>) -> BlobPhase {
        let modified_at = self.modified_at.unwrap_or(self.committed_at);
        let hour = BlobName::from_column(blob).and_then(|it| hour_begin(&it));
        let facts = BlobFacts {
            gone: self.gone,
            hour_over: hour.is_none_or(|begin| begin + TimeDelta::hours(1) <= now),
            settled: self.left_bytes() == 0 || self.torn,
            // A time that lies ahead, of a clock that does, is no quiet at all.
            quiet_for: (now - modified_at).to_std().unwrap_or_default(),
        };
        BlobPhase::of(facts, seal_after.to_std().unwrap_or_default())
    }

    /// How many bytes were seen after the position; none of a blob that is gone.
    pub fn left_bytes(&self) -> u64 {
        if self.gone { 0 } else { self.listed_bytes.saturating_sub(self.position.bytes) }
    }
}

/// When the hour in a blob's name begins; `None` for a name without one.
pub fn hour_begin(blob: &BlobName) -> Option<DateTime<Utc>> {
    let (year, month, day, hour) = blob.hour()?;
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
    Some(date.and_hms_opt(hour.into(), 0, 0)?.and_utc())
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
    /// What the archive did to the blob that it should not; `Gone` of an empty range says that the
    /// blob is not there any more, and its rows stay.
    pub finding: Option<BlobFinding>,
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
}

/// The states of a batch's blobs after it, or an error if a range does not follow `states`;
/// and the blobs whose earlier generations it replaces.
pub(crate) fn advance(
    advances: &[BlobAdvance],
    states: &BTreeMap<String, BlobState>,
    number: i64,
    now: DateTime<Utc>,
) -> Result<(BTreeMap<String, BlobState>, BTreeSet<String>), Error> {
    let mut after: BTreeMap<String, BlobState> = BTreeMap::new();
    let mut replaced = BTreeSet::new();
    for it in advances {
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
            gone: it.finding == Some(BlobFinding::Gone),
            torn: it.finding == Some(BlobFinding::Torn),
            last_batch: number,
            committed_at: now,
        };
        after.insert(it.blob.clone(), state);
    }
    Ok((after, replaced))
}

fn count<'a>(rows: impl Iterator<Item = &'a RecordBatch>) -> u64 {
    rows.map(|it| it.num_rows() as u64).sum()
}
