//! One reader of one snapshot of a lake.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::optimizer::Optimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Mutex;
use whocalled_lake::Snapshot;
use whocalled_types::Table;

use crate::error::Error;
use crate::materialized::{Materialization, Materialized};
use crate::parameters::{Parameters, Value};
use crate::provider::{Files, with_views};
use crate::relations::{Relations, Sources};
use crate::reports::Report;
use crate::scope::Scope;
use crate::small_files::SmallFiles;
use crate::tables::{LakeTables, Tables};
use crate::unused_joins::UnusedJoins;
use crate::views::{self, View};
use crate::weights::Weights;
use crate::{date_trunc, join_sizes};

/// Where the lake's own object store is registered. The scheme is ours, so that no location that a
/// user writes can mean it.
const LAKE_URL: &str = "whocalled://lake";

/// How large the smaller side of a join may be to be shared by all cores.
const BUILD_BYTES_MAX: usize = 256 << 20;
const BUILD_ROWS_MAX: usize = 4 << 20;

/// What a session may use.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// How many partitions a query runs in.
    pub threads: NonZeroUsize,
    /// How many bytes the operators of all queries may hold together, before they spill to disk or
    /// fail.
    pub memory_bytes_max: usize,
    /// What each piece of evidence adds to a candidate's score.
    pub weights: Weights,
}

/// Whether a relation stores rows or derives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A table of the lake.
    Table,
    /// A view over tables and other views.
    View,
}

/// A relation that queries can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name in SQL.
    pub name: String,
    /// Whether it stores rows.
    pub kind: RelationKind,
    /// What a row of it is, in a sentence.
    pub summary: String,
}

/// The rows of an answer, as they are computed.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, in batches.
    pub batches: BoxStream<'static, Result<RecordBatch, Error>>,
}

/// Reads one snapshot of a lake; commits made after it was opened are not seen.
pub struct Session {
    sources: Sources,
    relations: Arc<[Relation]>,
    /// Over everything.
    context: SessionContext,
    /// Over the scope that was asked for last: reports of one night all ask for the same days.
    recent: Mutex<Option<(Scope, SessionContext)>>,
}

impl Session {
    /// Reads a snapshot of a lake.
    ///
    /// # Errors
    /// When the engine refuses its settings. What is wrong with a table, or that its columns are not those that a view
    /// needs, shows when the table or the view is named.
    pub fn open(snapshot: Snapshot, options: &SessionOptions) -> Result<Self, Error> {
        let context = context(options)?;
        let url = ObjectStoreUrl::parse(LAKE_URL).map_err(Error::running)?;
        context.register_object_store(url.as_ref(), snapshot.object_store());
        let small = Arc::new(SmallFiles::new(&context.runtime_env().memory_pool, options.memory_bytes_max));
        let access = Files { store: url, small };
        let (views, weights) = (views::all()?, options.weights.clone());
        let materialized = Some(Arc::new(Materialized::of(&snapshot, access.clone(), &views, &weights)));
        let tables = Arc::new(Tables::Lake(Box::new(LakeTables::new(snapshot, access))));
        Self::over(context, Sources { tables, views, weights, materialized })
    }

    /// Empty tables in memory, with these schemas, to be filled by [`Session::load`]: the views and
    /// reports without a lake, for tests and for trying SQL.
    ///
    /// # Errors
    /// When the engine refuses a table or its settings.
    pub fn in_memory(schemas: &BTreeMap<Table, SchemaRef>, options: &SessionOptions) -> Result<Self, Error> {
        let mut tables = BTreeMap::new();
        for (table, schema) in schemas {
            let provider = MemTable::try_new(Arc::new(with_views(schema)), vec![vec![]]).map_err(Error::running)?;
            tables.insert(*table, Arc::new(provider) as Arc<dyn TableProvider>);
        }
        let (tables, views) = (Arc::new(Tables::Memory(tables)), views::all()?);
        let weights = options.weights.clone();
        Self::over(context(options)?, Sources { tables, views, weights, materialized: None })
    }

