//! A view that is computed once for a session, and then read like a table.
//!
//! An engine that inlines views, as DataFusion does, would compute the grants of a tenant dozens of
//! times within one query over `attributed_calls`. The views that others build on more than once
//! are small, and are kept in memory instead, within the session's memory limit. What they mean is
//! not affected: each still is the plain SQL of its file. Each is computed on a task of its own, so that
//! the cores compute side by side those that do not build on each other.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session as PlanningSession;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Constraint, Constraints, Dependency};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

/// A view whose rows are kept once they were asked for.
pub(crate) struct KeptView {
    view: Arc<View>,
}

struct View {
    name: &'static str,
    plan: LogicalPlan,
    schema: SchemaRef,
    /// Which columns identify a row, as the plan's groups tell.
    constraints: Constraints,
    rows: OnceCell<Rows>,
}

struct Rows {
    partitions: Vec<Vec<RecordBatch>>,
    /// Counts the rows against the session's memory limit for as long as they are held.
    _reservation: MemoryReservation,
}

impl KeptView {
    pub(crate) fn new(name: &'static str, plan: LogicalPlan) -> Self {
        let schema = owned(plan.schema().as_arrow());
        let keys = plan.schema().functional_dependencies().iter().filter(|it| it.mode == Dependency::Single);
        let keys = keys.map(|it| Constraint::Unique(it.source_indices.clone())).collect();
        let constraints = Constraints::new_unverified(keys);
        Self { view: Arc::new(View { name, plan, schema, constraints, rows: OnceCell::new() }) }
    }
}

impl View {
    async fn compute(&self, state: &SessionState) -> Result<Rows> {
        let plan = state.create_physical_plan(&self.plan).await?;
        let mut partitions = collect_partitioned(plan, state.task_ctx()).await?;
        for batches in &mut partitions {
            *batches = vec![compact(&self.schema, batches)?];
        }
        let reservation = MemoryConsumer::new(format!("view {}", self.name)).register(&state.runtime_env().memory_pool);
        let bytes = partitions.iter().flatten().map(RecordBatch::get_array_memory_size).sum();
        reservation.try_grow(bytes)?;
        tracing::debug!(view = self.name, bytes, "view kept");
        Ok(Rows { partitions, _reservation: reservation })
    }
}

/// The rows as one batch whose text is its own: views would hold on to the pages of the files that they
/// come from, and each operator that reorders rows would hand on all pages of all batches.
fn compact(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let owned = batches.iter().map(|batch| {
        let columns =
            batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        RecordBatch::try_new(Arc::clone(schema), columns.collect::<std::result::Result<_, _>>()?)
    });
    Ok(concat_batches(schema, &owned.collect::<std::result::Result<Vec<_>, _>>()?)?)
}

/// The schema with text of its own in place of views.
fn owned(schema: &Schema) -> SchemaRef {
    let owned = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(owned).collect::<Vec<_>>()))
}

impl fmt::Debug for KeptView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptView").field("name", &self.view.name).finish_non_exhaustive()
    }
}

impl TableProvider for KeptView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.view.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.view.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Written without `async fn`, so that the future does not capture `filters`, which are not used.
    fn scan<'s, 'a, 'b, 'c, 'fut>(
        &'s self,
        state: &'a dyn PlanningSession,
        projection: Option<&'b Vec<usize>>,
        _filters: &'c [Expr],
        _limit: Option<usize>,
    ) -> BoxFuture<'fut, Result<Arc<dyn ExecutionPlan>>>
    where
        's: 'fut,
        'a: 'fut,
        'b: 'fut,
        'c: 'fut,
        Self: 'fut,
    {
        let projection = projection.cloned();
        Box::pin(async move {
            let state = state.as_any().downcast_ref::<SessionState>().cloned();
            let state =
                state.ok_or_else(|| DataFusionError::Internal("views need a session's own state".to_owned()))?;
            let view = Arc::clone(&self.view);
            let plan = SpawnedTask::spawn(async move {
                let rows = view.rows.get_or_try_init(|| view.compute(&state)).await?;
                MemorySourceConfig::try_new_exec(&rows.partitions, Arc::clone(&view.schema), projection)
            });
            let plan = plan.join_unwind().await.map_err(|error| DataFusionError::External(error.into()))??;
            Ok(plan as Arc<dyn ExecutionPlan>)
        })
    }
}
