//! Read: the first bytes of blobs, a few blobs ahead of the decoders.
//!
//! Blobs for the next batch are on their way while those of this one are decoded, so that between batches neither the
//! network nor the decoders wait.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use whocalled_fetch::Archive;
use whocalled_types::{BlobName, Limits, TAIL_BYTES_MAX};

use crate::plan::Read;

/// Bytes in flight are counted in units of this, since a semaphore counts no further than 2^61.
const PERMIT_BYTES: u64 = 1024;
/// How many bytes of files are read ahead for each core. They are there at once, and what is read of them had better
/// still be in the processor's cache when it is decoded.
const FILE_BYTES_PER_THREAD: u64 = 4 << 20;
/// How many bytes of an account's blobs are in flight for each core, which converts them in about a thirtieth of a
/// second: what is asked for much earlier only waits, and takes memory.
const BLOB_BYTES_PER_THREAD: u64 = 8 << 20;
/// How many bytes of files are read at a time: a piece of a large one, or several small ones, since to hand over a file
/// of an hour with few calls between threads takes as long as to decode it.
const FILE_BYTES_AT_A_TIME: u64 = 1 << 20;

/// How many pieces of a large file wait to be decoded.
const FILE_PIECES_WAITING_MAX: usize = 4;

/// The first bytes of each of some blobs, in pieces, or what kept it from being read; or what kept all from it.
type Firsts = Result<Vec<Result<Vec<Bytes>, whocalled_fetch::Error>>, whocalled_fetch::Error>;

/// Blobs that were read together, and their first bytes.
pub(crate) struct Bundle {
    pub(crate) reads: Vec<Read>,
    pub(crate) firsts: Firsts,
    /// Counts the bytes as in flight until they are decoded.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Bundle {
    /// How many new bytes it is about.
    pub(crate) fn part_bytes(&self) -> u64 {
        self.reads.iter().map(Read::part_bytes).sum()
    }
}

