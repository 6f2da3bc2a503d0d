//! Prepare: bytes of blobs to rows, on every core, in bounded memory.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};
use whocalled_convert::{BlobPart, Converted};
use whocalled_fetch::Archive;
use whocalled_types::{Framing, Limits, TAIL_BYTES_MAX, Table};

use crate::Error;
use crate::decoders::{Decoders, Job};
use crate::error::ends_run;
use crate::plan::Read;

/// Bytes in flight are counted in units of this, since a semaphore counts no further than 2^61.
const PERMIT_BYTES: u64 = 1024;
/// How many bytes of files are read ahead for each core. They are there at once, and what is read of them had better
/// still be in the processor's cache when it is decoded.
const FILE_BYTES_PER_THREAD: usize = 4 << 20;

/// What became of a read.
pub(crate) struct Outcome {
    /// The read, with the generation that was found.
    pub(crate) read: Read,
    /// Why the blob is to be read anew, if it is.
    pub(crate) anew: Option<Anew>,
    /// Up to where, and with how many records; `None` where not even the first bytes came.
    pub(crate) converted: Option<Converted>,
    /// What went wrong, after which the rest of the blob was left.
    pub(crate) failure: Option<whocalled_fetch::Error>,
}

/// Why a blob is read anew, as another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anew {
    /// The committed bytes are not there any more.
    Rewritten,
    /// Its last record was taken without a line break when the blob was sealed, and goes on after all.
    TakenBack,
}

/// What became of a batch's reads.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Those that were begun, in the order of the blobs' names.
    pub(crate) outcomes: Vec<Outcome>,
    /// Those that were not.
    pub(crate) not_begun: Vec<Read>,
}

/// Reads blobs and decodes them on every core.
pub(crate) struct Preparer<'a> {
    archive: &'a Archive,
    limits: &'a Limits,
    decoders: Decoders,
    bytes_in_flight: Semaphore,
    permit_count: u32,
    thread_count: usize,
}

impl<'a> Preparer<'a> {
    pub(crate) fn new(archive: &'a Archive, limits: &'a Limits, thread_count: usize) -> Self {
        let permit_count = u32::try_from(limits.bytes_in_flight_max as u64 / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            archive,
            limits,
            decoders: Decoders::new(thread_count, limits),
            bytes_in_flight: Semaphore::new(permit_count as usize),
            permit_count,
            thread_count,
        }
    }

    /// How many of those are read at a time.
    fn concurrent_reads(&self, reads: &[Read]) -> usize {
        let concurrent_reads_max = self.limits.concurrent_reads_max;
        if !self.archive.is_directory() {
            return concurrent_reads_max;
        }
        let bytes: u64 = reads.iter().map(Read::part_bytes).sum();
        let average_bytes = usize::try_from(bytes / reads.len().max(1) as u64).unwrap_or(usize::MAX).max(1);
        let in_cache = self.thread_count * FILE_BYTES_PER_THREAD / average_bytes;
        in_cache.max(2 * self.thread_count).min(concurrent_reads_max)
    }

    /// The archive that is read.
    pub(crate) fn archive(&self) -> &Archive {
        self.archive
    }

