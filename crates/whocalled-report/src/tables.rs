//! The tables of a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::datasource::TableProvider;
use datafusion::error::{DataFusionError, Result};
use tokio::sync::OnceCell;
use whocalled_lake::Snapshot;
use whocalled_types::Table;

use crate::error::Error;
use crate::provider::{Files, LakeTable};

/// Where the tables are.
pub(crate) enum Tables {
    Lake(Box<LakeTables>),
    Memory(BTreeMap<Table, Arc<dyn TableProvider>>),
}

/// The tables of a lake, each of which is loaded when a statement or a view first names it.
pub(crate) struct LakeTables {
    snapshot: Snapshot,
    access: Files,
    loaded: BTreeMap<Table, OnceCell<Arc<LakeTable>>>,
}

impl Tables {
    pub(crate) fn names(&self) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| match self {
            Self::Lake(_) => true,
            Self::Memory(tables) => tables.contains_key(table),
        })
    }

    pub(crate) async fn provider(&self, table: Table) -> Result<Option<Arc<dyn TableProvider>>> {
        match self {
            Self::Lake(tables) => match tables.get(table).await {
                Ok(table) => Ok(Some(table)),
                Err(error) => Err(DataFusionError::External(error.into())),
            },
            Self::Memory(tables) => Ok(tables.get(&table).cloned()),
        }
    }
}

impl LakeTables {
    pub(crate) fn new(snapshot: Snapshot, access: Files) -> Self {
        Self { snapshot, access, loaded: Table::ALL.map(|table| (table, OnceCell::new())).into() }
    }

    pub(crate) async fn get(&self, table: Table) -> std::result::Result<Arc<LakeTable>, Error> {
        let load = async || {
            let (schema, files) = (self.snapshot.schema(table).await?, self.snapshot.files(table).await?);
            Ok(Arc::new(LakeTable::new(table, &schema, files, self.access.clone())))
        };
        let loaded = self.loaded.get(&table);
        let loaded = loaded.ok_or_else(|| Error::running(DataFusionError::Internal(format!("no table {table}"))))?;
        loaded.get_or_try_init(load).await.map(Arc::clone)
    }
}
