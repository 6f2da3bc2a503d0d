//! One Delta table of the lake: its snapshot, and commits that are conditional on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::DeltaTable;
use deltalake::checkpoints::create_checkpoint;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, LogicalFileView, Transaction};
use deltalake::protocol::DeltaOperation;
use deltalake::table::state::DeltaTableState;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tracing::warn;
use whocalled_types::Table;

use crate::Error;
use crate::data_file::DataFile;
use crate::error::{WRITTEN, is_lost_race};
use crate::layout::Layout;
use crate::location::Storage;

/// The application id of our `txn` actions. Their version is a batch number.
pub(crate) const APPLICATION: &str = "whocalled";

/// A loaded Delta table.
#[derive(Clone)]
pub(crate) struct LakeTable {
    delta: DeltaTable,
    pub(crate) layout: Arc<Layout>,
}

/// How a conditional commit ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// The commit is the table's version after the loaded one.
    Committed,
    /// The table has moved past the loaded version; nothing was committed.
    Moved,
}

impl LakeTable {
    /// Loads a table: a version of it, or the newest.
    pub(crate) async fn load(storage: &Storage, table: Table, version: Option<u64>) -> Result<Self, Error> {
        let failed = |error| Error::delta(table, "read", error);
        let mut delta = storage.table(table.name())?;
        match version {
            Some(version) => delta.load_version(version).await,
            None => delta.load().await,
        }
        .map_err(failed)?;
        let layout = Layout::of(table, delta.snapshot().map_err(failed)?)?;
        Ok(Self::new(delta, layout))
    }

    pub(crate) fn new(delta: DeltaTable, layout: Layout) -> Self {
        Self { delta, layout: Arc::new(layout) }
    }

    fn name(&self) -> &str {
        &self.layout.table
    }

    pub(crate) fn state(&self) -> Result<&DeltaTableState, Error> {
        self.delta.snapshot().map_err(|error| Error::delta(self.name(), "read", error))
    }

    /// The version that is loaded.
    pub(crate) fn version(&self) -> u64 {
        self.delta.version().unwrap_or(0)
    }

    /// Loads the newest version.
    pub(crate) async fn update(&mut self) -> Result<(), Error> {
        self.delta.update_state().await.map_err(|error| Error::delta(self.name(), "read", error))
    }

    /// Whether the loaded version is the newest.
    pub(crate) async fn is_newest(&self) -> Result<bool, Error> {
        let newest = self.delta.get_latest_version().await;
        Ok(newest.map_err(|error| Error::delta(self.name(), "read", error))? == self.version())
    }

    /// The files of the loaded version.
    pub(crate) fn adds(&self) -> Result<Vec<Add>, Error> {
        let adds: Vec<Add> = self.state()?.log_data().iter().map(|file| add_of(&file)).collect();
        match adds.iter().find(|add| add.deletion_vector.is_some()) {
            // We never write one, and reading past it would bring deleted rows back.
            Some(add) => Err(Error::damaged(
                &add.path,
                format!("another program has put a deletion vector on it: purge table {} of them", self.name()),
            )),
            None => Ok(adds),
        }
    }

    /// The files as they are after the actions of a batch that has not reached the table, by path.
    pub(crate) fn files(&self, pending: Option<&Vec<Action>>) -> Result<Vec<DataFile>, Error> {
        let mut adds = self.adds()?;
        if let Some(actions) = pending {
            let removed: BTreeSet<&str> = actions.iter().filter_map(removed_path).collect();
            adds.retain(|add| !removed.contains(add.path.as_str()));
            adds.extend(actions.iter().filter_map(added).cloned());
        }
        let mut files: Vec<DataFile> = adds.iter().map(|add| DataFile::of(self.name(), add)).collect();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }

    /// The number of the last batch that is in the loaded version; 0 before the first.
    pub(crate) async fn last_batch(&self) -> Result<i64, Error> {
        let version = self.state()?.transaction_version(self.delta.log_store().as_ref(), APPLICATION).await;
        Ok(version.map_err(|error| Error::delta(self.name(), "read", error))?.unwrap_or(0))
    }

    pub(crate) fn delta(&self) -> &DeltaTable {
        &self.delta
    }

    /// Writes a checkpoint of the loaded version unless there is one: who opens the table then reads no commits
    /// before it.
    pub(crate) async fn checkpoint(&self) -> Result<(), Error> {
        let failed = |error| Error::delta(self.name(), WRITTEN, error);
        let name = Path::from(format!("_delta_log/{:020}.checkpoint.parquet", self.version()));
        match self.delta.object_store().head(&name).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => create_checkpoint(&self.delta, None).await.map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Commits actions as the version after the loaded one, and loads it. With a batch number the
    /// commit says that this batch is in the table.
    ///
    /// delta-rs would move a commit past other writers' commits; `max_retries` 0 forbids that, both
    /// when it sees a newer version beforehand and when its own `put` finds the version taken.
    pub(crate) async fn commit(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        batch: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<CommitOutcome, Error> {
        let mut properties = CommitProperties::default().with_max_retries(0).with_cleanup_expired_logs(Some(false));
        if let Some(batch) = batch {
            let at = Some(now.timestamp_millis());
            properties =
                properties.with_application_transaction(Transaction::new_with_last_update(APPLICATION, batch, at));
        }
        let prepared = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(self.state()?), self.delta.log_store(), operation)
            .into_prepared_commit_future()
            .await;
        let committed = match prepared {
            Ok(prepared) => prepared.await,
            Err(error) => Err(error),
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) if is_lost_race(&error) => return Ok(CommitOutcome::Moved),
            Err(error) => return Err(Error::delta(self.name(), WRITTEN, error)),
        };
        // The commit is made. What follows, a checkpoint at times, can be made up for later.
        match committed.await {
            Ok(done) => self.delta.state = Some(done.snapshot()),
            Err(error) => {
                warn!(table = self.name(), %error, "committed, but not checkpointed");
                self.update().await?;
            }
        }
        Ok(CommitOutcome::Committed)
    }
}

pub(crate) fn removed_path(action: &Action) -> Option<&str> {
    match action {
        Action::Remove(remove) => Some(&remove.path),
        _ => None,
    }
}

pub(crate) fn added(action: &Action) -> Option<&Add> {
    match action {
        Action::Add(add) => Some(add),
        _ => None,
    }
}

/// The action that put a file into its table.
fn add_of(file: &LogicalFileView) -> Add {
    Add {
        path: file.path().into_owned(),
        partition_values: file.partition_values_map(),
        size: file.size(),
        modification_time: file.modification_time(),
        data_change: true,
        stats: file.stats(),
        deletion_vector: file.deletion_vector_descriptor(),
        ..Add::default()
    }
}
