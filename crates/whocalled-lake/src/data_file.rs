//! Data files: the ones a snapshot names, and how rows become new ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, interleave};
use arrow::datatypes::{DataType, Date32Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use deltalake::kernel::{Add, Remove};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::Error;
use crate::layout::{DATE, Layout};
use crate::statistics;

/// How many rows a row group has at most: enough to compress well, few enough to skip well.
const ROW_GROUP_ROWS: usize = 256 << 10;
/// How many rows are gathered and encoded at a time.
const CHUNK_ROWS: usize = 16 << 10;
/// How many files are encoded and stored at the same time, of one table; and of how many tables.
pub(crate) const WRITES_AT_A_TIME: usize = 2;
/// Files above this size are uploaded in parts.
pub(crate) const SINGLE_PUT_BYTES_MAX: usize = 32 << 20;
/// Columns whose values are long, or in which nobody looks for a value by its order.
const WITHOUT_STATISTICS: [&str; 4] = ["properties", "extra", "record", "file"];
/// Columns of which nearly every value is different, so that a dictionary only costs.
const WITHOUT_DICTIONARY: [&str; 2] = ["correlation_id", "extra"];

/// A data file of a table, as the loaded snapshot names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Where the file is, relative to the lake.
    pub path: Path,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many rows it holds, if its statistics say so.
    pub row_count: Option<u64>,
    /// The date of all its rows.
    pub date: Option<NaiveDate>,
    /// When it was written.
    pub modified_at: DateTime<Utc>,
    /// Its statistics as Delta keeps them: JSON with `numRecords`, `minValues`, `maxValues` and
    /// `nullCount` of some columns.
    pub statistics: Option<String>,
}

impl DataFile {
    /// The file that an Add action names, of the table in `directory`.
    pub(crate) fn of(directory: &str, add: &Add) -> Self {
        Self {
            path: object_path(directory, &add.path),
            bytes: u64::try_from(add.size).unwrap_or(0),
            row_count: statistics::row_count(add.stats.as_deref()),
            date: date_of(&add.partition_values),
            modified_at: DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
            statistics: add.stats.clone(),
        }
    }
}

/// Where a file of a table is, relative to the lake. Percent signs of foreign writers are kept.
pub(crate) fn object_path(directory: &str, path: &str) -> Path {
    let path = if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") };
    Path::parse(&path).unwrap_or_else(|_| Path::from(path))
}

pub(crate) fn date_of(partition_values: &HashMap<String, Option<String>>) -> Option<NaiveDate> {
    partition_values.get(DATE)?.as_deref()?.parse().ok()
}