    fn over(context: SessionContext, sources: Sources) -> Result<Self, Error> {
        Relations::register(&context, &sources, None)?;
        let table = |table: Table| Relation {
            name: table.name().to_owned(),
            kind: RelationKind::Table,
            summary: views::table_summary(table).to_owned(),
        };
        let view = |view: &View| Relation {
            name: view.name.to_owned(),
            kind: RelationKind::View,
            summary: view.header.summary.clone(),
        };
        let relations = sources.tables.names().map(table).chain(sources.views.iter().map(view)).collect();
        Ok(Self { sources, relations, context, recent: Mutex::new(None) })
    }

    /// What queries can name: tables first, then views, each in the order of dependence.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// The columns of one of the [relations](Self::relations), and their types.
    ///
    /// # Errors
    /// When there is none of this name, or [`Error::Relation`] for a view that cannot be used over these
    /// tables.
    pub async fn schema(&self, relation: &str) -> Result<SchemaRef, Error> {
        Ok(self.context.table_provider(relation).await.map_err(|error| self.planning(error))?.schema())
    }

    /// Plans one statement that reads, and starts it.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for anything that would change something, [`Error::Sql`] for what cannot
    /// be planned; errors of the rows come with the rows.
    pub async fn query(&self, sql: &str, parameters: &Parameters) -> Result<Answer, Error> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        self.run(&self.context, sql, parameters, options).await
    }

    /// Runs a report over `[from, to)`, which `parameters` must have; its other parameters default.
    ///
    /// Of the tables that hold calls, only the days of the range and two on both sides are read: a
    /// call that was re-delivered more than two days later would count again. Grants, sign-ins and
    /// gateways, which show where a principal usually is, are read from the beginning, and so are calls for
    /// a report that says so.
    ///
    /// # Errors
    /// [`Error::Parameter`] when one is missing, unknown or of another kind; else as of a query.
    pub async fn report(&self, report: &Report, parameters: &Parameters) -> Result<Answer, Error> {
        let parameters = report.complete(parameters)?;
        let context = match (parameters.get("from"), parameters.get("to")) {
            (Some(Value::Time(from)), Some(Value::Time(to))) if !report.reads_everything => {
                self.within(Scope::of_days(from.date_naive()..=to.date_naive())).await?
            }
            _ => self.context.clone(),
        };
        self.run(&context, report.sql, &parameters, SQLOptions::new()).await
    }

    /// A query whose calls all lie in a scope, so that no others need be read.
    pub(crate) async fn query_within(&self, sql: &str, parameters: &Parameters, scope: Scope) -> Result<Answer, Error> {
        self.run(&self.within(scope).await?, sql, parameters, SQLOptions::new().with_allow_ddl(false)).await
    }

    /// Adds rows to a session that is [in memory](Session::in_memory): `into` is a table, or a table
    /// and some of its columns in parentheses, and `rows` a SELECT or VALUES whose columns they take.
    /// Views that were read before keep what they read.
    ///
    /// # Errors
    /// [`Error::Run`] over a lake, whose tables take no rows here.
    pub async fn load(&self, into: &str, rows: &str) -> Result<(), Error> {
        const ROWS: &str = "rows_to_load";
        let failed = |error| self.planning(error);
        // Through a view, because the planner would take VALUES anywhere in an INSERT for the
        // table's own columns.
        let rows = self.context.sql(rows).await.map_err(failed)?.into_view();
        self.context.register_table(ROWS, rows).map_err(failed)?;
        let sql = format!("INSERT INTO {into} SELECT * FROM {ROWS}");
        let inserted = self.context.sql(&sql).await;
        self.context.deregister_table(ROWS).map_err(failed)?;
        inserted.map_err(failed)?.collect().await.map_err(Error::running)?;
        Ok(())
    }

    /// Writes into the lake what the views say that others build on, so that later sessions read it instead of
    /// computing it, for as long as the lake has the same files. It takes time and memory as a question about all
    /// calls does; so it is left alone when the lake has more than `records_max` records of calls. `run_id`, of
    /// letters, digits and hyphens, is new in each run.
    ///
    /// # Errors
    /// When a view cannot be computed within the memory limit, or the lake cannot be written to. What was written
    /// is then no part of anything, and a vacuum deletes it.
    pub async fn materialize(&self, run_id: &str, records_max: u64) -> Result<Materialization, Error> {
        let (Some(materialized), Tables::Lake(tables)) = (&self.sources.materialized, self.sources.tables.as_ref())
        else {
            return Ok(Materialization::UpToDate);
        };
        let records = tables.get(Table::RequestResponse).await?.files().iter().filter_map(|file| file.row_count).sum();
        if records > records_max {
            return Ok(Materialization::TooLarge { records });
        }
        materialized.write(&self.context, &self.sources.views, run_id).await
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.sources.weights
    }

    fn planning(&self, error: DataFusionError) -> Error {
        Error::planning(error, &self.relations)
    }

    async fn run(
        &self,
        context: &SessionContext,
        sql: &str,
        parameters: &Parameters,
        options: SQLOptions,
    ) -> Result<Answer, Error> {
        let (context, relations) = (context.clone(), Arc::clone(&self.relations));
        let started = start(context, sql.to_owned(), parameters.clone(), options, relations);
        // A task of its own, so that of statements that are run together each is planned on a core.
        let joined = SpawnedTask::spawn(started).join_unwind().await;
        joined.map_err(|error| Error::running(DataFusionError::ExecutionJoin(Box::new(error))))?
    }

    /// The same relations, of which no more is read than the scope needs.
    async fn within(&self, scope: Scope) -> Result<SessionContext, Error> {
        let mut recent = self.recent.lock().await;
        if let Some((known, context)) = recent.as_ref()
            && *known == scope
        {
            return Ok(context.clone());
        }
        let config = self.context.copied_config().with_extension(Arc::new(scope.scan_dates()));
        let state = SessionStateBuilder::new_from_existing(self.context.state()).with_config(config);
        let context =
            SessionContext::new_with_state(state.with_catalog_list(Arc::new(MemoryCatalogProviderList::new())).build());
        Relations::register(&context, &self.sources, Some(&scope))?;
        *recent = Some((scope, context.clone()));
        Ok(context)
    }
}

