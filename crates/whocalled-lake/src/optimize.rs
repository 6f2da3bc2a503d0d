//! Compaction: many small files of a date become few.
//!
//! A compaction goes through the ledger like any other batch, without ranges. The ledger thereby
//! stays the one place that orders changes: no batch can be decided on files that a compaction
//! takes away, and none can be applied to a table that a compaction is about to change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use tracing::warn;
use whocalled_types::Table;

use crate::commit::missing_file;
use crate::data_file::{date_of, remove};
use crate::delta::CommitOutcome;
use crate::failpoint::{OPTIMIZE_FILE_WRITTEN, OPTIMIZE_LEDGER_AFTER, OPTIMIZE_LEDGER_BEFORE};
use crate::ledger::{Entry, batch_max};
use crate::merge::merge;
use crate::{Error, Lake, statistics};

/// How many files become one at most: all of them are open at the same time, with a page of each column.
const GROUP_FILES_MAX: usize = 32;
/// How often a compaction is committed again because another batch has overtaken it.
const DECIDE_ATTEMPTS: usize = 5;

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

impl Optimized {
    fn add(&mut self, other: Self) {
        self.files_removed += other.files_removed;
        self.files_added += other.files_added;
        self.bytes_removed += other.bytes_removed;
        self.bytes_added += other.bytes_added;
        self.rows += other.rows;
    }
}

impl Lake {
    /// Replaces the small files of each table and date by files of about `target_bytes`, the
    /// ledger's too. Tables without anything to do are not in the answer. Another run that replaces
    /// the same files meanwhile makes this fail with [`Error::Conflict`], and the lake is as it was.
    /// Then checkpoints the Delta logs, so that the lake opens without reading what has come and gone.
    ///
    /// Holds a file of about `target_bytes` while it is written, and of the files that are merged a part of each.
    pub async fn optimize(
        &mut self,
        run_id: &str,
        target_bytes: u64,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<Table, Optimized>, Error> {
        self.check_recovered()?;
        let mut optimized: BTreeMap<Table, Optimized> = BTreeMap::new();
        for table in Table::ALL {
            // Until no files are left that belong together: many small ones take a second round.
            loop {
                let (actions, done) = self.compact(table, target_bytes, now).await?;
                if actions.is_empty() {
                    break;
                }
                if table == Table::Ledger {
                    self.positions().await?;
                    self.commit_ledger(actions, target_bytes, now).await?;
                } else {
                    self.commit_compacted(run_id, BTreeMap::from([(table, actions)]), now).await?;
                }
                optimized.entry(table).or_default().add(done);
            }
        }
        if optimized.contains_key(&Table::Ledger) {
            self.keep_positions(true).await?;
        }
        for table in self.tables.values() {
            // Without one the table is read as before.
            if let Err(error) = table.checkpoint().await {
                warn!(%error, "a Delta log was not checkpointed");
            }
        }
        Ok(optimized)
    }

    /// Commits a table's compaction as a batch. One that another batch has overtaken is as good after
    /// it, if that has left the files alone.
    async fn commit_compacted(
        &mut self,
        run_id: &str,
        actions: BTreeMap<Table, Vec<Action>>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        for _ in 0..DECIDE_ATTEMPTS {
            let batch = self.ledger.batch + 1;
            let entry = Entry { batch, run_id, archive: None, committed_at: now, advances: &[], actions: &actions };
            match self.decide(&entry, BTreeMap::new()).await {
                Ok(()) => return self.apply(now).await,
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            self.recover(now).await?;
            for (table, actions) in &actions {
                if missing_file(self.table(*table)?, actions)?.is_some() {
                    return Err(Error::Conflict { batch });
                }
            }
        }
        Err(Error::Conflict { batch: self.ledger.batch + 1 })
    }

    /// Writes the new files of a table; they are not committed.
    async fn compact(
        &self,
        table: Table,
        target_bytes: u64,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Action>, Optimized), Error> {
        let (layout, store) = (&self.table(table)?.layout, self.storage.store());
        let mut adds = self.table(table)?.adds()?;
        if table == Table::Ledger {
            // The last batch is read at every start: it stays in a small file.
            adds.retain(|add| batch_max(add).is_some_and(|it| it < self.ledger.batch));
        }
        let (mut actions, mut done) = (Vec::new(), Optimized::default());
        for group in groups(adds, target_bytes) {
            let Some(merged) = merge(store, layout, &group, "compacted", now).await? else {
                warn!(%table, "a file is not sorted: it and those beside it are not compacted");
                continue;
            };
            self.failpoints.hit(OPTIMIZE_FILE_WRITTEN)?;
            let before = group.iter().map(|it| statistics::row_count(it.stats.as_deref())).sum::<Option<u64>>();
            if before.is_some_and(|before| before != merged.row_count) {
                let reason = format!("{before:?} rows became {} by compaction", merged.row_count);
                return Err(Error::damaged(table, reason));
            }
            done.rows += merged.row_count;
            done.files_added += 1;
            done.bytes_added += size(&merged.add);
            for add in &group {
                done.files_removed += 1;
                done.bytes_removed += size(add);
                actions.push(Action::Remove(remove(add, false, now)));
            }
            actions.push(Action::Add(Add { data_change: false, ..merged.add }));
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
        let adds = self.table(Table::Ledger)?.adds()?;
        if let Some(positions) = self.positions.get_mut() {
            positions.moved_to(&adds);
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
        let (mut group, mut bytes) = (Vec::new(), 0);
        for add in adds {
            if bytes + size(&add) > target_bytes || group.len() == GROUP_FILES_MAX {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += size(&add);
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
