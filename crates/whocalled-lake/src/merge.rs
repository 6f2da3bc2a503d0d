//! Merges sorted files of one date into one, holding a part of each at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use chrono::{DateTime, NaiveDate, Utc};
use deltalake::kernel::Add;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;

use crate::data_file::{SINGLE_PUT_BYTES_MAX, Written, add, date_of, new_path, object_path, record_batch};
use crate::encode::properties;
use crate::gather::RowIndex;
use crate::layout::Layout;
use crate::read::read_rows;
use crate::{Error, statistics};

/// How many rows are written at a time.
const CHUNK_ROWS: usize = 16 << 10;
/// How many rows, and about how many bytes in memory, are held of all files together.
const HELD_ROWS: u64 = 64 << 10;
const HELD_BYTES: u64 = 64 << 20;
/// How much larger rows are in memory than in a file, on average.
const EXPANSION: u64 = 10;
/// How many parts of an upload are under way at the same time.
const PARTS_AT_A_TIME: usize = 2;

/// Writes the rows of `files`, which are of one date and sorted, as one sorted file that nothing
/// names yet. `None` if a file is not sorted, as one that another program wrote may be.
pub(crate) async fn merge(
    store: &Arc<dyn ObjectStore>,
    layout: &Arc<Layout>,
    files: &[Add],
    label: &str,
    now: DateTime<Utc>,
) -> Result<Option<Written>, Error> {
    let Some(date) = files.first().map(|it| date_of(&it.partition_values)) else { return Ok(None) };
    let batch_rows = rows_at_a_time(files);
    let mut merge = Merge::new(layout)?;
    for file in files {
        merge.begin(read_rows(store, layout, file, None, batch_rows)?).await?;
    }
    let row_count_max = files.iter().map(|it| statistics::row_count(it.stats.as_deref()).unwrap_or(u64::MAX));
    let row_count_max = row_count_max.fold(0, u64::saturating_add);
    let mut output = Output::new(store, layout, date, label, row_count_max)?;
    while let Some(row) = merge.next().await? {
        let Some(row) = row else {
            output.abandon().await;
            return Ok(None);
        };
        merge.taken.push(row);
        if merge.taken.len() == CHUNK_ROWS {
            output.write(merge.gather(&output.schema)?).await?;
        }
    }
    if !merge.taken.is_empty() {
        output.write(merge.gather(&output.schema)?).await?;
    }
    output.finish(layout, now).await.map(Some)
}

/// How many rows are read of each file at a time, so that all of them together stay within bounds.
fn rows_at_a_time(files: &[Add]) -> usize {
    let count = files.len().max(1) as u64;
    let bytes: u64 = files.iter().filter_map(|it| u64::try_from(it.size).ok()).sum();
    let rows: u64 = files.iter().filter_map(|it| statistics::row_count(it.stats.as_deref())).sum();
    let row_bytes = (bytes / rows.max(1)).max(1) * EXPANSION;
    let rows = (HELD_ROWS / count).min(HELD_BYTES / count / row_bytes);
    usize::try_from(rows.clamp(16, 8 << 10)).unwrap_or(16)
}

/// A file, read up to some row.
struct Run {
    rows: BoxStream<'static, Result<RecordBatch, Error>>,
    /// Which of the batches held is its own.
    batch: usize,
    keys: Rows,
    row: usize,
}

struct Merge {
    table: String,
    converter: RowConverter,
    /// The names of the columns that rows are sorted by.
    sort_by: Vec<String>,
    runs: Vec<Run>,
    held: Vec<RecordBatch>,
    /// The next row of each run that has one. Of equal rows, that of the earlier file is first.
    heads: BinaryHeap<Reverse<(OwnedRow, usize)>>,
    /// The run that is being followed because its next row is before all heads.
    current: Option<usize>,
    /// The rows since the last that were gathered, in order.
    taken: Vec<RowIndex>,
}

