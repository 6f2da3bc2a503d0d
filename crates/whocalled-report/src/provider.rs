//! A table of the lake for DataFusion: the files of a snapshot, scanned by DataFusion's own Parquet
//! source.
//!
//! The rows of a view that are in the lake are read in the same way.
//!
//! What this adds to the source is knowledge from the Delta log: which files there are, the `date`
//! of each (so that a filter on `date` opens no file of another day), and how many rows they hold.
//! Everything below the file, such as row groups, pages and bloom filters, is pruned by the source.

use std::future::ready;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::Session as PlanningSession;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{Constraints, DFSchema, Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetRowSelection};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use whocalled_lake::DataFile;
use whocalled_types::Table;

use crate::small_files::{Readers, SmallFiles};

/// How many bytes of a file's end are read at once for its metadata, which are a few kilobytes for each row group.
const METADATA_BYTES_HINT: usize = 64 << 10;

/// How many files are opened at the same time to look an id up: nearly all of them say that they do not have it, and
/// what takes the time is to ask them.
const LOOKUPS_AT_A_TIME: usize = 16;

/// The column by which a call is looked up.
pub(crate) const ID: &str = "correlation_id";

/// The column that tables are partitioned by.
pub(crate) const DATE: &str = "date";

/// The days that a session reads of the tables that hold calls; see [`crate::Session::report`].
///
/// The views cannot express this themselves: a call's date is the least of its records' dates, and
/// no engine pushes a filter on that down to the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanDates {
    pub(crate) first: NaiveDate,
    pub(crate) last: NaiveDate,
}

/// How the files of a lake are read.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Where the lake's object store is registered.
    pub(crate) store: ObjectStoreUrl,
    pub(crate) small: Arc<SmallFiles>,
}

impl Files {
    /// Reads one file.
    pub(crate) fn reader(
        &self,
        state: &dyn PlanningSession,
        file: PartitionedFile,
    ) -> Result<Box<dyn AsyncFileReader>> {
        let hint = Some(METADATA_BYTES_HINT);
        Ok(self.readers(state)?.create_reader(0, file, hint, &ExecutionPlanMetricsSet::new())?)
    }

    /// What is read of a file's end is kept: views read a table several times.
    fn readers(&self, state: &dyn PlanningSession) -> Result<Readers> {
        let runtime = state.runtime_env();
        let cache = runtime.cache_manager.get_file_metadata_cache();
        let others = CachedParquetFileReaderFactory::new(runtime.object_store(&self.store)?, cache);
        Ok(Readers { others, small: Arc::clone(&self.small) })
    }
}

/// The files of one table in one snapshot, or of a view whose rows are in the lake.
#[derive(Debug)]
pub(crate) struct LakeTable {
    /// As a query sees it: of a table, with `date` last.
    schema: SchemaRef,
    files: Vec<DataFile>,
    access: Files,
    /// Whether `date` is no column of the files, but the same for all rows of one.
    by_date: bool,
    holds_calls: bool,
    constraints: Constraints,
}

impl LakeTable {
    /// `schema` is the table's, in which `date` may be anywhere; it is moved last.
    pub(crate) fn new(table: Table, schema: &SchemaRef, files: Vec<DataFile>, access: Files) -> Self {
        let (mut fields, date): (Vec<_>, Vec<_>) =
            with_views(schema).fields().iter().map(Arc::clone).partition(|field| field.name() != DATE);
        fields.extend(date);
        Self {
            schema: Arc::new(Schema::new(fields)),
            files,
            access,
            by_date: true,
            holds_calls: holds_calls(table),
            constraints: Constraints::default(),
        }
    }

    /// A view's rows, which are in one file.
    pub(crate) async fn of_view(
        file: DataFile,
        access: Files,
        constraints: Constraints,
        state: &dyn PlanningSession,
    ) -> Result<Self> {
        let mut reader = access.reader(state, PartitionedFile::new_from_meta(object_meta(&file)))?;
        let metadata = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await?;
        let schema = Arc::new(with_views(metadata.schema()));
        Ok(Self { schema, files: vec![file], access, by_date: false, holds_calls: false, constraints })
    }

    /// All files, whatever a session reads of them.
    pub(crate) fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn table_schema(&self) -> TableSchema {
        let (file, partition): (Vec<_>, Vec<_>) =
            self.schema.fields().iter().map(Arc::clone).partition(|field| !self.by_date || field.name() != DATE);
        TableSchema::builder(Arc::new(Schema::new(file))).with_table_partition_cols(partition).build()
    }

    /// Reads one of the files.
    pub(crate) fn reader(&self, state: &dyn PlanningSession, file: &DataFile) -> Result<Box<dyn AsyncFileReader>> {
        self.access.reader(state, self.partitioned_file(file))
    }

    pub(crate) fn plan_scan(
        &self,
        state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan_selected(state, projection, filters, limit, &|_| None)
    }

    /// The row groups that may have rows that pass the filter, and others too; of the columns, those projected.
    pub(crate) fn plan_groups(
        &self,
        state: &dyn PlanningSession,
        filter: Expr,
        projection: Option<Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let looks_up = named_id(&filter).is_some();
        let filter = state.create_physical_expr(filter, &schema)?;
        let files = self.files_to_read(state, &[])?;
        let source = self.source(state)?.with_predicate(filter);
        let config = self.scan_of(state, source, files, looks_up, &|_| None);
        Ok(DataSourceExec::from_data_source(config.with_projection_indices(projection)?.build()))
    }

