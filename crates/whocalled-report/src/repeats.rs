//! The records that share their correlation id with another record, and those that do not.
//!
//! `repeated_records` and `single_records` are views like others, and their SQL says what they are. Over a
//! lake they are answered without it: to group the ids of ten million records takes an engine longer than
//! everything else in `attributed_calls` together, and joining the outcome to the records as long again.
//! Here the ids are hashed, the hashes sorted in small portions, and the answer is a bit for
//! each record, by which the Parquet source reads the ones and skips the others. An id whose hash
//! another one shares by chance counts as repeated, which is harmless: the records of `repeated_records`
//! are grouped by the whole id.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanBufferBuilder, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::partition;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::catalog::Session as PlanningSession;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, ident, lit};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use tokio::sync::{Mutex, OnceCell};
use whocalled_lake::DataFile;

use crate::materialized::Materialized;
use crate::provider::{ID, LakeTable, named_id};

/// What is stored in a lake, and its columns: a file of the table, and the place of a repeated record in it.
pub(crate) const REPEATED_ROWS: &str = "repeated_rows";
const FILE: &str = "file";
const ROW: &str = "row";

/// Records whose id has no hash: the column is NULL.
const NO_HASH: u64 = 0;

/// By how many bits of the hash records are put into portions that fit the processor's caches.
const PORTION_BITS: u32 = 10;

/// How many bytes of memory a record takes while repeats are looked for.
const RECORD_BYTES: usize = 16;

/// What is known of the records of one session's days.
#[derive(Debug)]
pub(crate) struct Repeats {
    table: Arc<LakeTable>,
    materialized: Option<Arc<Materialized>>,
    /// For each file, which of its records are repeated.
    found: OnceCell<HashMap<Path, BooleanBuffer>>,
    /// The id that was asked for last, and whether it is repeated.
    recent: Mutex<Option<(String, bool)>>,
}

/// The repeated records of a table, or the others.
#[derive(Debug)]
pub(crate) struct RecordsView {
    repeats: Arc<Repeats>,
    repeated: bool,
}

impl Repeats {
    pub(crate) fn new(table: Arc<LakeTable>, materialized: Option<Arc<Materialized>>) -> Self {
        Self { table, materialized, found: OnceCell::new(), recent: Mutex::new(None) }
    }

    pub(crate) fn view(self: &Arc<Self>, repeated: bool) -> RecordsView {
        RecordsView { repeats: Arc::clone(self), repeated }
    }