/// Reads ahead.
pub(crate) struct Reader<'a> {
    archive: &'a Archive,
    segments: Segments<'a>,
    limits: &'a Limits,
    thread_count: usize,
    bytes_in_flight: Arc<Semaphore>,
    permit_count: u32,
    /// What is on its way.
    arriving: FuturesUnordered<BoxFuture<'a, Bundle>>,
    /// What is there, and not taken yet.
    arrived: VecDeque<Bundle>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(archive: &'a Archive, limits: &'a Limits, thread_count: usize) -> Self {
        let permit_count = u32::try_from(limits.bytes_in_flight_max as u64 / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            archive,
            segments: Segments::new(archive, limits),
            limits,
            thread_count,
            bytes_in_flight: Arc::new(Semaphore::new(permit_count as usize)),
            permit_count,
            arriving: FuturesUnordered::new(),
            arrived: VecDeque::new(),
        }
    }

    /// The archive that is read.
    pub(crate) fn archive(&self) -> &'a Archive {
        self.archive
    }

    /// Begins as many of those reads as may be in flight beside `taken` bundles that are not decoded yet.
    pub(crate) fn begin(&mut self, reads: &mut VecDeque<Read>, taken: usize) {
        while !reads.is_empty() && taken + self.arriving.len() + self.arrived.len() < self.bundles_max(reads) {
            let together = self.together(reads);
            self.arriving.push(self.fetch(together));
        }
    }

    /// How many bundles are in flight at a time, if they are as long as the next one.
    fn bundles_max(&self, reads: &VecDeque<Read>) -> usize {
        let held_bytes = reads.front().map_or(0, Read::held_bytes).max(1);
        let (bytes_per_thread, bundle_bytes) = if self.archive.is_directory() {
            (FILE_BYTES_PER_THREAD, held_bytes.max(FILE_BYTES_AT_A_TIME))
        } else {
            (BLOB_BYTES_PER_THREAD, held_bytes)
        };
        let bundles = usize::try_from(self.thread_count as u64 * bytes_per_thread / bundle_bytes).unwrap_or(usize::MAX);
        bundles.max(2 * self.thread_count).min(self.limits.concurrent_reads_max)
    }

    /// What is read together: an account's blobs each alone, since each is a request, and files up to
    /// [`FILE_BYTES_AT_A_TIME`]. A blob that has more new bytes than a batch is read in parts, over several batches.
    fn together(&self, reads: &mut VecDeque<Read>) -> Vec<Read> {
        let bytes_max = if self.archive.is_directory() { FILE_BYTES_AT_A_TIME } else { 0 };
        let part_bytes_max = self.limits.batch_bytes_max;
        let mut together: Vec<Read> = Vec::new();
        let mut bytes = 0;
        while let Some(read) = reads.front_mut() {
            read.upto = read.blob.bytes.min(read.from.saturating_add(part_bytes_max.saturating_mul(read.part_factor)));
            bytes += read.held_bytes();
            if !together.is_empty() && bytes > bytes_max {
                break;
            }
            together.extend(reads.pop_front());
        }
        together
    }

    fn fetch(&self, reads: Vec<Read>) -> BoxFuture<'a, Bundle> {
        // Taken once and for the whole bundle, since a task that waits for more while it holds some
        // could wait for ever. One segment is being decoded, some wait, and one is on its way.
        let held: u64 = reads.iter().map(Read::held_bytes).sum();
        let held = held.min((self.segments.waiting_max() as u64 + 2) * self.segments.bytes_max);
        let permits = u32::try_from(held / PERMIT_BYTES).unwrap_or(u32::MAX).clamp(1, self.permit_count);
        let ranges = reads.iter().map(|read| self.segments.next(read, read.from - read.tail_bytes())).collect();
        let (archive, in_flight) = (self.archive, Arc::clone(&self.bytes_in_flight));
        async move {
            let permit = in_flight.acquire_many_owned(permits).await.ok();
            Bundle { reads, firsts: archive.read_all(ranges).await, permit }
        }
        .boxed()
    }

    /// Waits until a bundle has arrived; `false` if none is on its way.
    pub(crate) async fn arrive(&mut self) -> bool {
        let Some(bundle) = self.arriving.next().await else { return false };
        self.arrived.push_back(bundle);
        true
    }

    /// What has arrived first and was not taken yet.
    pub(crate) fn take(&mut self) -> Option<Bundle> {
        self.arrived.pop_front()
    }

    /// What reads the rest of blobs.
    pub(crate) fn segments(&self) -> Segments<'a> {
        self.segments
    }
}

/// Reads blobs a segment at a time.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'a> {
    archive: &'a Archive,
    bytes_max: u64,
}

impl<'a> Segments<'a> {
    fn new(archive: &'a Archive, limits: &Limits) -> Self {
        let bytes = limits.segment_bytes_max as u64;
        let bytes = if archive.is_directory() { bytes.min(FILE_BYTES_AT_A_TIME) } else { bytes };
        // The first one holds the whole tail, and something after it.
        Self { archive, bytes_max: bytes.max(2 * TAIL_BYTES_MAX) }
    }

    /// How many segments of a blob wait at most to be decoded. Those of files are small, and who decodes them would
    /// often sleep for want of the next, after which the system may leave a core idle for milliseconds.
    pub(crate) fn waiting_max(self) -> usize {
        if self.archive.is_directory() { FILE_PIECES_WAITING_MAX } else { 1 }
    }

    /// Where the next bytes of a blob are from `at` on, at most a segment of them.
    fn next(self, read: &Read, at: u64) -> (BlobName, Range<u64>) {
        (read.blob.name.clone(), at..read.upto.min(at + self.bytes_max))
    }

