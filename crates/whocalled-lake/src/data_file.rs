//! Data files: the ones a snapshot names, and how rows become new ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use deltalake::kernel::{Add, Remove};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use uuid::Uuid;

use crate::Error;
use crate::encode::encode;
use crate::gather::{Parts, RowIndex, SortKeys};
use crate::layout::{DATE, Layout};
use crate::statistics;

/// How many tables are written at the same time.
pub(crate) const WRITES_AT_A_TIME: usize = 2;
/// Files above this size are uploaded in parts.
pub(crate) const SINGLE_PUT_BYTES_MAX: usize = 32 << 20;

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
#[derive(Clone)]
pub(crate) struct Unwritten {
    pub(crate) layout: Arc<Layout>,
    /// The columns of a file.
    pub(crate) schema: SchemaRef,
    pub(crate) columns: Vec<Arc<Parts>>,
}

impl Unwritten {
    /// Brings rows into the order and the types of the table's columns. Dictionary-encoded text
    /// stays as it is where all batches have it so, because writing it out is what costs memory.
    /// Gives beside them the rows of each date, sorted; of no date at all for a table without one.
    pub(crate) fn new(layout: &Arc<Layout>, batches: Vec<RecordBatch>) -> Result<(Self, ByDate), Error> {
        for batch in &batches {
            check_columns(layout, batch)?;
        }
        let mut dates = by_date(layout, &batches)?;
        let keys = SortKeys::of(&batches, &layout.sort_by).map_err(|error| Error::arrow(&layout.table, error))?;
        dates.values_mut().for_each(|rows| keys.sort(rows));
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for field in layout.schema.fields().iter().filter(|field| field.name() != DATE) {
            let arrays: Vec<ArrayRef> =
                batches.iter().map(|batch| column(batch, field.name(), field.data_type())).collect();
            let first = arrays.first().map_or_else(|| field.data_type(), |it| it.data_type());
            let kept = arrays.iter().all(|it| it.data_type() == first) && is_encoding_of(first, field.data_type());
            let target = if kept { first.clone() } else { field.data_type().clone() };
            let arrays = arrays.iter().map(|array| convert(&layout.table, array, &target)).collect::<Result<_, _>>()?;
            check_required(layout, field, &arrays)?;
            columns.push(Arc::new(Parts::new(arrays)));
            fields.push(field.as_ref().clone().with_data_type(target));
        }
        Ok((Self { layout: Arc::clone(layout), schema: Arc::new(Schema::new(fields)), columns }, dates))
    }
}

/// The rows of each date.
pub(crate) type ByDate = BTreeMap<Option<NaiveDate>, Vec<RowIndex>>;

fn by_date(layout: &Layout, batches: &[RecordBatch]) -> Result<ByDate, Error> {
    let mut dates: BTreeMap<Option<i32>, Vec<RowIndex>> = BTreeMap::new();
    for (index, batch) in batches.iter().enumerate() {
        let Some(column) = batch.column_by_name(DATE) else {
            dates.entry(None).or_default().extend((0..batch.num_rows()).map(|row| (index, row)));
            continue;
        };
        let column = column.as_primitive::<Date32Type>();
        if column.null_count() > 0 {
            return Err(Error::Rows { table: layout.table.clone(), reason: "a row has no date".to_owned() });
        }
        // Rows of a date come in long runs.
        let mut row = 0;
        for run in column.values().chunk_by(|left, right| left == right) {
            dates.entry(Some(run[0])).or_default().extend((row..row + run.len()).map(|row| (index, row)));
            row += run.len();
        }
    }
    let to_date = |days: i32| {
        let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()));
        date.ok_or_else(|| Error::Rows {
            table: layout.table.clone(),
            reason: format!("{days} days from 1970 is not a date"),
        })
    };
    dates.into_iter().map(|(days, rows)| Ok((days.map(to_date).transpose()?, rows))).collect()
}

fn check_required(layout: &Layout, field: &Field, arrays: &Vec<ArrayRef>) -> Result<(), Error> {
    if !field.is_nullable() && arrays.iter().any(|array| array.logical_null_count() > 0) {
        let reason = format!("a row has no {}", field.name());
        return Err(Error::Rows { table: layout.table.clone(), reason });
    }
    Ok(())
}

/// A Parquet file that is not in the storage yet.
pub(crate) struct Encoded {
    pub(crate) bytes: PutPayload,
    pub(crate) row_count: u64,
    pub(crate) statistics: String,
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
    let (unwritten, dates) = blocking(&table, move || Unwritten::new(&layout, rows)).await?;
    let mut unwritten = Some(unwritten);
    let mut written = Vec::new();
    let mut encoded = None;
    // The largest last, since that of the last frees its columns as they are encoded, for what is decoded meanwhile.
    let mut dates: Vec<_> = dates.into_iter().collect();
    dates.sort_by_key(|(_, rows)| rows.len());
    let mut dates = dates.into_iter();
    loop {
        // One file is stored while the next is encoded.
        let next = dates.next();
        let is_last = next.is_none();
        let of_date = if dates.len() > 0 { unwritten.clone() } else { unwritten.take() };
        let encoding = async {
            match next.zip(of_date) {
                Some(((date, rows), unwritten)) => Ok(Some((date, encode(unwritten, rows).await?))),
                None => Ok(None),
            }
        };
        let storing = async {
            match encoded.take() {
                Some((date, encoded)) => put(store, directory, date, label, encoded, now).await.map(Some),
                None => Ok(None),
            }
        };
        let (ahead, stored) = futures::join!(encoding, storing);
        if let Some(file) = stored? {
            written.push(file);
            after_file()?;
        }
        if is_last {
            return Ok(written);
        }
        encoded = ahead?;
    }
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
    let bytes = encoded.bytes.content_length();
    let failed = |error| Error::write(place.to_string(), error);
    if bytes <= SINGLE_PUT_BYTES_MAX {
        store.put(&place, encoded.bytes).await.map_err(failed)?;
    } else {
        let mut upload = WriteMultipart::new(store.put_multipart(&place).await.map_err(failed)?);
        encoded.bytes.into_iter().for_each(|block| upload.put(block));
        upload.finish().await.map_err(failed)?;
    }
    Ok(Written { add: add(path, date, bytes as u64, encoded.statistics, now)?, row_count: encoded.row_count })
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
