//! Decide, apply, recover: how a batch whose rows are written gets into the lake.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, OutputMode};
use tracing::{info, warn};
use whocalled_types::Table;

use crate::batch::advance;
use crate::data_file::write_rows;
use crate::delta::{APPLICATION, CommitOutcome, LakeTable, added, removed_path};
use crate::error::Unfinished;
use crate::failpoint::{
    APPLY_AFTER, APPLY_BEFORE, APPLY_TABLE_COMMITTED, DECIDE_AFTER, DECIDE_BEFORE, PREPARE_LEDGER_WRITTEN,
};
use crate::ledger::Entry;
use crate::{Batch, BlobState, Error, Lake, WrittenBatch};

/// How often a table's commit is tried again because another program has changed the table.
const APPLY_ATTEMPTS: usize = 10;

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The batch's number; that of the batch before if there was nothing to commit.
    pub batch: i64,
    /// How many rows were added, by table.
    pub rows: BTreeMap<Table, u64>,
    /// How many Parquet files were added, the ledger's apart.
    pub files_added: usize,
    /// How many Parquet files were replaced because blobs were.
    pub files_removed: usize,
    /// How many bytes the added files have.
    pub bytes_written: u64,
}

/// What a recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last batch's number.
    pub batch: i64,
    /// The tables that it had not reached, and now has.
    pub applied: Vec<Table>,
}

impl Lake {
    /// Writes a batch's rows and commits it as a whole, or fails; see [`Lake::commit_written`].
    pub async fn commit(&mut self, batch: Batch, now: DateTime<Utc>) -> Result<Committed, Error> {
        self.check_recovered()?;
        let written = self.writer().write(batch, now).await?;
        self.commit_written(written, now).await
    }

    /// Commits a batch as a whole, or fails.
    ///
    /// After an error nothing of the batch is visible, with two exceptions, and `recover` settles
    /// both: the batch may be decided and not be in every table yet, and of an error of the storage
    /// it may be unknown whether the batch was decided. Positions say what was.
    pub async fn commit_written(&mut self, written: WrittenBatch, now: DateTime<Utc>) -> Result<Committed, Error> {
        self.check_recovered()?;
        if written.is_empty() {
            return Ok(Committed { batch: self.ledger.batch, ..Committed::default() });
        }
        let number = self.ledger.batch + 1;
        let WrittenBatch { run_id, archive, advances, rows, files } = written;
        let (positions, replaced) = advance(&advances, self.positions().await?, number, now)?;
        let mut actions: BTreeMap<Table, Vec<Action>> = BTreeMap::new();
        if !replaced.is_empty() {
            self.without_blobs(&replaced, number, now, &mut actions).await?;
        }
        for (table, files) in files {
            actions.entry(table).or_default().extend(files);
        }
        actions.retain(|_, actions| !actions.is_empty());
        let mut committed = Committed { batch: number, rows, ..Committed::default() };
        for action in actions.values().flatten() {
            match added(action) {
                Some(add) => {
                    committed.files_added += 1;
                    committed.bytes_written += u64::try_from(add.size).unwrap_or(0);
                }
                None => committed.files_removed += 1,
            }
        }

        let entry = Entry {
            batch: number,
            run_id: &run_id,
            archive: Some(&archive),
            committed_at: now,
            advances: &advances,
            actions: &actions,
        };
        self.decide(&entry, positions).await?;
        self.apply(now).await?;
        self.keep_positions(false).await?;
        Ok(committed)
    }

    /// Makes a batch irrevocable, by one commit to the ledger; of two that want the same number, one
    /// fails. The lake is stale until the batch is applied. `positions` are those of the batch's blobs
    /// after it.
    pub(crate) async fn decide(
        &mut self,
        entry: &Entry<'_>,
        positions: BTreeMap<String, BlobState>,
    ) -> Result<(), Error> {
        let number = entry.batch;
        let layout = &self.table(Table::Ledger)?.layout;
        let (store, name) = (self.storage.store(), Table::Ledger.name());
        let label = number.to_string();
        let written =
            write_rows(store, name, layout, vec![entry.rows()?], &label, entry.committed_at, || Ok(())).await?;
        let paths: Vec<String> = written.iter().map(|it| it.add.path.clone()).collect();
        let adds: Vec<Action> = written.into_iter().map(|it| Action::Add(it.add)).collect();
        self.failpoints.hit(PREPARE_LEDGER_WRITTEN)?;

        self.stale = true;
        self.failpoints.hit(DECIDE_BEFORE)?;
        let ledger = self.table_mut(Table::Ledger)?;
        let expected = ledger.version() + 1;
        let operation = operation(number, &adds);
        let outcome = ledger.commit(adds, operation, Some(number), entry.committed_at).await;
        if !matches!(outcome, Ok(CommitOutcome::Committed)) {
            // The answer to a successful request can be lost, and its repetition refused.
            ledger.update().await?;
            let ours = ledger.adds()?.iter().any(|add| paths.contains(&add.path));
            if !(ours && ledger.version() == expected) {
                outcome?;
                return Err(Error::Conflict { batch: number });
            }
            warn!(batch = number, "the ledger has the batch although its commit seemed to fail");
        }
        self.failpoints.hit(DECIDE_AFTER)?;
        if let Some(known) = self.positions.get_mut() {
            known.commit((number, entry.committed_at), positions, entry.archive, paths);
        }
        self.ledger.batch = number;
        self.pending = entry.actions.clone();
        Ok(())
    }

