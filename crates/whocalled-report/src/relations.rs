//! The tables and views as the planner asks for them.
//!
//! A view is planned when a statement first names it, or another view over it: to plan all of them takes
//! longer than to answer most questions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::SessionContext;
use tokio::sync::OnceCell;
use whocalled_types::Table;

use crate::error::Error;
use crate::kept::KeptView;
use crate::materialized::Materialized;
use crate::repeats::Repeats;
use crate::scope::Scope;
use crate::tables::Tables;
use crate::views::View;
use crate::weights::Weights;

/// What relations are made from.
pub(crate) struct Sources {
    pub(crate) tables: Arc<Tables>,
    pub(crate) views: Vec<View>,
    pub(crate) weights: Weights,
    /// Views whose rows may be in the lake.
    pub(crate) materialized: Option<Arc<Materialized>>,
}

/// The tables of a snapshot and the views over them.
pub(crate) struct Relations {
    tables: Arc<Tables>,
    /// What is registered later.
    others: MemorySchemaProvider,
    views: BTreeMap<&'static str, PlannedView>,
    repeats: OnceCell<Arc<Repeats>>,
    materialized: Option<Arc<Materialized>>,
    /// The state of the context in which they are registered, while there is one.
    state: Box<dyn Fn() -> Option<SessionState> + Send + Sync>,
}

struct PlannedView {
    sql: String,
    /// Which of its rows the scope leaves over.
    condition: Option<String>,
    kept: bool,
    may_be_stored: bool,
    provider: OnceCell<Arc<dyn TableProvider>>,
}

impl Relations {
    /// Registers the tables and views in a context, in place of any that it has.
    pub(crate) fn register(
        context: &SessionContext,
        sources: &Sources,
        scope: Option<&Scope>,
    ) -> std::result::Result<(), Error> {
        let planned = |view: &View| {
            let condition = scope.and_then(|scope| scope.condition(view.name));
            let (sql, may_be_stored) = (sources.weights.filled_in(view), view.sorted_by.is_some());
            (view.name, PlannedView { sql, condition, kept: view.kept, may_be_stored, provider: OnceCell::new() })
        };
        // Weak, because the state holds what is registered in it.
        let state = context.state_weak_ref();
        let relations = Self {
            tables: Arc::clone(&sources.tables),
            others: MemorySchemaProvider::new(),
            views: sources.views.iter().map(planned).collect(),
            repeats: OnceCell::new(),
            materialized: sources.materialized.clone(),
            state: Box::new(move || Some(state.upgrade()?.read().clone())),
        };
        let names = &context.state().config_options().catalog.clone();
        let catalog = context.catalog(&names.default_catalog).ok_or_else(|| {
            Error::running(DataFusionError::Internal(format!("no catalog {:?}", names.default_catalog)))
        })?;
        catalog.register_schema(&names.default_schema, Arc::new(relations)).map_err(Error::running)?;
        Ok(())
    }

    /// Which records are repeated; `None` where tables are in memory.
    async fn repeats(&self) -> Result<Option<&Arc<Repeats>>> {
        let Tables::Lake(tables) = self.tables.as_ref() else { return Ok(None) };
        let records = tables.get(Table::RequestResponse).await;
        let records = records.map_err(|error| DataFusionError::External(error.into()))?;
        let repeats = async || Arc::new(Repeats::new(records, self.materialized.clone()));
        Ok(Some(self.repeats.get_or_init(repeats).await))
    }

    async fn plan(&self, name: &'static str, view: &PlannedView) -> Result<Arc<dyn TableProvider>> {
        if let "repeated_records" | "single_records" = name
            && let Some(repeats) = self.repeats().await?
        {
            return Ok(Arc::new(repeats.view(name == "repeated_records")));
        }
        let state = (self.state)().ok_or_else(|| DataFusionError::Internal("the session has ended".to_owned()))?;
        if view.may_be_stored
            && let Some(materialized) = &self.materialized
            && let Some(rows) = materialized.table(name, &state).await?
        {
            return view.narrowed(name, rows, &state);
        }
        let sql = match &view.condition {
            Some(condition) => format!("SELECT * FROM (\n{}\n) AS {name} WHERE {condition}", view.sql),
            None => view.sql.clone(),
        };
        let plan = state.create_logical_plan(&sql).await.map_err(|error| unusable(name, error))?;
        Ok(if view.kept { Arc::new(KeptView::new(name, plan)) } else { Arc::new(ViewTable::new(plan, Some(sql))) })
    }
}

impl PlannedView {
    /// The rows of the view that its condition leaves over.
    fn narrowed(
        &self,
        name: &str,
        rows: Arc<dyn TableProvider>,
        state: &SessionState,
    ) -> Result<Arc<dyn TableProvider>> {
        let Some(condition) = &self.condition else { return Ok(rows) };
        let rows = LogicalPlanBuilder::scan(name, provider_as_source(rows), None)?;
        let condition = state.create_logical_expr(condition, rows.schema())?;
        Ok(Arc::new(ViewTable::new(rows.filter(condition)?.build()?, None)))
    }
}

/// The error of a view that does not plan; of the innermost one, when it fails because of those it reads.
fn unusable(view: &str, error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::External(_) => error,
        _ => DataFusionError::External(Box::new(Error::Relation {
            relation: format!("view {view}"),
            source: Box::new(error),
        })),
    }
}

impl fmt::Debug for Relations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relations").field("others", &self.others).finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for Relations {
    fn table_names(&self) -> Vec<String> {
        let tables = self.tables.names().map(|table| table.name().to_owned());
        let views = self.views.keys().map(|&name| name.to_owned());
        tables.chain(views).chain(self.others.table_names()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some((name, view)) = self.views.get_key_value(name) {
            return Ok(Some(Arc::clone(view.provider.get_or_try_init(|| self.plan(name, view)).await?)));
        }
        match Table::from_name(name) {
            Some(table) => self.tables.provider(table).await,
            None => self.others.table(name).await,
        }
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        self.others.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.others.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        let table = || Table::from_name(name).is_some_and(|table| self.tables.names().any(|it| it == table));
        self.views.contains_key(name) || table() || self.others.table_exist(name)
    }
}