    /// Reads and decodes `reads`, as many of them as are begun while `goes_on` says so; the rows stay
    /// with the decoders until [`Self::rows`].
    pub(crate) async fn prepare(
        &self,
        reads: Vec<Read>,
        goes_on: &(dyn Fn() -> bool + Sync),
        done: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<Prepared, Error> {
        // A failure that every other blob would share: none is begun after it.
        let broken = AtomicBool::new(false);
        let blob = async |read: Read| -> Result<_, Error> {
            if broken.load(Ordering::Relaxed) || !goes_on() {
                return Ok(Err(read));
            }
            let outcome = self.blob(read).await?;
            broken.fetch_or(outcome.failure.as_ref().is_some_and(ends_run), Ordering::Relaxed);
            done(&outcome);
            Ok(Ok(outcome))
        };
        let mut prepared = Prepared::default();
        let concurrent_reads = self.concurrent_reads(&reads);
        let mut steps = stream::iter(reads).map(blob).buffer_unordered(concurrent_reads);
        while let Some(step) = steps.try_next().await? {
            match step {
                Ok(outcome) => prepared.outcomes.push(outcome),
                Err(read) => prepared.not_begun.push(read),
            }
        }
        prepared.outcomes.sort_by(|left, right| left.read.blob.name.cmp(&right.read.blob.name));
        Ok(prepared)
    }

    /// The rows decoded so far, by table.
    pub(crate) fn rows(&self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        self.decoders.rows()
    }

    async fn blob(&self, read: Read) -> Result<Outcome, Error> {
        // Taken once and for the whole blob, since a task that waits for more while it holds some
        // could wait for ever. One segment is being decoded, one waits, and one is on its way.
        let tail_bytes = read.tail_bytes();
        let held = (read.part_bytes() + tail_bytes).min(3 * self.limits.segment_bytes_max as u64);
        let permits = u32::try_from(held / PERMIT_BYTES).unwrap_or(u32::MAX).clamp(1, self.permit_count);
        let _permit = self.bytes_in_flight.acquire_many(permits).await;

        let first = match self.segment(&read, read.from - tail_bytes).await {
            Ok(first) => first,
            Err(failure) => return Ok(Outcome { read, anew: None, converted: None, failure: Some(failure) }),
        };
        let Some((tail_bytes, hash)) = read.tail.clone() else {
            return self.decode(read, Bytes::new(), first).await;
        };
        let (tail, rest) = split(&first, tail_bytes);
        let anew = match () {
            () if tail_hash(&tail) != hash => Anew::Rewritten,
            () if read.framing == Framing::Lines && goes_on(&tail, &rest) => Anew::TakenBack,
            () => return self.decode(read, tail, rest).await,
        };
        Ok(Outcome { read, anew: Some(anew), converted: None, failure: None })
    }

    /// The next bytes of a blob from `at` on, at most a segment of them.
    async fn segment(&self, read: &Read, at: u64) -> Result<Bytes, whocalled_fetch::Error> {
        // The first one holds the whole tail, and something after it.
        let length = (self.limits.segment_bytes_max as u64).max(2 * TAIL_BYTES_MAX);
        let end = read.upto.min(at + length);
        self.archive.read(&read.blob.name, at..end).await
    }

    /// Decodes a blob from its first new bytes on, fetching a segment ahead.
    async fn decode(&self, read: Read, tail: Bytes, first: Bytes) -> Result<Outcome, Error> {
        let part = BlobPart {
            name: read.blob.name.clone(),
            generation: read.generation,
            from: read.from,
            framing: read.framing,
            tail: tail.to_vec(),
        };
        let (segments, received) = mpsc::channel::<Bytes>(1);
        let (seal, sealed) = oneshot::channel();
        let (converted, decoded) = oneshot::channel();
        self.decoders.decode(Job { part, segments: received, sealed, converted });

        let mut at = read.from + first.len() as u64;
        let mut next = Ok(first);
        let failure = loop {
            match next {
                Err(failure) => break Some(failure),
                Ok(segment) => {
                    // The receiver is gone only if decoding panicked, which waiting for it reports.
                    if segments.send(segment).await.is_err() || at >= read.upto {
                        break None;
                    }
                }
            }
            next = self.segment(&read, at).await;
            at += next.as_ref().map_or(0, |segment| segment.len() as u64);
        };
        drop(segments);
        // Not sent means not sealed; the receiver copes with both.
        let _ = seal.send(read.sealed && failure.is_none() && read.upto == read.blob.bytes);
        let converted = decoded.await.map_err(|source| Error::decoder(&read.blob.name, source.into()))?;
        Ok(Outcome { read, anew: None, converted: Some(converted), failure })
    }
}

/// Whether the line that `tail` ends in, if it ends in one, goes on with more than white space.
fn goes_on(tail: &[u8], rest: &[u8]) -> bool {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !tail.ends_with(b"\n") && !line.trim_ascii().is_empty()
}

/// The bytes before `at`, and those from it on.
pub(crate) fn split(bytes: &Bytes, at: u64) -> (Bytes, Bytes) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    (bytes.slice(..at), bytes.slice(at..))
}

/// SHA-256 in lower-case hexadecimal, by which the end of a committed prefix is known again.
pub fn tail_hash(tail: &[u8]) -> String {
    Sha256::digest(tail).iter().map(|byte| format!("{byte:02x}")).collect()
}