    /// A scan that reads of each file the rows that are selected; all, where none are.
    pub(crate) fn plan_selected(
        &self,
        state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
        selection: &(dyn Fn(&DataFile) -> Option<ParquetRowSelection> + Sync),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files_to_read(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let source = self.source(state)?;
        let config = self.scan_of(state, source, files, filters.iter().any(|it| named_id(it).is_some()), selection);
        let config = config.with_limit(limit).with_projection_indices(projection.cloned())?;
        Ok(DataSourceExec::from_data_source(config.build()))
    }

    fn source(&self, state: &dyn PlanningSession) -> Result<ParquetSource> {
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        Ok(ParquetSource::new(self.table_schema())
            .with_table_parquet_options(options)
            .with_metadata_size_hint(METADATA_BYTES_HINT)
            .with_parquet_file_reader_factory(Arc::new(self.access.readers(state)?)))
    }

    fn scan_of(
        &self,
        state: &dyn PlanningSession,
        source: ParquetSource,
        files: Vec<&DataFile>,
        looks_up: bool,
        selection: &(dyn Fn(&DataFile) -> Option<ParquetRowSelection> + Sync),
    ) -> FileScanConfigBuilder {
        let row_count: Option<u64> = files.iter().map(|file| file.row_count).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some(row_count) = row_count.and_then(|it| usize::try_from(it).ok()) {
            statistics.num_rows = Precision::Inexact(row_count);
        }
        let partitioned = |file: &DataFile| match selection(file) {
            Some(selected) => self.partitioned_file(file).with_extension(selected),
            None => self.partitioned_file(file),
        };
        let files = FileGroup::new(files.into_iter().map(partitioned).collect());
        let config =
            FileScanConfigBuilder::new(self.access.store.clone(), Arc::new(source)).with_statistics(statistics);
        let threads = state.config().target_partitions();
        if !looks_up {
            return config.with_file_groups(files.split_files(threads));
        }
        let groups = files.split_files(threads.max(LOOKUPS_AT_A_TIME));
        // Said to be a partitioning, or the planner would bring them together again.
        let partitioning = Partitioning::UnknownPartitioning(groups.len());
        config.with_file_groups(groups).with_output_partitioning(Some(partitioning))
    }

    /// The files whose date the filters and the session leave over.
    pub(crate) fn files_to_read(&self, state: &dyn PlanningSession, filters: &[Expr]) -> Result<Vec<&DataFile>> {
        let dates = state.config().get_extension::<ScanDates>().filter(|_| self.holds_calls);
        let files: Vec<&DataFile> = self
            .files
            .iter()
            .filter(|file| match (&dates, file.date) {
                (Some(dates), Some(date)) => dates.first <= date && date <= dates.last,
                _ => true,
            })
            .collect();
        let of_files = filters.iter().filter(|it| self.by_date && reads_only_date(it));
        let Some(filter) = of_files.cloned().reduce(Expr::and) else {
            return Ok(files);
        };
        let schema = Arc::new(Schema::new(vec![Field::new(DATE, DataType::Date32, true)]));
        let column: Date32Array = files.iter().map(|file| file.date.map(Date32Type::from_naive_date)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)])?;
        let filter = state.create_physical_expr(unqualified(filter)?, &DFSchema::try_from(schema)?)?;
        let keep = filter.evaluate(&batch)?.into_array(files.len())?;
        let keep: &BooleanArray = keep.as_boolean();
        Ok(files.into_iter().enumerate().filter(|(i, _)| keep.is_valid(*i) && keep.value(*i)).map(|it| it.1).collect())
    }

    fn partitioned_file(&self, file: &DataFile) -> PartitionedFile {
        let found = PartitionedFile::new_from_meta(object_meta(file));
        if !self.by_date {
            return found;
        }
        let date = file.date.map(Date32Type::from_naive_date);
        found.with_partition_values(vec![ScalarValue::Date32(date)])
    }
}

/// A schema whose text is read as views into the pages of the files: a value that is one of few in its
/// page takes 16 bytes, however long it is.
pub(crate) fn with_views(schema: &Schema) -> Schema {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>())
}

/// Whether a table's rows are calls or belong to one, and are of use within a day of it only. Those of gateways
/// are not: they also show where a principal was, which speaks for a month.
fn holds_calls(table: Table) -> bool {
    matches!(table, Table::RequestResponse | Table::RequestUsage | Table::GatewayLlm)
}

fn reads_only_date(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == DATE) && !filter.is_volatile()
}

/// The id that all records must have to pass this filter, if it says so.
pub(crate) fn named_id(filter: &Expr) -> Option<&str> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(id, _)) | (Expr::Literal(id, _), Expr::Column(column)) => {
            id.try_as_str().flatten().filter(|_| column.name == ID)
        }
        _ => None,
    }
}

/// The filter with its columns named without their table.
fn unqualified(filter: Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let replaced = filter.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(datafusion::common::Column::from_name(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

fn object_meta(file: &DataFile) -> ObjectMeta {
    ObjectMeta {
        location: file.path.clone(),
        last_modified: file.modified_at,
        size: file.bytes,
        e_tag: None,
        version: None,
    }
}

impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Written without `async`, so that no coroutine captures `filters`: rustc would prove `Send`
    /// through the whole expression graph again for it.
    fn scan<'s, 'a, 'b, 'c, 'fut>(
        &'s self,
        state: &'a dyn PlanningSession,
        projection: Option<&'b Vec<usize>>,
        filters: &'c [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'fut, Result<Arc<dyn ExecutionPlan>>>
    where
        's: 'fut,
        'a: 'fut,
        'b: 'fut,
        'c: 'fut,
        Self: 'fut,
    {
        Box::pin(ready(self.plan_scan(state, projection, filters, limit)))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| {
                if self.by_date && reads_only_date(filter) {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Inexact
                }
            })
            .collect())
    }
}
