//! Small files, read whole and kept.
//!
//! Views read the same tables several times, and a lake has a file a day for each of them: what takes the
//! time is the requests, not the bytes. Such a file is asked for once, and its metadata are decoded once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::sync::OnceCell;

/// How large a file is small.
const SMALL_BYTES_MAX: usize = 512 << 10;

/// How many bytes of files a session keeps at most, and which part of the memory that it may use.
const KEPT_BYTES_MAX: usize = 64 << 20;
const KEPT_PART_MAX: usize = 8;

/// A file, as far as it was asked for.
#[derive(Debug, Default)]
struct SmallFile {
    bytes: OnceCell<Bytes>,
    metadata: OnceCell<Arc<ParquetMetaData>>,
}

/// The small files of a lake that were read, within the session's memory limit.
#[derive(Debug)]
pub(crate) struct SmallFiles {
    files: Mutex<HashMap<Path, Arc<SmallFile>>>,
    bytes_max: usize,
    memory: MemoryReservation,
}

impl SmallFiles {
    /// `memory_bytes_max` is what the pool has.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>, memory_bytes_max: usize) -> Self {
        Self {
            files: Mutex::default(),
            bytes_max: KEPT_BYTES_MAX.min(memory_bytes_max / KEPT_PART_MAX),
            memory: MemoryConsumer::new("small files").register(pool),
        }
    }

    /// Where a file is kept; nowhere, if it is not small or there is no room left.
    fn place(&self, file: &ObjectMeta) -> Option<Arc<SmallFile>> {
        let bytes = usize::try_from(file.size).ok().filter(|bytes| *bytes <= SMALL_BYTES_MAX)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = files.get(&file.location) {
            return Some(Arc::clone(kept));
        }
        if self.memory.size() + bytes > self.bytes_max {
            return None;
        }
        self.memory.try_grow(bytes).ok()?;
        Some(Arc::clone(files.entry(file.location.clone()).or_default()))
    }
}

/// Reads small files from memory, and others as `others` does.
#[derive(Debug)]
pub(crate) struct Readers {
    pub(crate) others: CachedParquetFileReaderFactory,
    pub(crate) small: Arc<SmallFiles>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let size = file.object_meta.size;
        let small = self.small.place(&file.object_meta);
        let reader = self.others.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(match small {
            Some(file) => Box::new(SmallFileReader { reader, size, file }),
            None => reader,
        })
    }
}

struct SmallFileReader {
    reader: Box<dyn AsyncFileReader + Send>,
    size: u64,
    file: Arc<SmallFile>,
}

impl SmallFileReader {
    async fn whole(&mut self) -> ParquetResult<Bytes> {
        self.file.bytes.get_or_try_init(|| self.reader.get_bytes(0..self.size)).await.cloned()
    }

    async fn slices(&mut self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        let whole = self.whole().await?;
        let slice = |range: &Range<u64>| {
            let bounds = (usize::try_from(range.start), usize::try_from(range.end));
            let (Ok(start), Ok(end)) = bounds else { return None };
            (start <= end && end <= whole.len()).then(|| whole.slice(start..end))
        };
        ranges.iter().map(|range| slice(range).ok_or_else(|| beyond(range, whole.len()))).collect()
    }
}

fn beyond(range: &Range<u64>, size: usize) -> ParquetError {
    ParquetError::EOF(format!("bytes {} to {} of a file of {size} bytes", range.start, range.end))
}

impl AsyncFileReader for SmallFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let slices = self.slices(std::slice::from_ref(&range)).await?;
            slices.into_iter().next().ok_or_else(|| beyond(&range, 0))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.slices(&ranges).await }.boxed()
    }

    /// With the indexes of pages, whatever the options say: who wants them would decode them each time.
    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let whole = self.whole().await?;
            let decode = || async {
                let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
                Ok(Arc::new(reader.parse_and_finish(&whole)?))
            };
            self.file.metadata.get_or_try_init(decode).await.map(Arc::clone)
        }
        .boxed()
    }
}