/// Plans a statement, and starts it.
async fn start(
    context: SessionContext,
    sql: String,
    parameters: Parameters,
    options: SQLOptions,
    relations: Arc<[Relation]>,
) -> Result<Answer, Error> {
    let failed = |error| Error::planning(error, &relations);
    let plan = context.state().create_logical_plan(&sql).await.map_err(failed)?;
    options.verify_plan(&plan).map_err(|error| Error::ReadOnly { message: error.strip_backtrace() })?;
    let mut frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    if parameters.names().next().is_some() {
        frame = frame.with_param_values(parameters.to_datafusion()).map_err(failed)?;
    }
    let stream = frame.execute_stream().await.map_err(Error::running)?;
    Ok(Answer { schema: stream.schema(), batches: stream.map(|batch| batch.map_err(Error::running)).boxed() })
}

/// A context with our settings and nothing registered.
fn context(options: &SessionOptions) -> Result<SessionContext, Error> {
    let mut config = SessionConfig::new().with_information_schema(true).with_target_partitions(options.threads.get());
    // Text is Utf8 everywhere but in what is read of the lake, and text in statements becomes either.
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    // Every core looks up in the same table of up to this size, rather than in its own part of it, for
    // which the rows of both sides would have to be handed over.
    config.options_mut().optimizer.hash_join_single_partition_threshold = BUILD_BYTES_MAX;
    config.options_mut().optimizer.hash_join_single_partition_threshold_rows = BUILD_ROWS_MAX;
    config.options_mut().optimizer.use_statistics_registry = true;
    // A third pass took a seventh of the time of a short question.
    config.options_mut().optimizer.max_passes = 2;
    // All views that a plan waits for are computed at the same time: waiting takes no core.
    config.options_mut().execution.planning_concurrency = usize::MAX;
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    let consumers_named = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes_max), consumers_named);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc().map_err(Error::running)?;
    let mut rules = Optimizer::new().rules;
    // Where joins have their keys, and subqueries are joins.
    let place =
        rules.iter().position(|rule| rule.name() == "extract_equijoin_predicate").map_or(rules.len(), |it| it + 1);
    rules.insert(place, Arc::new(UnusedJoins));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rules(rules)
        .with_statistics_registry(join_sizes::registry())
        .build();
    let context = SessionContext::new_with_state(state);
    context.register_udf(date_trunc::function());
    Ok(context)
}