    async fn scan(
        &self,
        repeated: bool,
        state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(id) = filters.iter().find_map(named_id) {
            // All records that matter have this id: all are repeated, or the only one is not.
            if self.is_repeated(id, state).await? == repeated {
                return self.table.plan_scan(state, projection, filters, limit);
            }
            let schema = datafusion::common::project_schema(&self.table.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let found = self.found.get_or_try_init(|| self.find(state)).await?;
        self.table.plan_selected(state, projection, filters, limit, &|file| {
            let of_file = found.get(&file.path)?;
            let wanted = if repeated { of_file.clone() } else { !of_file };
            Some(ParquetRowSelection::new(RowSelection::from_boolean_buffer(wanted)))
        })
    }

    /// Whether more than one record has this id.
    async fn is_repeated(&self, id: &str, state: &dyn PlanningSession) -> Result<bool> {
        let mut recent = self.recent.lock().await;
        if let Some((known, repeated)) = recent.as_ref()
            && known == id
        {
            return Ok(*repeated);
        }
        let filter = ident(ID).eq(lit(ScalarValue::Utf8View(Some(id.to_owned()))));
        let plan = self.table.plan_groups(state, filter, Some(vec![self.table.schema().index_of(ID)?]))?;
        let batches = collect(plan, state.task_ctx()).await?;
        let count = |batch: &RecordBatch| batch.column(0).as_string_view().iter().filter(|it| *it == Some(id)).count();
        let repeated = batches.iter().map(count).sum::<usize>() > 1;
        *recent = Some((id.to_owned(), repeated));
        Ok(repeated)
    }

    /// Which records are repeated, by file and place in it, for [`Self::stored`]: a batch for each file.
    pub(crate) async fn rows(&self, state: &dyn PlanningSession) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let found = self.found.get_or_try_init(|| self.find(state)).await?;
        let mut files: Vec<_> = found.iter().collect();
        files.sort_by_key(|(path, _)| *path);
        let schema = schema_of_rows();
        let batch = |(path, repeated): (&Path, &BooleanBuffer)| {
            let rows: UInt64Array = repeated.set_indices().map(|row| row as u64).collect();
            let files = StringArray::from_iter_values(std::iter::repeat_n(path, rows.len()));
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(files), Arc::new(rows)])
        };
        let batches = files.into_iter().map(batch).collect::<std::result::Result<_, _>>()?;
        Ok((schema, batches))
    }

    /// What an earlier session has written into the lake.
    async fn stored(
        &self,
        files: &[&DataFile],
        state: &dyn PlanningSession,
    ) -> Result<Option<HashMap<Path, BooleanBuffer>>> {
        let Some(materialized) = &self.materialized else { return Ok(None) };
        let Some(table) = materialized.table(REPEATED_ROWS, state).await? else { return Ok(None) };
        let mut repeated = HashMap::with_capacity(files.len());
        for file in files {
            let count = match file.row_count {
                Some(count) => usize::try_from(count),
                None => self.table.reader(state, file)?.get_metadata(None).await?.file_metadata().num_rows().try_into(),
            };
            let count = count.map_err(|error| DataFusionError::External(error.into()))?;
            let mut none = BooleanBufferBuilder::new(count);
            none.append_n(count, false);
            repeated.insert(file.path.as_ref(), none);
        }
        let (Some(first), Some(last)) = (repeated.keys().min(), repeated.keys().max()) else {
            return Ok(Some(HashMap::new()));
        };
        let text = |path: &str| lit(ScalarValue::Utf8View(Some(path.to_owned())));
        let plan = table.plan_groups(state, ident(FILE).between(text(first), text(last)), None)?;
        for batch in collect(plan, state.task_ctx()).await? {
            let (of_files, rows) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<UInt64Type>());
            for of_one in partition(&batch.columns()[..1])?.ranges() {
                // Rows of other files are in the same row groups.
                let Some(bits) = repeated.get_mut(of_files.value(of_one.start)) else { continue };
                for row in &rows.values()[of_one] {
                    let row = usize::try_from(*row).ok().filter(|row| *row < bits.len());
                    let row = row.ok_or_else(|| DataFusionError::Execution(format!("{REPEATED_ROWS}: no such row")))?;
                    bits.set_bit(row, true);
                }
            }
        }
        Ok(Some(repeated.into_iter().map(|(path, mut bits)| (Path::from(path), bits.finish())).collect()))
    }

    async fn find(&self, state: &dyn PlanningSession) -> Result<HashMap<Path, BooleanBuffer>> {
        let files = self.table.files_to_read(state, &[])?;
        if let Some(stored) = self.stored(&files, state).await? {
            return Ok(stored);
        }
        let record_count = files.iter().filter_map(|file| file.row_count).sum::<u64>();
        let memory = MemoryConsumer::new("repeated_records").register(&state.runtime_env().memory_pool);
        memory.try_grow(usize::try_from(record_count).unwrap_or(usize::MAX).saturating_mul(RECORD_BYTES))?;
        let threads = state.config().target_partitions();
        let mut tasks = Vec::with_capacity(files.len());
        for file in &files {
            tasks.push(hashed(self.table.reader(state, file)?));
        }
        let hashes: Vec<Vec<u64>> = stream::iter(tasks).buffered(threads).try_collect().await?;
        if u32::try_from(hashes.iter().map(Vec::len).sum::<usize>()).is_err() {
            let reason = "more than 4,294,967,295 records: ask for fewer days, with --from and --to";
            return Err(DataFusionError::ResourcesExhausted(reason.to_owned()));
        }
        let repeated = repeated_rows(&hashes, threads);
        let mut begin = 0;
        let mut found = HashMap::with_capacity(files.len());
        for (file, hashes) in files.iter().zip(&hashes) {
            found.insert(file.path.clone(), repeated.slice(begin, hashes.len()));
            begin += hashes.len();
        }
        Ok(found)
    }
}

