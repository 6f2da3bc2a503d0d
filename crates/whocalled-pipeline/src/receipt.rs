//! What a run did, in figures that must balance.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::plan::Finding;
use crate::scope::{HourRange, Seen};

/// How many findings and how many failures a receipt names; the others are counted.
const NAMED_MAX: usize = 1000;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is at work, or was killed.
    #[default]
    Running,
    /// It came to its end, or was asked to stop before.
    Finished,
    /// It broke off; what was committed before stays.
    Failed,
}

/// The account of a run, printed as JSON. Holds no secrets.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Receipt {
    /// Names the run in the ledger.
    pub run_id: String,
    /// The archive, without secrets.
    pub archive: String,
    /// Which credential the archive was read with.
    pub credential: String,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// When it ended; while it is at work, when it last said so.
    pub finished_at: DateTime<Utc>,
    /// How far it is.
    pub state: RunState,
    /// Why it broke off.
    pub error: Option<String>,
    /// The hours that were listed; `None` for the whole archive.
    pub hours: Option<HourRange>,
    /// What is known of the archive after this run, for the next one.
    pub seen: Seen,
    /// The numbers of the batches that were committed.
    pub batches: Vec<i64>,
    /// How many blobs were listed.
    pub blobs_listed: u64,
    /// How many of them were read.
    pub blobs_read: u64,
    /// How many committed blobs were found to be deleted from the archive since.
    pub blobs_gone: u64,
    /// How many bytes the listed blobs hold.
    pub bytes_listed: u64,
    /// How many of these had been committed before.
    pub bytes_already_committed: u64,
    /// How many were committed by this run.
    pub bytes_committed: u64,
    /// How many were left, by reason.
    pub bytes_left: LeftBytes,
    /// How many records the committed bytes hold.
    pub records: u64,
    /// How many of them became rows.
    pub rows: u64,
    /// How many of them became rejects.
    pub rejects: u64,
    /// Rows and rejects by table.
    pub rows_by_table: BTreeMap<String, u64>,
    /// Requests that were made of the archive.
    pub requests: u64,
    /// Bytes that were received from the archive, overlaps and repeats included.
    pub bytes_received: u64,
    /// What an append-only archive should not show.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub findings_unnamed: u64,
    /// Blobs that could not be read, or not to their end.
    pub failures: Vec<Failure>,
    /// How many more failures there are.
    pub failures_unnamed: u64,
    /// Whether the run was asked to stop before its end.
    pub interrupted: bool,
    /// Whether it left something that another run might do better.
    #[serde(skip)]
    pub(crate) unsettled: bool,
}

/// Bytes that were listed and not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftBytes {
    /// After the last complete record of a blob.
    pub torn: u64,
    /// In blobs larger than the limit.
    pub over_limit: u64,
    /// In blobs that could not be read.
    pub failed: u64,
    /// In blobs that were deleted, or shrank, after they had been listed.
    pub gone: u64,
    /// In blobs that a run which was interrupted, or broke off, did not come to.
    pub not_reached: u64,
}

impl LeftBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.torn + self.over_limit + self.failed + self.gone + self.not_reached
    }
}

/// A blob that could not be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The blob.
    pub blob: String,
    /// The position that was reached.
    pub position: u64,
    /// What went wrong, without secrets.
    pub reason: String,
}

impl Receipt {
    /// Notes a finding.
    pub(crate) fn found(&mut self, finding: Finding) {
        note(&mut self.findings, &mut self.findings_unnamed, finding);
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, failure: Failure) {
        note(&mut self.failures, &mut self.failures_unnamed, failure);
    }

    /// Fails unless every listed byte and every record is accounted for.
    ///
    /// # Errors
    /// [`Error::Unbalanced`], with the counts that differ.
    pub fn check(&self) -> Result<(), Error> {
        let bytes = self.bytes_already_committed + self.bytes_committed + self.bytes_left.total();
        if bytes != self.bytes_listed {
            let reason = format!(
                "{} bytes were listed, and {bytes} are accounted for ({} committed before, {} now, {} left)",
                self.bytes_listed,
                self.bytes_already_committed,
                self.bytes_committed,
                self.bytes_left.total()
            );
            return Err(Error::Unbalanced { reason });
        }
        let in_tables: u64 = self.rows_by_table.values().sum();
        if self.records != self.rows + self.rejects || in_tables != self.records {
            let reason = format!(
                "{} records gave {} rows and {} rejects, and {in_tables} rows were written",
                self.records, self.rows, self.rejects
            );
            return Err(Error::Unbalanced { reason });
        }
        Ok(())
    }
}

fn note<T>(named: &mut Vec<T>, unnamed_count: &mut u64, it: T) {
    if named.len() < NAMED_MAX {
        named.push(it);
    } else {
        *unnamed_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            bytes_listed: 100,
            bytes_already_committed: 40,
            bytes_committed: 50,
            bytes_left: LeftBytes { torn: 10, ..LeftBytes::default() },
            records: 5,
            rows: 4,
            rejects: 1,
            rows_by_table: BTreeMap::from([("audit".to_owned(), 4), ("rejects".to_owned(), 1)]),
            ..Receipt::default()
        }
    }

    #[test]
    fn a_whole_account_balances() {
        assert!(receipt().check().is_ok());
    }

    #[test]
    fn a_lost_byte_or_record_does_not() {
        assert!(Receipt { bytes_committed: 49, ..receipt() }.check().is_err());
        assert!(Receipt { rows: 3, ..receipt() }.check().is_err());
        assert!(Receipt { rows_by_table: BTreeMap::new(), ..receipt() }.check().is_err());
    }
}