    /// Commits the decided batch to the tables that it has not reached.
    pub(crate) async fn apply(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        self.stale = true;
        while let Some((table, actions)) = self.pending.first_key_value() {
            let (table, actions) = (*table, actions.clone());
            self.failpoints.hit(APPLY_BEFORE)?;
            let applied = self.apply_to(table, &actions, now).await;
            applied.map_err(|error| error.leaving(Unfinished::Decided(self.ledger.batch)))?;
            self.pending.remove(&table);
            self.failpoints.hit(APPLY_TABLE_COMMITTED)?;
        }
        self.failpoints.hit(APPLY_AFTER)?;
        self.stale = false;
        info!(batch = self.ledger.batch, "committed");
        Ok(())
    }

    async fn apply_to(&mut self, table: Table, actions: &[Action], now: DateTime<Utc>) -> Result<(), Error> {
        let number = self.ledger.batch;
        let lake_table = self.table_mut(table)?;
        for _ in 0..APPLY_ATTEMPTS {
            if let Some(gone) = missing_file(lake_table, actions)? {
                return Err(Error::damaged(
                    table,
                    format!(
                        "batch {number} replaces the file {gone}, which another program has taken out: restore the \
                         table to its last version with that file, run again, and let only whocalled write to the lake"
                    ),
                ));
            }
            match lake_table.commit(actions.to_vec(), operation(number, actions), Some(number), now).await? {
                CommitOutcome::Committed => return Ok(()),
                CommitOutcome::Moved => lake_table.update().await?,
            }
            // delta-rs commits the same txn twice without a word, so it is for us to look.
            if lake_table.last_batch().await? >= number {
                return Ok(());
            }
        }
        Err(Error::Conflict { batch: number })
    }

    /// Loads the newest state and brings the last batch to the tables that it has not reached, from
    /// the ledger alone. May be repeated, and done by several runs at once.
    pub async fn recover(&mut self, now: DateTime<Utc>) -> Result<Recovery, Error> {
        self.refresh().await?;
        self.finish(now).await
    }

    /// Brings the last batch, as loaded, to the tables that it has not reached.
    pub(crate) async fn finish(&mut self, now: DateTime<Utc>) -> Result<Recovery, Error> {
        let batch = self.ledger.batch;
        let applied: Vec<Table> = self.unapplied().collect();
        if !applied.is_empty() {
            warn!(batch, tables = ?applied, "the last batch had not reached every table: applying it");
            self.apply(now).await?;
        }
        Ok(Recovery { batch, applied })
    }
}

/// What the Delta history says of a batch.
fn operation(number: i64, actions: &[Action]) -> DeltaOperation {
    let changes_rows = |action: &Action| match action {
        Action::Add(add) => add.data_change,
        Action::Remove(remove) => remove.data_change,
        _ => true,
    };
    if !actions.iter().any(changes_rows) {
        return DeltaOperation::Optimize { predicate: None, target_size: 0 };
    }
    DeltaOperation::StreamingUpdate {
        output_mode: OutputMode::Append,
        query_id: APPLICATION.to_owned(),
        epoch_id: number,
    }
}

/// The first file that actions take out of a table although it is not in the loaded version.
pub(crate) fn missing_file<'a>(table: &LakeTable, actions: &'a [Action]) -> Result<Option<&'a str>, Error> {
    let removed: BTreeSet<&str> = actions.iter().filter_map(removed_path).collect();
    if removed.is_empty() {
        return Ok(None);
    }
    let active: BTreeSet<String> = table.adds()?.into_iter().map(|add| add.path).collect();
    Ok(removed.into_iter().find(|path| !active.contains(*path)))
}
