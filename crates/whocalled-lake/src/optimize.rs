//! Compaction: many small files of a date become few.
//!
//! A compaction goes through the ledger like any other batch, without ranges. The ledger thereby
//! stays the one place that orders changes: no batch can be decided on files that a compaction
//! takes away, and none can be applied to a table that a compaction is about to change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use futures::TryStreamExt;
use whocalled_types::Table;

use crate::data_file::{date_of, remove, write_rows};
use crate::delta::CommitOutcome;
use crate::failpoint::{OPTIMIZE_FILE_WRITTEN, OPTIMIZE_LEDGER_AFTER, OPTIMIZE_LEDGER_BEFORE};
use crate::ledger::Entry;
use crate::read::read_file;
use crate::{Error, Lake, statistics};

/// How many rows are held at a time to become one file; of calls, about a gigabyte.
const GROUP_ROWS_MAX: u64 = 1_000_000;

/// What compaction did to a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Optimized {
    /// How many files were replaced.
    pub files_removed: usize,
    /// How many files replaced them.
    pub files_added: usize,
    /// How many bytes the replaced files had.
    pub bytes_removed: u64,
    /// How many bytes the new files have.
    pub bytes_added: u64,
    /// How many rows were moved.
    pub rows: u64,
}

impl Lake {
    /// Replaces the small files of each table and date by files of about `target_bytes`, the
    /// ledger's too. Tables without anything to do are not in the answer. Another run that commits
    /// meanwhile makes this fail with [`Error::Conflict`], and the lake is as it was.
    pub async fn optimize(
        &mut self,
        run_id: &str,
        target_bytes: u64,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<Table, Optimized>, Error> {
        self.check_recovered()?;
        let mut optimized = BTreeMap::new();
        for table in Table::ALL {
            let label = if table == Table::Ledger { self.ledger.batch } else { self.ledger.batch + 1 };
            let (actions, done) = self.compact(table, target_bytes, label, now).await?;
            if actions.is_empty() {
                continue;
            }
            if table == Table::Ledger {
                self.commit_ledger(actions, target_bytes, now).await?;
            } else {
                let actions = BTreeMap::from([(table, actions)]);
                let entry =
                    Entry { batch: label, run_id, archive: None, committed_at: now, advances: &[], actions: &actions };
                self.decide(&entry).await?;
                self.apply(now).await?;
            }
            optimized.insert(table, done);
        }
        Ok(optimized)
    }

    /// Writes the new files of a table; they are not committed.
    async fn compact(
        &self,
        table: Table,
        target_bytes: u64,
        label: i64,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Action>, Optimized), Error> {
        let (layout, store) = (&self.table(table)?.layout, self.storage.store());
        let (mut actions, mut done) = (Vec::new(), Optimized::default());
        for group in groups(self.table(table)?.adds()?, target_bytes) {
            let mut rows = Vec::new();
            for add in &group {
                rows.extend(read_file(store, layout, add, None)?.try_collect::<Vec<_>>().await?);
            }
            let before: usize = rows.iter().map(|it| it.num_rows()).sum();
            let hit = || self.failpoints.hit(OPTIMIZE_FILE_WRITTEN);
            let written = write_rows(store, table.name(), layout, rows, &label.to_string(), now, hit).await?;
            let after: u64 = written.iter().map(|it| it.row_count).sum();
            if after != before as u64 {
                return Err(Error::damaged(table, format!("{before} rows became {after} by compaction")));
            }
            done.rows += after;
            for add in group {
                done.files_removed += 1;
                done.bytes_removed += u64::try_from(add.size).unwrap_or(0);
                actions.push(Action::Remove(remove(&add, false, now)));
            }
            for file in written {
                done.files_added += 1;
                done.bytes_added += u64::try_from(file.add.size).unwrap_or(0);
                actions.push(Action::Add(Add { data_change: false, ..file.add }));
            }
        }
        Ok((actions, done))
    }

    /// The ledger's own compaction is conditional on its version, as every batch's decision is.
    async fn commit_ledger(
        &mut self,
        actions: Vec<Action>,
        target_bytes: u64,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.stale = true;
        self.failpoints.hit(OPTIMIZE_LEDGER_BEFORE)?;
        let target_size = i64::try_from(target_bytes).unwrap_or(i64::MAX);
        let operation = DeltaOperation::Optimize { predicate: None, target_size };
        if self.table_mut(Table::Ledger)?.commit(actions, operation, None, now).await? == CommitOutcome::Moved {
            return Err(Error::Conflict { batch: self.ledger.batch + 1 });
        }
        self.failpoints.hit(OPTIMIZE_LEDGER_AFTER)?;
        self.stale = false;
        Ok(())
    }
}

/// The files that are to become one, group by group: of one date, smaller than the target, and
/// together about as large as it. Files near the target are left, or each run would rewrite them.
fn groups(adds: Vec<Add>, target_bytes: u64) -> Vec<Vec<Add>> {
    let mut dates: BTreeMap<_, Vec<Add>> = BTreeMap::new();
    for add in adds {
        if size(&add) < target_bytes / 4 * 3 {
            dates.entry(date_of(&add.partition_values)).or_default().push(add);
        }
    }
    let mut groups = Vec::new();
    for mut adds in dates.into_values() {
        adds.sort_by(|left, right| (left.modification_time, &left.path).cmp(&(right.modification_time, &right.path)));
        let (mut group, mut bytes, mut rows) = (Vec::new(), 0, 0);
        for add in adds {
            let add_rows = statistics::row_count(add.stats.as_deref()).unwrap_or(0);
            if bytes + size(&add) > target_bytes || rows + add_rows > GROUP_ROWS_MAX {
                groups.push(std::mem::take(&mut group));
                (bytes, rows) = (0, 0);
            }
            bytes += size(&add);
            rows += add_rows;
            group.push(add);
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn size(add: &Add) -> u64 {
    u64::try_from(add.size).unwrap_or(0)
}
