//! Compaction: many small files of a date become few.
//!
//! A compaction goes through the ledger like any other batch, without ranges. The ledger thereby
//! stays the one place that orders changes: no batch can be decided on files that a compaction
//! takes away, and none can be applied to a table that a compaction is about to change.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
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

/// How many rows become one file at most.
const GROUP_ROWS_MAX: u64 = 4_000_000;
/// How many bytes of rows are held at a time to become one file, one file more apart.
const GROUP_MEMORY_MAX: usize = 1 << 30;

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
        let mut compaction = Compaction {
            lake: self,
            table,
            label: label.to_string(),
            now,
            files: Vec::new(),
            rows: Vec::new(),
            memory: 0,
            actions: Vec::new(),
            done: Optimized::default(),
        };
        for group in groups(self.table(table)?.adds()?, target_bytes) {
            for add in group {
                compaction.push(add).await?;
            }
            compaction.flush().await?;
        }
        Ok((compaction.actions, compaction.done))
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

/// The compaction of one table: the files that are to become one, and what became of others.
struct Compaction<'a> {
    lake: &'a Lake,
    table: Table,
    label: String,
    now: DateTime<Utc>,
    files: Vec<Add>,
    rows: Vec<RecordBatch>,
    /// How many bytes `rows` take.
    memory: usize,
    actions: Vec<Action>,
    done: Optimized,
}

impl Compaction<'_> {
    async fn push(&mut self, add: Add) -> Result<(), Error> {
        let layout = &self.lake.table(self.table)?.layout;
        let rows: Vec<RecordBatch> = read_file(self.lake.storage.store(), layout, &add, None)?.try_collect().await?;
        let memory: usize = rows.iter().map(RecordBatch::get_array_memory_size).sum();
        if self.memory + memory > GROUP_MEMORY_MAX {
            self.flush().await?;
        }
        self.files.push(add);
        self.rows.extend(rows);
        self.memory += memory;
        Ok(())
    }

    /// Writes the rows that are held as one file. A single file is left as it is.
    async fn flush(&mut self) -> Result<(), Error> {
        let (files, rows) = (std::mem::take(&mut self.files), std::mem::take(&mut self.rows));
        self.memory = 0;
        if files.len() < 2 {
            return Ok(());
        }
        let (layout, store) = (&self.lake.table(self.table)?.layout, self.lake.storage.store());
        let before: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let hit = || self.lake.failpoints.hit(OPTIMIZE_FILE_WRITTEN);
        let written = write_rows(store, self.table.name(), layout, rows, &self.label, self.now, hit).await?;
        let after: u64 = written.iter().map(|it| it.row_count).sum();
        if after != before as u64 {
            return Err(Error::damaged(self.table, format!("{before} rows became {after} by compaction")));
        }
        self.done.rows += after;
        for add in files {
            self.done.files_removed += 1;
            self.done.bytes_removed += size(&add);
            self.actions.push(Action::Remove(remove(&add, false, self.now)));
        }
        for file in written {
            self.done.files_added += 1;
            self.done.bytes_added += size(&file.add);
            self.actions.push(Action::Add(Add { data_change: false, ..file.add }));
        }
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