/// The action that takes a file out of its table.
pub(crate) fn remove(add: &Add, data_change: bool, now: DateTime<Utc>) -> Remove {
    Remove {
        path: add.path.clone(),
        data_change,
        deletion_timestamp: Some(now.timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(add.partition_values.clone()),
        size: Some(add.size),
        tags: None,
        deletion_vector: add.deletion_vector.clone(),
        base_row_id: None,
        default_row_commit_version: None,
    }
}

/// Rows of one table that are to be written, with the same type for each column.
pub(crate) struct Unwritten {
    layout: Arc<Layout>,
    batches: Vec<RecordBatch>,
}

/// One row of [`Unwritten`]: which batch, and which row of it.
type RowIndex = (usize, usize);

impl Unwritten {
    /// Brings rows into the order and the types of the table's columns. Dictionary-encoded text
    /// stays as it is where all batches have it so, because writing it out is what costs memory.
    pub(crate) fn new(layout: &Arc<Layout>, rows: Vec<RecordBatch>) -> Result<Self, Error> {
        let mut batches = rows;
        for batch in &batches {
            check_columns(layout, batch)?;
        }
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); batches.len()];
        let mut fields = Vec::new();
        for field in layout.schema.fields() {
            let arrays: Vec<ArrayRef> =
                batches.iter().map(|batch| column(batch, field.name(), field.data_type())).collect();
            let first = arrays.first().map_or_else(|| field.data_type(), |it| it.data_type());
            let kept = arrays.iter().all(|it| it.data_type() == first) && is_encoding_of(first, field.data_type());
            let target = if kept { first.clone() } else { field.data_type().clone() };
            for (array, columns) in arrays.iter().zip(&mut columns) {
                columns.push(convert(&layout.table, array, &target)?);
            }
            fields.push(field.as_ref().clone().with_data_type(target));
        }
        let schema = Arc::new(Schema::new(fields));
        for (batch, columns) in batches.iter_mut().zip(columns) {
            *batch = record_batch(&layout.table, Arc::clone(&schema), columns, batch.num_rows())?;
        }
        Ok(Self { layout: Arc::clone(layout), batches })
    }

    /// The rows of each date; of no date at all for a table without one.
    pub(crate) fn by_date(&self) -> Result<BTreeMap<Option<NaiveDate>, Vec<RowIndex>>, Error> {
        let mut dates: BTreeMap<Option<i32>, Vec<RowIndex>> = BTreeMap::new();
        for (index, batch) in self.batches.iter().enumerate() {
            let Some(column) = batch.column_by_name(DATE) else {
                dates.entry(None).or_default().extend((0..batch.num_rows()).map(|row| (index, row)));
                continue;
            };
            let column = column.as_primitive::<Date32Type>();
            for row in 0..batch.num_rows() {
                if column.is_null(row) {
                    return Err(Error::Rows {
                        table: self.layout.table.clone(),
                        reason: "a row has no date".to_owned(),
                    });
                }
                dates.entry(Some(column.value(row))).or_default().push((index, row));
            }
        }
        let to_date = |days: i32| {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()));
            date.ok_or_else(|| Error::Rows {
                table: self.layout.table.clone(),
                reason: format!("{days} days from 1970 is not a date"),
            })
        };
        dates.into_iter().map(|(days, rows)| Ok((days.map(to_date).transpose()?, rows))).collect()
    }

    /// The sort key of every row, batch by batch.
    pub(crate) fn keys(&self) -> Result<SortKeys, Error> {
        let failed = |error| Error::arrow(&self.layout.table, error);
        let Some(first) = self.batches.first() else { return Ok(SortKeys(Vec::new())) };
        let columns: Vec<usize> = self
            .layout
            .sort_by
            .iter()
            .map(|it| first.schema().index_of(it))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        if columns.is_empty() {
            return Ok(SortKeys(Vec::new()));
        }
        let fields = columns.iter().map(|it| SortField::new(first.column(*it).data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(failed)?;
        let keys = self.batches.iter().map(|batch| {
            let columns: Vec<ArrayRef> = columns.iter().map(|it| Arc::clone(batch.column(*it))).collect();
            converter.convert_columns(&columns)
        });
        Ok(SortKeys(keys.collect::<Result<_, _>>().map_err(failed)?))
    }

    /// The rows, in the given order, as a Parquet file. Costs CPU time: not for an async thread.
    pub(crate) fn encode(&self, order: &[RowIndex]) -> Result<Encoded, Error> {
        let failed = |source| Error::Parquet { path: format!("new file of {}", self.layout.table), source };
        let Some(first) = self.batches.first() else { return Err(Error::damaged(&self.layout.table, "no rows")) };
        let columns: Vec<usize> =
            (0..first.num_columns()).filter(|it| first.schema().field(*it).name() != DATE).collect();
        let schema = Arc::new(first.schema().project(&columns).map_err(|it| Error::arrow(&self.layout.table, it))?);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&self.layout, order.len()))
            // Readers are to use the declared types, not whether a column was dictionary-encoded here.
            .with_skip_arrow_metadata(true);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new_with_options(&mut bytes, Arc::clone(&schema), options).map_err(failed)?;
        for chunk in order.chunks(CHUNK_ROWS) {
            let arrays = columns.iter().map(|it| self.gather(*it, chunk)).collect::<Result<Vec<_>, _>>()?;
            let rows = record_batch(&self.layout.table, Arc::clone(&schema), arrays, chunk.len())?;
            writer.write(&rows).map_err(failed)?;
        }
        let metadata = writer.close().map_err(failed)?;
        let row_count = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        if row_count != order.len() as u64 {
            return Err(Error::damaged(
                &self.layout.table,
                format!("a new Parquet file says it has {row_count} rows where {} were written", order.len()),
            ));
        }
        let statistics = statistics::of_file(&self.layout, &metadata)?;
        Ok(Encoded { bytes, row_count, statistics })
    }

    fn gather(&self, column: usize, rows: &[RowIndex]) -> Result<ArrayRef, Error> {
        let arrays: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        interleave(&arrays, rows).map_err(|error| Error::arrow(&self.layout.table, error))
    }
}

/// What rows are sorted by; empty for a table that is not sorted.
pub(crate) struct SortKeys(Vec<Rows>);

impl SortKeys {
    /// Sorts rows by their keys. Rows with the same key stay as they came.
    pub(crate) fn sort(&self, rows: &mut [RowIndex]) {
        if !self.0.is_empty() {
            rows.sort_by(|left, right| self.0[left.0].row(left.1).cmp(&self.0[right.0].row(right.1)));
        }
    }
}

/// A Parquet file that is not in the storage yet.
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    pub(crate) row_count: u64,
    statistics: String,
}

/// A Parquet file in the storage that no snapshot names yet.
pub(crate) struct Written {
    pub(crate) add: Add,
    pub(crate) row_count: u64,
}

