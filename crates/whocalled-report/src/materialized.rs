//! Views whose rows are in the lake.
//!
//! What the [kept](crate::kept) views say follows from the state of the lake's tables, the views' own SQL and the
//! weights of the evidence. So `optimize` computes it once, and queries read it for as long as the lake is in
//! the same state. The rows are found by a hash of all that they follow from: they may be missing, and are then
//! computed as ever, but they cannot be out of date.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::Session as PlanningSession;
use datafusion::common::{Constraint, Constraints};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ident;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::{TryStreamExt, stream};
use tokio::sync::OnceCell;
use whocalled_lake::{Snapshot, StoredView, StoredViews, ViewSet};

use crate::error::Error;
use crate::provider::{Files, LakeTable};
use crate::repeats::{REPEATED_ROWS, RecordsView};
use crate::views::View;
use crate::weights::Weights;

/// What [`Session::materialize`](crate::Session::materialize) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialization {
    /// It wrote the views.
    Written {
        /// How many views.
        views: usize,
        /// How many rows they have together.
        rows: u64,
        /// How many bytes their files have.
        bytes: u64,
    },
    /// They were there, or there is no lake to write them to.
    UpToDate,
    /// The lake has more records of calls than was allowed.
    TooLarge {
        /// How many.
        records: u64,
    },
}

/// The views of one state of a lake, if they are there.
pub(crate) struct Materialized {
    set: ViewSet,
    access: Files,
    views: OnceCell<Option<StoredViews>>,
}

impl Materialized {
    /// The views over this state of a lake.
    pub(crate) fn of(snapshot: &Snapshot, access: Files, views: &[View], weights: &Weights) -> Self {
        // Of one version of the program, since not all that decides is SQL.
        let versions = [env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION];
        let statements: Vec<String> = views.iter().map(|view| weights.filled_in(view)).collect();
        let texts = versions.into_iter().chain(statements.iter().map(String::as_str));
        Self { set: snapshot.view_set(texts), access, views: OnceCell::new() }
    }

    async fn views(&self) -> Option<&StoredViews> {
        let read = async || {
            let views = self.set.read().await;
            // What cannot be read is computed.
            views.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot read views: they are computed");
                None
            })
        };
        self.views.get_or_init(read).await.as_ref()
    }

    /// The rows of a view, if they are in the lake.
    pub(crate) async fn table(&self, name: &str, state: &dyn PlanningSession) -> Result<Option<Arc<LakeTable>>> {
        let Some(view) = self.views().await.and_then(|views| views.get(name)) else { return Ok(None) };
        let unique = view.unique.iter().cloned().map(Constraint::Unique).collect();
        let (file, constraints) = (self.set.file(view), Constraints::new_unverified(unique));
        Ok(Some(Arc::new(LakeTable::of_view(file, self.access.clone(), constraints, state).await?)))
    }

    /// Writes the views of a context over everything, unless they are there.
    pub(crate) async fn write(
        &self,
        context: &SessionContext,
        views: &[View],
        run_id: &str,
    ) -> std::result::Result<Materialization, Error> {
        if self.views().await.is_some() {
            return Ok(Materialization::UpToDate);
        }
        let mut stored = StoredViews::new();
        // The last first, which needs most of the others: those are computed side by side. Then one after the other,
        // because all operators that there are share the memory limit, also those that wait.
        for (name, sorted_by) in views.iter().rev().filter_map(|view| Some((view.name, view.sorted_by?))) {
            let (name, view) = self.write_view(context, name, sorted_by, run_id).await?;
            stored.insert(name, view);
        }
        stored.extend(self.write_repeats(context, run_id).await?);
        let written = Materialization::Written {
            views: stored.len(),
            rows: stored.values().map(|view| view.rows).sum(),
            bytes: stored.values().map(|view| view.bytes).sum(),
        };
        self.set.publish(stored).await?;
        Ok(written)
    }

    async fn write_view(
        &self,
        context: &SessionContext,
        name: &'static str,
        sorted_by: &[&str],
        run_id: &str,
    ) -> std::result::Result<(String, StoredView), Error> {
        let view = context.table_provider(name).await.map_err(Error::running)?;
        let unique = view.constraints().into_iter().flat_map(|it| it.iter()).map(|constraint| match constraint {
            Constraint::Unique(columns) | Constraint::PrimaryKey(columns) => columns.clone(),
        });
        let order: Vec<_> = sorted_by.iter().map(|column| ident(*column).sort(true, false)).collect();
        let rows = async {
            let rows = context.table(name).await?;
            let rows = if order.is_empty() { rows } else { rows.sort(order)? };
            rows.execute_stream().await
        };
        self.write_rows(name, unique.collect(), rows.await.map_err(Error::running)?, run_id).await
    }

    /// Writes which records are repeated, which is no view, for it names rows of files.
    async fn write_repeats(
        &self,
        context: &SessionContext,
        run_id: &str,
    ) -> std::result::Result<Option<(String, StoredView)>, Error> {
        let view = context.table_provider("repeated_records").await.map_err(Error::running)?;
        let Some(records) = view.downcast_ref::<RecordsView>() else { return Ok(None) };
        let (schema, batches) = records.repeats().rows(&context.state()).await.map_err(Error::running)?;
        let rows = RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok)));
        Ok(Some(self.write_rows(REPEATED_ROWS, Vec::new(), Box::pin(rows), run_id).await?))
    }

    async fn write_rows(
        &self,
        name: &str,
        unique: Vec<Vec<usize>>,
        rows: SendableRecordBatchStream,
        run_id: &str,
    ) -> std::result::Result<(String, StoredView), Error> {
        let schema = rows.schema();
        let rows = rows.map_err(Error::running);
        Ok((name.to_owned(), self.set.write(name, run_id, unique, schema, rows).await?))
    }
}

impl fmt::Debug for Materialized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Materialized").field("set", &self.set).finish_non_exhaustive()
    }
}
