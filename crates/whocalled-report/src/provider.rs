//! A table of the lake for DataFusion: the files of a snapshot, scanned by DataFusion's own Parquet
//! source.
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
use datafusion::common::{DFSchema, Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use whocalled_lake::DataFile;
use whocalled_types::Table;

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

/// The files of one table in one snapshot.
#[derive(Debug)]
pub(crate) struct LakeTable {
    table: Table,
    /// With `date` last, as a query sees it.
    schema: SchemaRef,
    files: Vec<DataFile>,
    store: ObjectStoreUrl,
}

impl LakeTable {
    /// `schema` is the table's, in which `date` may be anywhere; it is moved last.
    pub(crate) fn new(table: Table, schema: &SchemaRef, files: Vec<DataFile>, store: ObjectStoreUrl) -> Self {
        let (mut fields, date): (Vec<_>, Vec<_>) =
            schema.fields().iter().map(Arc::clone).partition(|field| field.name() != DATE);
        fields.extend(date);
        Self { table, schema: Arc::new(Schema::new(fields)), files, store }
    }

    fn table_schema(&self) -> TableSchema {
        let (file, partition): (Vec<_>, Vec<_>) =
            self.schema.fields().iter().map(Arc::clone).partition(|field| field.name() != DATE);
        TableSchema::builder(Arc::new(Schema::new(file))).with_table_partition_cols(partition).build()
    }

    fn plan_scan(
        &self,
        state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files_to_read(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let row_count: Option<u64> = files.iter().map(|file| file.row_count).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some(row_count) = row_count.and_then(|it| usize::try_from(it).ok()) {
            statistics.num_rows = Precision::Inexact(row_count);
        }
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(self.table_schema()).with_table_parquet_options(options);
        let files = FileGroup::new(files.into_iter().map(partitioned_file).collect());
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(files.split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The files whose date the filters and the session leave over.
    fn files_to_read(&self, state: &dyn PlanningSession, filters: &[Expr]) -> Result<Vec<&DataFile>> {
        let dates = state.config().get_extension::<ScanDates>().filter(|_| holds_calls(self.table));
        let files: Vec<&DataFile> = self
            .files
            .iter()
            .filter(|file| match (&dates, file.date) {
                (Some(dates), Some(date)) => dates.first <= date && date <= dates.last,
                _ => true,
            })
            .collect();
        let Some(filter) = filters.iter().filter(|it| reads_only_date(it)).cloned().reduce(Expr::and) else {
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
}

/// Whether a table's rows are calls or belong to one, so that they lie within a day of it.
fn holds_calls(table: Table) -> bool {
    matches!(table, Table::RequestResponse | Table::RequestUsage | Table::Gateway | Table::GatewayLlm)
}

fn reads_only_date(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == DATE) && !filter.is_volatile()
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

fn partitioned_file(file: &DataFile) -> PartitionedFile {
    let date = file.date.map(Date32Type::from_naive_date);
    PartitionedFile::new_from_meta(object_store::ObjectMeta {
        location: file.path.clone(),
        last_modified: file.modified_at,
        size: file.bytes,
        e_tag: None,
        version: None,
    })
    .with_partition_values(vec![ScalarValue::Date32(date)])
}

impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
                if reads_only_date(filter) {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Inexact
                }
            })
            .collect())
    }
}
