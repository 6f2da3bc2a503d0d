//! Encoding of rows as Parquet, on every core.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, iter};

use arrow::array::{Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use futures::future;
use object_store::PutPayloadMut;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};

use crate::Error;
use crate::data_file::{Encoded, Unwritten, blocking};
use crate::gather::{Parts, RowIndex};
use crate::label_column::{self, LabelChunk};
use crate::layout::Layout;
use crate::statistics;

/// How many rows a row group has at most: enough to compress well, few enough to skip well.
pub(crate) const ROW_GROUP_ROWS: usize = 256 << 10;
/// In blocks of how many bytes an encoded file is held, so that none moves while the file grows.
const FILE_BLOCK_BYTES: usize = 1 << 20;
/// How many rows of a column are gathered and encoded at a time.
const CHUNK_ROWS: usize = 16 << 10;
/// With how many bytes a page is full before it is compressed: little enough to be in a core's second-level cache still,
/// and for who looks for one value to read little else.
const PAGE_BYTES: usize = 256 << 10;
/// How many bytes the distinct values of a column may have together for it to be written as labels.
const LABEL_BYTES_MAX: usize = 1 << 20;
/// Columns whose values are long, or in which nobody looks for a value by its order.
const WITHOUT_STATISTICS: [&str; 4] = ["properties", "extra", "record", "file"];
/// Columns of which nearly every value is different, so that a dictionary only costs, and how they are written instead:
/// ids have one length, and of extras it is zstd that finds what they have in common.
const WITHOUT_DICTIONARY: [(&str, Encoding); 2] =
    [("correlation_id", Encoding::DELTA_LENGTH_BYTE_ARRAY), ("extra", Encoding::PLAIN)];

/// Encodes rows, in the given order, as a Parquet file. The columns of a row group are encoded side by
/// side, as many at a time as the runtime has threads; those of the last are freed one by one.
pub(crate) async fn encode(unwritten: Unwritten, order: Vec<RowIndex>) -> Result<Encoded, Error> {
    let Unwritten { layout, schema, mut columns } = unwritten;
    let failed = |source| Error::Parquet { path: format!("new file of {}", layout.table), source };
    let thread_count = tokio::runtime::Handle::current().metrics().num_workers().max(1);
    let descriptors = ArrowSchemaConverter::new().convert(&schema).map_err(failed)?;
    let properties = Arc::new(properties(&layout, order.len()));
    let mut file = File(PutPayloadMut::new().with_block_size(FILE_BLOCK_BYTES));
    let mut writer = SerializedFileWriter::new(&mut file, descriptors.root_schema_ptr(), properties).map_err(failed)?;
    let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
    let order = Arc::new(order);
    for start in (0..order.len()).step_by(ROW_GROUP_ROWS) {
        let group = start..order.len().min(start + ROW_GROUP_ROWS);
        let of_group = if group.end < order.len() { columns.clone() } else { std::mem::take(&mut columns) };
        let writers = factory.create_column_writers(start / ROW_GROUP_ROWS).map_err(failed)?;
        let mut unencoded: Vec<(usize, Column)> = of_group
            .into_iter()
            .zip(writers)
            .enumerate()
            .map(|(index, (parts, writer))| {
                let (layout, field) = (Arc::clone(&layout), Arc::clone(&schema.fields()[index]));
                (index, Column { layout, field, descriptor: descriptors.column(index), parts, writer })
            })
            .collect();
        // The longest first: some take ten times as long as others, and no core should be left with such a one
        // when nothing else is to be done.
        unencoded.sort_by_cached_key(|(_, column)| Reverse(column.parts.byte_count()));
        let unencoded = Arc::new(Mutex::new(unencoded.into_iter()));
        // Each thread takes column after column: to have one woken for each would leave cores idle in between.
        let encoders = (0..thread_count).map(|_| {
            let (unencoded, order, group) = (Arc::clone(&unencoded), Arc::clone(&order), group.clone());
            blocking(&layout.table, move || {
                let next = || unencoded.lock().unwrap_or_else(PoisonError::into_inner).next();
                let encoded =
                    iter::from_fn(next).map(|(index, column)| Ok((index, column.encode(&order[group.clone()])?)));
                encoded.collect::<Result<Vec<_>, _>>()
            })
        });
        let mut chunks = future::try_join_all(encoders).await?.into_iter().flatten().collect::<Vec<_>>();
        chunks.sort_by_key(|(index, _)| *index);
        let mut rows = writer.next_row_group().map_err(failed)?;
        for (_, chunk) in chunks {
            chunk.append_to(&mut rows).map_err(failed)?;
        }
        rows.close().map_err(failed)?;
    }
    let metadata = writer.close().map_err(failed)?;
    let row_count = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    if row_count != order.len() as u64 {
        return Err(Error::damaged(
            &layout.table,
            format!("a new Parquet file says it has {row_count} rows where {} were written", order.len()),
        ));
    }
    let statistics = statistics::of_file(&layout, &metadata)?;
    Ok(Encoded { bytes: file.0.freeze(), row_count, statistics })
}

