//! Reads the rows of a data file back, with the columns of its table.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use chrono::NaiveDate;
use deltalake::kernel::Add;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::Error;
use crate::data_file::{convert, date_of, object_path, record_batch};
use crate::layout::{DATE, Layout};

/// How many rows are decoded at a time.
const READ_ROWS: usize = 32 << 10;

/// The rows of a file of a table whose directory has its name, or of some columns only. A column
/// that the file lacks is NULL; the partition column comes from the action.
pub(crate) fn read_file(
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
    add: &Add,
    columns: Option<&[&str]>,
) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
    read_rows(store, layout, add, columns, READ_ROWS)
}

/// As [`read_file`], with so many rows at a time at most.
pub(crate) fn read_rows(
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
    add: &Add,
    columns: Option<&[&str]>,
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
    let path = object_path(&layout.table, &add.path);
    let date = date_of(&add.partition_values);
    let wanted = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
    let fields: Vec<_> = layout.schema.fields().iter().filter(|it| wanted(it.name())).map(Arc::clone).collect();
    let schema = Arc::new(Schema::new(fields));
    let size = u64::try_from(add.size).map_err(|_| Error::damaged(&path, "its size is negative"))?;
    let reader = StoredFile { store: Arc::clone(store), path: path.clone(), size };
    let table = layout.table.clone();
    let stream = async move {
        let failed = |source| Error::Parquet { path: path.to_string(), source };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let names = schema.fields().iter().map(|it| it.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let rows = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(failed)?;
        let place = path.to_string();
        Ok(rows.map(move |rows| {
            let rows = rows.map_err(|source| Error::Parquet { path: place.clone(), source })?;
            conform(&table, &schema, &rows, date)
        }))
    };
    Ok(futures::stream::once(stream).try_flatten().boxed())
}

/// Gives rows exactly the columns of `schema`.
fn conform(table: &str, schema: &SchemaRef, rows: &RecordBatch, date: Option<NaiveDate>) -> Result<RecordBatch, Error> {
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, Error> {
        match (rows.column_by_name(field.name()), date) {
            (Some(column), _) => convert(table, column, field.data_type()),
            (None, Some(date)) if field.name() == DATE => {
                let days = date.signed_duration_since(NaiveDate::default()).num_days();
                let days = i32::try_from(days).map_err(|_| Error::damaged(table, "a date is out of range"))?;
                Ok(Arc::new(Date32Array::from(vec![days; rows.num_rows()])))
            }
            (None, _) => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    });
    record_batch(table, Arc::clone(schema), columns.collect::<Result<_, _>>()?, rows.num_rows())
}

/// A Parquet file in an object store, of known size.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(error.into())
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
