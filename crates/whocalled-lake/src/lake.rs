//! An open lake: its tables at one consistent state, and the state itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use deltalake::kernel::Action;
use futures::future::{join_all, try_join_all};
use object_store::ObjectStore;
use tokio::sync::OnceCell;
use whocalled_types::Table;

use crate::create;
use crate::data_file::DataFile;
use crate::delta::LakeTable;
use crate::layout::{Layout, TableSpec};
use crate::ledger::{LastBatch, ledger_spec};
use crate::location::Storage;
use crate::positions::Positions;
use crate::{BlobState, Error, Failpoints, LakeLocation, Snapshot, StorageOptions};

/// How often a state is read again because the ledger moved meanwhile.
pub(crate) const LOAD_ATTEMPTS: usize = 5;

/// A lake, loaded as of the ledger's last batch.
///
/// What it shows is always whole batches: where the last one has not reached a table yet, its
/// files are shown there nonetheless, as the ledger lists them.
pub struct Lake {
    pub(crate) location: LakeLocation,
    pub(crate) storage: Storage,
    pub(crate) failpoints: Failpoints,
    pub(crate) tables: BTreeMap<Table, LakeTable>,
    pub(crate) ledger: LastBatch,
    /// Read when they are first asked for: queries do without them.
    pub(crate) positions: OnceCell<Positions>,
    /// The last batch's file actions, of the tables that it has not reached.
    pub(crate) pending: BTreeMap<Table, Vec<Action>>,
    /// Whether a commit was begun of which it is not known here how it ended.
    pub(crate) stale: bool,
}

impl Lake {
    /// Opens a lake for reading or writing, and changes nothing: to commit to it, recover it first. Who only asks
    /// for files opens a [`Snapshot`], which is quicker.
    pub async fn open(location: LakeLocation, options: StorageOptions) -> Result<Self, Error> {
        let storage = create::connect(&location, &options).await?;
        Self::load(location, storage, options.failpoints).await
    }

    /// Opens a lake, or makes one where there is nothing; then recovers it, so that it can be
    /// committed to. `specs` are the data tables, all of them; the ledger is known here.
    pub async fn open_or_create(
        location: LakeLocation,
        options: StorageOptions,
        specs: &[TableSpec],
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        location.check_directory(true).await?;
        let storage = Storage::connect(&location, &options)?;
        let ledger = ledger_spec();
        let layouts: BTreeMap<Table, Layout> =
            specs.iter().chain([&ledger]).map(|spec| (spec.table, Layout::from(spec))).collect();
        if let Some(table) = Table::ALL.into_iter().find(|table| !layouts.contains_key(table)) {
            return Err(Error::Schema {
                table: table.name().to_owned(),
                reason: "its columns were not given".to_owned(),
            });
        }
        if !create::read_marker(&location, storage.store()).await? {
            create::check_vacant(&location, storage.store()).await?;
            create::create(&location, &storage, &layouts, &options.failpoints).await?;
        }
        let mut lake = Self::load(location, storage, options.failpoints).await?;
        for (table, layout) in layouts {
            let Some(known) = lake.tables.get_mut(&table) else { continue };
            layout.check_schema(&known.layout.schema)?;
            known.layout = Arc::new(layout);
        }
        lake.finish(now).await?;
        Ok(lake)
    }

    async fn load(location: LakeLocation, storage: Storage, failpoints: Failpoints) -> Result<Self, Error> {
        let load = async |table: Table| Ok::<_, Error>((table, LakeTable::load(&storage, table, None).await?));
        // The ledger first, as in `refresh`.
        let mut tables = BTreeMap::from([load(Table::Ledger).await?]);
        // Each to its end, as in `create`.
        let others = join_all(Table::data().map(load)).await.into_iter();
        tables.extend(others.collect::<Result<Vec<_>, _>>()?);
        let (ledger, pending, positions) = (LastBatch::default(), BTreeMap::new(), OnceCell::new());
        let mut lake = Self { location, storage, failpoints, tables, ledger, positions, pending, stale: true };
        // Readers, too, need every column of the ledger, which is no data but the state itself.
        Layout::from(&ledger_spec()).check_schema(&lake.table(Table::Ledger)?.layout.schema)?;
        if !lake.settle().await? {
            lake.refresh().await?;
        }
        Ok(lake)
    }