/// The bytes of a file that is being written.
struct File(PutPayloadMut);

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An encoded column of a row group.
enum Chunk {
    Arrow(ArrowColumnChunk),
    Label(LabelChunk),
}

impl Chunk {
    fn append_to(self, rows: &mut SerializedRowGroupWriter<'_, &mut File>) -> ParquetResult<()> {
        match self {
            Self::Arrow(chunk) => chunk.append_to_row_group(rows),
            Self::Label(chunk) => rows.append_column(&chunk.bytes, chunk.close),
        }
    }
}

/// A column of a row group, to be encoded.
struct Column {
    layout: Arc<Layout>,
    field: FieldRef,
    descriptor: ColumnDescPtr,
    parts: Arc<Parts>,
    writer: ArrowColumnWriter,
}

impl Column {
    /// Encodes those rows of it.
    fn encode(self, rows: &[RowIndex]) -> Result<Chunk, Error> {
        let Self { layout, field, descriptor, parts, mut writer } = self;
        let failed = |source| Error::Parquet { path: format!("new file of {}", layout.table), source };
        if let Parts::Labels { values, codes, .. } = &*parts
            && is_label(&field, values)
        {
            let codes: Vec<i32> = rows.iter().map(|(batch, row)| codes[*batch].of(*row)).collect();
            let has_bloom = layout.bloom.contains(field.name());
            return label_column::encode(&descriptor, values, &codes, has_bloom).map(Chunk::Label).map_err(failed);
        }
        for chunk in rows.chunks(CHUNK_ROWS) {
            let array = parts.gather(chunk).map_err(|error| Error::arrow(&layout.table, error))?;
            for leaf in compute_leaves(&field, &array).map_err(failed)? {
                writer.write(&leaf).map_err(failed)?;
            }
        }
        writer.close().map(Chunk::Arrow).map_err(failed)
    }
}

/// Whether a column is written from its codes: those with long values, or with very many, are left to the `parquet`
/// crate, which knows what to do about them.
fn is_label(field: &Field, values: &StringArray) -> bool {
    !WITHOUT_STATISTICS.contains(&field.name().as_str())
        && values.value_data().len() + 4 * values.len() <= LABEL_BYTES_MAX
        && values.iter().flatten().all(|text| text.len() <= statistics::TEXT_BYTES_MAX)
}

pub(crate) fn properties(layout: &Layout, row_count: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("whocalled version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(statistics::TEXT_BYTES_MAX));
    for field in layout.file_schema().fields() {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Int64) {
            // What the encoding leaves, zstd makes no smaller.
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_compression(path.clone(), Compression::UNCOMPRESSED);
        }
        if let Some((_, encoding)) = WITHOUT_DICTIONARY.iter().find(|(name, _)| name == field.name()) {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), *encoding);
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