    /// Reads them, in pieces.
    pub(crate) async fn read(self, read: &Read, at: u64) -> Result<Vec<Bytes>, whocalled_fetch::Error> {
        let read = self.archive.read_all(vec![self.next(read, at)]).await?;
        // One range, one result.
        read.into_iter().next().unwrap_or_else(|| Ok(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::{DateTime, TimeDelta};
    use tempfile::TempDir;
    use whocalled_fetch::Auth;

    use super::*;
    use crate::plan::{Planner, Selection};

    const NOW: DateTime<chrono::Utc> = DateTime::UNIX_EPOCH;

    /// An archive of files of those lengths, and the reads of all of them.
    async fn planned(lengths: &[usize], limits: &Limits) -> (TempDir, Archive, VecDeque<Read>) {
        let root = TempDir::new().unwrap();
        let container = root.path().join("insights-logs-audit");
        fs::create_dir(&container).unwrap();
        for (index, length) in lengths.iter().enumerate() {
            fs::write(container.join(format!("{index:03}.json")), "x".repeat(*length)).unwrap();
        }
        let archive = Archive::open(root.path().to_str().unwrap(), Auth::default(), NOW).await.unwrap();
        let states = std::collections::BTreeMap::new();
        let (seal_after, plan) = (TimeDelta::zero(), crate::Plan::default());
        let planner = Planner { states: &states, seal_after, limits, now: NOW, hours: None, plan };
        let reads = planner.list(&archive, &Selection::default()).await.unwrap().reads;
        assert_eq!(reads.len(), lengths.len());
        (root, archive, reads)
    }

    #[tokio::test]
    async fn what_was_begun_arrives_once_and_nothing_else() {
        let limits = Limits::STANDARD;
        let (_root, archive, mut reads) = planned(&[1 << 20; 12], &limits).await;
        let all: Vec<String> = reads.iter().map(|read| read.blob.name.to_string()).collect();
        let mut reader = Reader::new(&archive, &limits, 1);
        reader.begin(&mut reads, 0);
        let begun_count = reader.arriving.len();
        while reader.arrive().await {}
        let mut arrived = Vec::new();
        while let Some(bundle) = reader.take() {
            assert_eq!(bundle.part_bytes(), 1 << 20);
            arrived.extend(bundle.reads.iter().map(|read| read.blob.name.to_string()));
        }
        arrived.sort();
        assert_eq!((arrived.len(), &arrived[..]), (begun_count, &all[..begun_count]));
        assert_eq!(reads.len(), 12 - begun_count);
    }

    #[tokio::test]
    async fn small_files_are_read_together_and_large_ones_few_at_a_time() {
        let limits = Limits::STANDARD;
        let (_root, archive, mut reads) = planned(&[300 << 10; 40], &limits).await;
        let mut reader = Reader::new(&archive, &limits, 2);
        reader.begin(&mut reads, 0);
        // Three of 300 KiB are no more than a mebibyte, and 4 MiB are read ahead for each of two cores.
        assert_eq!((reader.arriving.len(), reads.len()), (8, 16));
        reader.begin(&mut reads, 0);
        assert_eq!(reads.len(), 16, "as many as may be are in flight");
        while reader.arrive().await {}
        assert!(std::iter::from_fn(|| reader.take()).all(|bundle| bundle.reads.len() == 3));

        let (_root, archive, mut reads) = planned(&[5 << 20; 8], &limits).await;
        let mut reader = Reader::new(&archive, &limits, 2);
        reader.begin(&mut reads, 1);
        assert_eq!((reader.arriving.len(), reads.len()), (3, 5), "two for each core, of which one is taken");
    }

    #[tokio::test]
    async fn a_file_larger_than_a_batch_is_read_up_to_a_batch() {
        let limits = Limits { batch_bytes_max: 1000, ..Limits::STANDARD };
        let (_root, archive, mut reads) = planned(&[2500], &limits).await;
        reads[0].part_factor = 2;
        let mut reader = Reader::new(&archive, &limits, 1);
        reader.begin(&mut reads, 0);
        assert!(reader.arrive().await);
        let bundle = reader.take().unwrap();
        assert_eq!((bundle.reads[0].upto, bundle.part_bytes()), (2000, 2000));
        assert_eq!(bundle.firsts.unwrap().pop().unwrap().unwrap().concat().len(), 2000);
    }
}