    /// Loads the newest state.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.stale = true;
        for _ in 0..LOAD_ATTEMPTS {
            self.table_mut(Table::Ledger)?.update().await?;
            // Not the ledger, whose loaded version is the one that the next decision is conditional on: it
            // must be the version that was read.
            let others = self.tables.iter_mut().filter(|(table, _)| **table != Table::Ledger);
            try_join_all(others.map(|(_, table)| table.update())).await?;
            if self.settle().await? {
                return Ok(());
            }
        }
        Err(Error::Busy { location: self.location.to_string() })
    }

    /// Takes the loaded versions as the lake's state, unless the ledger has moved meanwhile. The other
    /// tables were read after it: while it is still the same, none can be ahead of it.
    async fn settle(&mut self) -> Result<bool, Error> {
        let ledger = self.table(Table::Ledger)?;
        if !ledger.is_newest().await? {
            return Ok(false);
        }
        let (store, adds) = (self.storage.store(), ledger.adds()?);
        let last = LastBatch::of(store, ledger).await?;
        let reached = async |table: Table| Ok::<_, Error>((table, self.table(table)?.last_batch().await?));
        let reached = try_join_all(last.tables().map(reached)).await?;
        let pending = last.pending(store, ledger, reached).await?;
        let positions = match self.positions.get() {
            Some(known) => OnceCell::new_with(Some(known.clone().update(store, &ledger.layout, &adds).await?)),
            None => OnceCell::new(),
        };
        (self.ledger, self.pending, self.positions, self.stale) = (last, pending, positions, false);
        Ok(true)
    }

    /// The loaded state for queries.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.storage, &self.tables, &self.ledger, self.pending.clone())
    }

    /// Where the lake is.
    pub fn location(&self) -> &LakeLocation {
        &self.location
    }

    /// The number of the last batch; 0 for a lake that has none.
    pub fn last_batch(&self) -> i64 {
        self.ledger.batch
    }

    /// The tables that the last batch has not reached; `recover` brings it there.
    pub fn unapplied(&self) -> impl Iterator<Item = Table> {
        self.pending.keys().copied()
    }

    /// How far each blob is committed, by `blob` column. Read when first asked for.
    pub async fn positions(&self) -> Result<&BTreeMap<String, BlobState>, Error> {
        Ok(&self.loaded_positions().await?.blobs)
    }

    /// The archives that blobs were read from, as the batches named them. Read when first asked for.
    pub async fn archives(&self) -> Result<&BTreeSet<String>, Error> {
        Ok(&self.loaded_positions().await?.archives)
    }

    async fn loaded_positions(&self) -> Result<&Positions, Error> {
        let ledger = self.table(Table::Ledger)?;
        let read = async || Positions::read(self.storage.store(), &ledger.layout, &ledger.adds()?).await;
        self.positions.get_or_try_init(read).await
    }

    /// A table's columns, `date` included.
    pub fn schema(&self, table: Table) -> Result<SchemaRef, Error> {
        Ok(Arc::clone(&self.table(table)?.layout.schema))
    }

    /// The columns by which every file of a table is sorted.
    pub fn sort_by(&self, table: Table) -> Result<&[String], Error> {
        Ok(&self.table(table)?.layout.sort_by)
    }

    /// The version of a table's Delta log that is loaded.
    pub fn table_version(&self, table: Table) -> Result<u64, Error> {
        Ok(self.table(table)?.version())
    }

    /// The files that hold a table's rows, whole batches only, by path.
    pub fn files(&self, table: Table) -> Result<Vec<DataFile>, Error> {
        self.table(table)?.files(self.pending.get(&table))
    }

    /// The storage of the lake, rooted at it: the paths of `files` are paths in it.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(self.storage.store())
    }

    pub(crate) fn table(&self, table: Table) -> Result<&LakeTable, Error> {
        self.tables.get(&table).ok_or_else(|| Error::damaged(table, "the table is not loaded"))
    }

    pub(crate) fn table_mut(&mut self, table: Table) -> Result<&mut LakeTable, Error> {
        self.tables.get_mut(&table).ok_or_else(|| Error::damaged(table, "the table is not loaded"))
    }

    /// Fails unless the loaded state is known to be whole, so that a batch can follow it.
    pub(crate) fn check_recovered(&self) -> Result<(), Error> {
        if self.stale || !self.pending.is_empty() {
            return Err(Error::RecoverFirst { batch: self.ledger.batch });
        }
        Ok(())
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({}, batch {})", self.location, self.ledger.batch)
    }
}
