//! A lake as queries see it: one state, of which a table is loaded when it is first asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake::kernel::Action;
use futures::TryStreamExt;
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::OnceCell;
use whocalled_types::Table;

use crate::create;
use crate::data_file::DataFile;
use crate::delta::LakeTable;
use crate::lake::LOAD_ATTEMPTS;
use crate::layout::Layout;
use crate::ledger::{LastBatch, ledger_spec};
use crate::location::Storage;
use crate::views::ViewSet;
use crate::{Error, LakeLocation, StorageOptions};

/// The files of a lake as of its ledger's last batch, whole batches only, for reading.
///
/// What is committed after it was opened is not seen. Opening it reads the ledger and lists the other tables'
/// logs; most questions read few of the tables, and a log takes longer to read than such a question to answer.
pub struct Snapshot {
    storage: Storage,
    /// Names this state of the ledger, and no other.
    last_batch: Vec<String>,
    tables: BTreeMap<Table, Pinned>,
    /// The last batch's file actions, of the tables that it has not reached.
    pending: BTreeMap<Table, Vec<Action>>,
}

/// A table at a version.
struct Pinned {
    version: u64,
    loaded: OnceCell<LakeTable>,
}

impl Snapshot {
    /// Opens the newest state of a lake.
    ///
    /// # Errors
    /// As of [`Lake::open`](crate::Lake::open), but for what is wrong with tables that nobody asks for.
    pub async fn open(location: &LakeLocation, options: &StorageOptions) -> Result<Self, Error> {
        let storage = create::connect(location, options).await?;
        let mut ledger = LakeTable::load(&storage, Table::Ledger, None).await?;
        Layout::from(&ledger_spec()).check_schema(&ledger.layout.schema)?;
        let newest = async |table: Table| Ok::<_, Error>((table, newest_version(storage.store(), table).await?));
        for _ in 0..LOAD_ATTEMPTS {
            let versions = try_join_all(Table::data().map(newest)).await?;
            // The others were listed after it: while it is still the same, none can be ahead of it.
            if ledger.is_newest().await? {
                return Self::at(storage, ledger, versions).await;
            }
            ledger.update().await?;
        }
        Err(Error::Busy { location: location.to_string() })
    }

    async fn at(storage: Storage, ledger: LakeTable, versions: Vec<(Table, u64)>) -> Result<Self, Error> {
        let last = LastBatch::of(storage.store(), &ledger).await?;
        let pinned = |(table, version)| (table, Pinned { version, loaded: OnceCell::new() });
        let tables = versions.into_iter().map(pinned).collect();
        let last_batch = last.paths().map(str::to_owned).collect();
        let mut snapshot = Self { storage, last_batch, tables, pending: BTreeMap::new() };
        let reached = async |table: Table| Ok::<_, Error>((table, snapshot.table(table).await?.last_batch().await?));
        let reached = try_join_all(last.tables().map(reached)).await?;
        snapshot.pending = last.pending(snapshot.storage.store(), &ledger, reached).await?;
        snapshot.tables.insert(Table::Ledger, Pinned::loaded(ledger));
        Ok(snapshot)
    }

    /// A state all of which is loaded.
    pub(crate) fn of(
        storage: &Storage,
        tables: &BTreeMap<Table, LakeTable>,
        last: &LastBatch,
        pending: BTreeMap<Table, Vec<Action>>,
    ) -> Self {
        Self {
            storage: storage.clone(),
            last_batch: last.paths().map(str::to_owned).collect(),
            tables: tables.iter().map(|(table, loaded)| (*table, Pinned::loaded(loaded.clone()))).collect(),
            pending,
        }
    }

    async fn table(&self, table: Table) -> Result<&LakeTable, Error> {
        let pinned = self.tables.get(&table).ok_or_else(|| Error::damaged(table, "the table is not there"))?;
        let load = || LakeTable::load(&self.storage, table, Some(pinned.version));
        pinned.loaded.get_or_try_init(load).await
    }

    /// A table's columns, `date` included.
    ///
    /// # Errors
    /// When the table cannot be loaded.
    pub async fn schema(&self, table: Table) -> Result<SchemaRef, Error> {
        Ok(Arc::clone(&self.table(table).await?.layout.schema))
    }

    /// The files that hold a table's rows, by path.
    ///
    /// # Errors
    /// When the table cannot be loaded.
    pub async fn files(&self, table: Table) -> Result<Vec<DataFile>, Error> {
        self.table(table).await?.files(self.pending.get(&table))
    }

    /// The storage of the lake, rooted at it: the paths of `files` are paths in it.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(self.storage.store())
    }

    /// The set of the views that follow from this state and these texts: their statements, and whatever else they
    /// depend on.
    pub fn view_set<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> ViewSet {
        // The ledger's own rows are in no view.
        let data = self.tables.iter().filter(|(table, _)| **table != Table::Ledger);
        let versions: Vec<String> = data.map(|(table, pinned)| format!("{table} {}", pinned.version)).collect();
        let mut texts: Vec<&str> = texts.into_iter().collect();
        texts.extend(self.last_batch.iter().chain(&versions).map(String::as_str));
        ViewSet::of(self.object_store(), &texts)
    }
}

impl Pinned {
    fn loaded(table: LakeTable) -> Self {
        Self { version: table.version(), loaded: OnceCell::new_with(Some(table)) }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.last_batch.join(", "))
    }
}

/// The newest version of a table, by the names of its log's commits and checkpoints, which the Delta protocol begins
/// with 20 digits. Those before the last checkpoint are left out, as far as the storage can.
async fn newest_version(store: &Arc<dyn ObjectStore>, table: Table) -> Result<u64, Error> {
    let log = Path::from(table.name()).join("_delta_log");
    let failed = |error| Error::storage(log.to_string(), error);
    let hint = log.clone().join("_last_checkpoint");
    let begin = match store.get(&hint).await {
        Ok(found) => checkpointed(&found.bytes().await.map_err(failed)?),
        Err(object_store::Error::NotFound { .. }) => 0,
        Err(error) => return Err(failed(error)),
    };
    let version = |path: &Path| {
        let (version, kind) = path.filename()?.split_once('.')?;
        let counts = version.len() == 20 && (kind == "json" || kind.starts_with("checkpoint."));
        version.parse().ok().filter(|_| counts)
    };
    let entries = store.list_with_offset(Some(&log), &log.clone().join(format!("{begin:020}")));
    let newest = entries.try_fold(None, async |newest, entry| Ok(newest.max(version(&entry.location))));
    newest.await.map_err(failed)?.ok_or_else(|| Error::damaged(table, "its Delta log has no commits"))
}

/// The version that `_last_checkpoint` names; it is a hint, so that a damaged one costs time only.
fn checkpointed(json: &[u8]) -> u64 {
    let hint: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    hint.and_then(|hint| hint.get("version")?.as_u64()).unwrap_or(0)
}