/// Writes one file for each date of `rows`, sorted.
pub(crate) async fn write_rows(
    store: &Arc<dyn ObjectStore>,
    directory: &str,
    layout: &Arc<Layout>,
    rows: Vec<RecordBatch>,
    label: &str,
    now: DateTime<Utc>,
    after_file: impl Fn() -> Result<(), Error>,
) -> Result<Vec<Written>, Error> {
    let layout = Arc::clone(layout);
    let table = layout.table.clone();
    let (unwritten, keys, dates) = blocking(&table, move || {
        let unwritten = Unwritten::new(&layout, rows)?;
        let keys = unwritten.keys()?;
        let dates = unwritten.by_date()?;
        Ok((Arc::new(unwritten), Arc::new(keys), dates))
    })
    .await?;
    let write = async |(date, mut rows): (Option<NaiveDate>, Vec<RowIndex>)| {
        let (unwritten, keys) = (Arc::clone(&unwritten), Arc::clone(&keys));
        let encoded = blocking(&table, move || {
            keys.sort(&mut rows);
            unwritten.encode(&rows)
        })
        .await?;
        let written = put(store, directory, date, label, encoded, now).await?;
        after_file()?;
        Ok(written)
    };
    stream::iter(dates).map(write).buffered(WRITES_AT_A_TIME).try_collect().await
}

/// Stores a file under a name that was never used before.
async fn put(
    store: &Arc<dyn ObjectStore>,
    directory: &str,
    date: Option<NaiveDate>,
    label: &str,
    encoded: Encoded,
    now: DateTime<Utc>,
) -> Result<Written, Error> {
    let path = new_path(date, label);
    let place = object_path(directory, &path);
    let bytes = encoded.bytes.len() as u64;
    let failed = |error| Error::write(place.to_string(), error);
    if encoded.bytes.len() <= SINGLE_PUT_BYTES_MAX {
        store.put(&place, encoded.bytes.into()).await.map_err(failed)?;
    } else {
        let mut upload = WriteMultipart::new(store.put_multipart(&place).await.map_err(failed)?);
        upload.put(encoded.bytes.into());
        upload.finish().await.map_err(failed)?;
    }
    Ok(Written { add: add(path, date, bytes, encoded.statistics, now)?, row_count: encoded.row_count })
}

/// A path in its table that was never used before.
pub(crate) fn new_path(date: Option<NaiveDate>, label: &str) -> String {
    let name = format!("part-{label}-{}.parquet", Uuid::new_v4());
    date.map_or_else(|| name.clone(), |date| format!("{DATE}={date}/{name}"))
}

/// The action that puts a new file into its table.
pub(crate) fn add(
    path: String,
    date: Option<NaiveDate>,
    bytes: u64,
    statistics: String,
    now: DateTime<Utc>,
) -> Result<Add, Error> {
    let size = i64::try_from(bytes).map_err(|_| Error::damaged(&path, "the file is too large"))?;
    Ok(Add {
        path,
        partition_values: date.map(|date| (DATE.to_owned(), Some(date.to_string()))).into_iter().collect(),
        size,
        modification_time: now.timestamp_millis(),
        data_change: true,
        stats: Some(statistics),
        ..Add::default()
    })
}

/// Runs what needs the CPU for long where it does not hold up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    table: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| Error::Storage { place: table.to_owned(), source: source.into() })?
}

/// A batch of those columns; Arrow checks that no required value is missing.
pub(crate) fn record_batch(
    table: &str,
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    row_count: usize,
) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::Rows { table: table.to_owned(), reason: error.to_string() })
}

/// Values as another type; one that does not fit is an error, never NULL.
pub(crate) fn convert(table: &str, array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Error> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, data_type, &options).map_err(|error| Error::arrow(table, error))
}

fn check_columns(layout: &Layout, batch: &RecordBatch) -> Result<(), Error> {
    let schema = batch.schema();
    let unknown = schema.fields().iter().find(|it| layout.schema.column_with_name(it.name()).is_none());
    let missing = layout.schema.fields().iter().find(|it| schema.column_with_name(it.name()).is_none());
    let reason = match (unknown, missing) {
        (Some(field), _) => format!("they have a column {} that the table does not have", field.name()),
        (_, Some(field)) => format!("they have no column {}", field.name()),
        _ => return Ok(()),
    };
    Err(Error::Rows { table: layout.table.clone(), reason })
}

fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> ArrayRef {
    batch.column_by_name(name).map_or_else(|| arrow::array::new_null_array(data_type, batch.num_rows()), Arc::clone)
}

/// Whether writing `actual` gives the same Parquet column as writing `declared`.
fn is_encoding_of(actual: &DataType, declared: &DataType) -> bool {
    match actual {
        DataType::Dictionary(_, value) => value.as_ref() == declared,
        _ => actual == declared,
    }
}

pub(crate) fn properties(layout: &Layout, row_count: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("whocalled version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(statistics::TEXT_BYTES_MAX));
    for field in layout.file_schema().fields() {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Timestamp(..)) || field.name() == "blob_offset" {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if WITHOUT_DICTIONARY.contains(&field.name().as_str()) {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if WITHOUT_STATISTICS.contains(&field.name().as_str()) {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if layout.bloom.contains(field.name()) {
            properties = properties.set_column_bloom_filter_max_ndv(path, row_count.min(ROW_GROUP_ROWS) as u64);
        }
    }
    properties.build()
}