/// The columns of what is stored.
fn schema_of_rows() -> SchemaRef {
    let fields = [(FILE, DataType::Utf8), (ROW, DataType::UInt64)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, false)).to_vec()))
}

/// The hashes of a file, on a thread of their own as soon as they are asked for.
fn hashed(reader: Box<dyn AsyncFileReader>) -> BoxFuture<'static, Result<Vec<u64>>> {
    let hashes = async move { SpawnedTask::spawn(id_hashes(reader)).join().await };
    hashes.map(|joined| joined.map_err(|error| DataFusionError::External(error.into()))?).boxed()
}

/// A hash of the id of each record of a file, in order.
async fn id_hashes(reader: Box<dyn AsyncFileReader>) -> Result<Vec<u64>> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [ID]);
    let mut hashes = Vec::with_capacity(usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0));
    let mut batches = builder.with_projection(mask).build()?;
    let state = RandomState::default();
    while let Some(batch) = batches.try_next().await? {
        let ids = batch.column(0);
        let begin = hashes.len();
        hashes.resize(begin + ids.len(), NO_HASH);
        create_hashes([ids], &state, &mut hashes[begin..])?;
        for row in 0..ids.len() {
            hashes[begin + row] = if ids.is_null(row) { NO_HASH } else { hashes[begin + row].max(1) };
        }
    }
    Ok(hashes)
}

/// Which rows, counted through all files, have a hash that another row has, or none.
fn repeated_rows(hashes: &[Vec<u64>], threads: usize) -> BooleanBuffer {
    let row_count = hashes.iter().map(Vec::len).sum();
    let mut repeated = BooleanBufferBuilder::new(row_count);
    repeated.append_n(row_count, false);
    let mut portions = portions(hashes, &mut repeated);
    let share = portions.len().div_ceil(threads.max(1));
    let rows: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let workers: Vec<_> = portions
            .chunks_mut(share.max(1))
            .map(|portions| scope.spawn(|| portions.iter_mut().flat_map(|it| repeated_of_portion(it)).collect()))
            .collect();
        // A worker that panicked is a panic here, too.
        workers.into_iter().map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    for row in rows.into_iter().flatten() {
        repeated.set_bit(row as usize, true);
    }
    repeated.finish()
}

/// The rows by the first bits of their hashes; each as 32 more bits of the hash, and its number. Rows
/// without a hash are marked in `repeated`.
fn portions(hashes: &[Vec<u64>], repeated: &mut BooleanBufferBuilder) -> Vec<Vec<u64>> {
    let row_count: usize = hashes.iter().map(Vec::len).sum();
    let portion_count = 1 << PORTION_BITS;
    let size = row_count / portion_count;
    let mut portions: Vec<Vec<u64>> = (0..portion_count).map(|_| Vec::with_capacity(size + size / 8)).collect();
    for (row, hash) in hashes.iter().flatten().enumerate() {
        if *hash == NO_HASH {
            repeated.set_bit(row, true);
        } else {
            let portion = usize::try_from(hash >> (u64::BITS - PORTION_BITS)).unwrap_or(0);
            portions[portion].push((hash << PORTION_BITS) >> 32 << 32 | row as u64 & u64::from(u32::MAX));
        }
    }
    portions
}

/// The rows of a portion whose hashes occur more than once.
fn repeated_of_portion(portion: &mut [u64]) -> Vec<u32> {
    portion.sort_unstable();
    let mut rows = Vec::new();
    for same in portion.chunk_by(|one, other| one >> 32 == other >> 32).filter(|same| same.len() > 1) {
        rows.extend(same.iter().filter_map(|it| u32::try_from(it & u64::from(u32::MAX)).ok()));
    }
    rows
}

impl RecordsView {
    pub(crate) fn repeats(&self) -> &Repeats {
        &self.repeats
    }
}

impl TableProvider for RecordsView {
    fn schema(&self) -> SchemaRef {
        self.repeats.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Written without `async fn`; see [`LakeTable`].
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
        Box::pin(self.repeats.scan(self.repeated, state, projection, filters, limit))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.repeats.table.supports_filters_pushdown(filters)
    }
}
