//! Small files, read whole and kept.
//!
//! Views read the same tables several times, and a lake has a file a day for each of them: what takes the
//! time is the requests, not the bytes. A file that is no larger than what is read of a file's end for its
//! metadata is asked for once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
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
use parquet::file::metadata::ParquetMetaData;
use tokio::sync::OnceCell;

/// How many bytes of files a session keeps at most.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The bytes of a file, once they were asked for.
type Kept = Arc<OnceCell<Bytes>>;

/// The small files of a lake that were read, within the session's memory limit.
#[derive(Debug)]
pub(crate) struct SmallFiles {
    files: Mutex<HashMap<Path, Kept>>,
    memory: MemoryReservation,
}

impl SmallFiles {
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self { files: Mutex::default(), memory: MemoryConsumer::new("small files").register(pool) }
    }

    /// Where a file's bytes are kept; nowhere, if it is larger than that or there is no room left.
    fn place(&self, file: &ObjectMeta, bytes_max: usize) -> Option<Kept> {
        let bytes = usize::try_from(file.size).ok().filter(|bytes| *bytes <= bytes_max)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = files.get(&file.location) {
            return Some(Arc::clone(kept));
        }
        if self.memory.size() + bytes > KEPT_BYTES_MAX {
            return None;
        }
        self.memory.try_grow(bytes).ok()?;
        Some(Arc::clone(files.entry(file.location.clone()).or_default()))
    }
}

/// Reads small files from memory, and others as `others` does.
#[derive(Debug)]
pub(crate) struct Readers<F> {
    pub(crate) others: F,
    pub(crate) small: Arc<SmallFiles>,
}

impl<F: ParquetFileReaderFactory> ParquetFileReaderFactory for Readers<F> {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let size = file.object_meta.size;
        let kept = self.small.place(&file.object_meta, metadata_size_hint.unwrap_or(0));
        let reader = self.others.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(match kept {
            Some(kept) => Box::new(SmallFileReader { reader, size, kept }),
            None => reader,
        })
    }
}

struct SmallFileReader {
    reader: Box<dyn AsyncFileReader + Send>,
    size: u64,
    kept: Kept,
}

impl SmallFileReader {
    async fn slices(&mut self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        let whole = self.kept.get_or_try_init(|| self.reader.get_bytes(0..self.size)).await?;
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

    /// Kept by DataFusion.
    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        self.reader.get_metadata(options)
    }
}