impl Merge {
    fn new(layout: &Layout) -> Result<Self, Error> {
        let failed = |error| Error::arrow(&layout.table, error);
        let fields = layout.sort_by.iter().map(|name| {
            let field = layout.schema.field_with_name(name)?;
            Ok(SortField::new(field.data_type().clone()))
        });
        let mut fields = fields.collect::<Result<Vec<_>, arrow::error::ArrowError>>().map_err(failed)?;
        if fields.is_empty() {
            // One value that all rows share, so that files follow each other.
            fields.push(SortField::new(DataType::Boolean));
        }
        Ok(Self {
            table: layout.table.clone(),
            converter: RowConverter::new(fields).map_err(failed)?,
            sort_by: layout.sort_by.clone(),
            runs: Vec::new(),
            held: Vec::new(),
            heads: BinaryHeap::new(),
            current: None,
            taken: Vec::new(),
        })
    }

    async fn begin(&mut self, mut rows: BoxStream<'static, Result<RecordBatch, Error>>) -> Result<(), Error> {
        let Some(batch) = next_rows(&mut rows).await? else { return Ok(()) };
        let keys = self.keys(&batch)?;
        if let Some(first) = keys.iter().next() {
            self.heads.push(Reverse((first.owned(), self.runs.len())));
        }
        self.runs.push(Run { rows, batch: self.held.len(), keys, row: 0 });
        self.held.push(batch);
        Ok(())
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Rows, Error> {
        let failed = |error| Error::arrow(&self.table, error);
        if self.sort_by.is_empty() {
            let same = new_null_array(&DataType::Boolean, batch.num_rows());
            return self.converter.convert_columns(&[same]).map_err(failed);
        }
        let columns = self.sort_by.iter().map(|name| {
            let column = batch.column_by_name(name).map(Arc::clone);
            column.ok_or_else(|| Error::damaged(&self.table, format!("it has no column {name}")))
        });
        self.converter.convert_columns(&columns.collect::<Result<Vec<ArrayRef>, _>>()?).map_err(failed)
    }

    /// The next row in order; an empty answer if its file is not sorted.
    async fn next(&mut self) -> Result<Option<Option<RowIndex>>, Error> {
        let index = match self.current {
            Some(index) => index,
            None => match self.heads.pop() {
                Some(Reverse((_, index))) => index,
                None => return Ok(None),
            },
        };
        let taken = (self.runs[index].batch, self.runs[index].row);
        let Some(is_sorted) = self.step(index).await? else {
            self.current = None;
            return Ok(Some(Some(taken)));
        };
        let run = &self.runs[index];
        let key = run.keys.row(run.row);
        let goes_on = self.heads.peek().is_none_or(|Reverse((head, other))| (key, index) < (head.row(), *other));
        self.current = goes_on.then_some(index);
        if !goes_on {
            self.heads.push(Reverse((key.owned(), index)));
        }
        Ok(Some(is_sorted.then_some(taken)))
    }

    /// Goes to the next row of a run; whether it is in order, or `None` at the run's end.
    async fn step(&mut self, index: usize) -> Result<Option<bool>, Error> {
        let run = &mut self.runs[index];
        if run.row + 1 < run.keys.num_rows() {
            run.row += 1;
            return Ok(Some(run.keys.row(run.row - 1) <= run.keys.row(run.row)));
        }
        let Some(batch) = next_rows(&mut run.rows).await? else { return Ok(None) };
        let keys = self.keys(&batch)?;
        let run = &mut self.runs[index];
        let is_sorted = run.keys.row(run.row) <= keys.row(0);
        (run.batch, run.keys, run.row) = (self.held.len(), keys, 0);
        self.held.push(batch);
        Ok(Some(is_sorted))
    }

    /// The rows taken, and lets go of the batches that no run needs any more.
    fn gather(&mut self, schema: &SchemaRef) -> Result<RecordBatch, Error> {
        let columns = schema.fields().iter().map(|field| {
            let arrays: Vec<&dyn Array> =
                self.held.iter().filter_map(|it| it.column_by_name(field.name())).map(AsRef::as_ref).collect();
            interleave(&arrays, &self.taken).map_err(|error| Error::arrow(&self.table, error))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let rows = record_batch(&self.table, Arc::clone(schema), columns, self.taken.len())?;
        self.taken.clear();
        let mut held = Vec::with_capacity(self.runs.len());
        for run in &mut self.runs {
            held.push(self.held[run.batch].clone());
            run.batch = held.len() - 1;
        }
        self.held = held;
        Ok(rows)
    }
}

/// The next rows of a file that are any.
async fn next_rows(rows: &mut BoxStream<'static, Result<RecordBatch, Error>>) -> Result<Option<RecordBatch>, Error> {
    while let Some(batch) = rows.try_next().await? {
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

/// The new file. What is encoded is sent on in parts, so that a large file is never held whole.
struct Output<'a> {
    store: &'a Arc<dyn ObjectStore>,
    table: String,
    path: String,
    place: Path,
    date: Option<NaiveDate>,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    upload: Option<WriteMultipart>,
    bytes: u64,
    row_count: u64,
}

impl<'a> Output<'a> {
    fn new(
        store: &'a Arc<dyn ObjectStore>,
        layout: &Layout,
        date: Option<NaiveDate>,
        label: &str,
        row_count_max: u64,
    ) -> Result<Self, Error> {
        let path = new_path(date, label);
        let place = object_path(&layout.table, &path);
        let schema = layout.file_schema();
        let row_count_max = usize::try_from(row_count_max).unwrap_or(usize::MAX);
        let options =
            ArrowWriterOptions::new().with_properties(properties(layout, row_count_max)).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options);
        let writer = writer.map_err(|source| Error::Parquet { path: place.to_string(), source })?;
        let (table, upload) = (layout.table.clone(), None);
        Ok(Self { store, table, path, place, date, schema, writer, upload, bytes: 0, row_count: 0 })
    }

    fn parquet(&self, source: ParquetError) -> Error {
        Error::Parquet { path: self.place.to_string(), source }
    }

    fn failed(&self, error: object_store::Error) -> Error {
        Error::write(self.place.to_string(), error)
    }

    async fn write(&mut self, rows: RecordBatch) -> Result<(), Error> {
        self.row_count += rows.num_rows() as u64;
        let place = &self.place;
        let parquet = |source| Error::Parquet { path: place.to_string(), source };
        tokio::task::block_in_place(|| self.writer.write(&rows)).map_err(parquet)?;
        if self.writer.inner().len() > SINGLE_PUT_BYTES_MAX {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends what is encoded as a part of the file.
    async fn send(&mut self) -> Result<(), Error> {
        let encoded = std::mem::take(self.writer.inner_mut());
        self.bytes += encoded.len() as u64;
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let begun = self.store.put_multipart(&self.place).await;
                WriteMultipart::new(begun.map_err(|error| self.failed(error))?)
            }
        };
        upload.put(encoded.into());
        upload.wait_for_capacity(PARTS_AT_A_TIME).await.map_err(|error| self.failed(error))?;
        self.upload = Some(upload);
        Ok(())
    }

    async fn abandon(self) {
        // A part that stays behind is an orphan, as after a crash.
        if let Some(upload) = self.upload {
            drop(upload.abort().await);
        }
    }

    async fn finish(mut self, layout: &Layout, now: DateTime<Utc>) -> Result<Written, Error> {
        let metadata = self.writer.finish().map_err(|error| self.parquet(error))?;
        let in_footer = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        if in_footer != self.row_count {
            return Err(Error::damaged(
                &self.table,
                format!("a new Parquet file says it has {in_footer} rows where {} were written", self.row_count),
            ));
        }
        if self.upload.is_some() {
            self.send().await?;
        }
        match self.upload.take() {
            Some(upload) => drop(upload.finish().await.map_err(|error| self.failed(error))?),
            None => {
                let encoded = std::mem::take(self.writer.inner_mut());
                self.bytes = encoded.len() as u64;
                let put = self.store.put(&self.place, encoded.into()).await;
                drop(put.map_err(|error| self.failed(error))?);
            }
        }
        let statistics = statistics::of_file(layout, &metadata)?;
        Ok(Written { add: add(self.path, self.date, self.bytes, statistics, now)?, row_count: self.row_count })
    }
}
