//! Prepare: bytes of blobs to rows, on every core, in bounded memory.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};
use whocalled_convert::{BlobPart, Converted};
use whocalled_fetch::Archive;
use whocalled_types::{BlobName, Framing, Limits, TAIL_BYTES_MAX, Table};

use crate::Error;
use crate::decoders::{Blob, Decoders};
use crate::error::ends_run;
use crate::plan::Read;

/// Bytes in flight are counted in units of this, since a semaphore counts no further than 2^61.
const PERMIT_BYTES: u64 = 1024;
/// How many bytes of files are read ahead for each core. They are there at once, and what is read of them had better
/// still be in the processor's cache when it is decoded.
const FILE_BYTES_PER_THREAD: usize = 4 << 20;
/// How many bytes of files are read at a time: a piece of a large one, or several small ones, since to hand over a file
/// of an hour with few calls between threads takes as long as to decode it.
const FILE_BYTES_AT_A_TIME: u64 = 1 << 20;

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

    /// What is read together: an account's blobs each alone, since each is a request, and files up to
    /// [`FILE_BYTES_AT_A_TIME`].
    fn bundles(&self, reads: Vec<Read>) -> Vec<Vec<Read>> {
        let bytes_max = if self.archive.is_directory() { FILE_BYTES_AT_A_TIME } else { 0 };
        let mut bundles: Vec<Vec<Read>> = Vec::new();
        let mut bytes = 0;
        for read in reads {
            bytes += read.held_bytes();
            match bundles.last_mut() {
                Some(bundle) if bytes <= bytes_max => bundle.push(read),
                _ => {
                    bytes = read.held_bytes();
                    bundles.push(vec![read]);
                }
            }
        }
        bundles
    }

    /// How many of those are read at a time.
    fn concurrent_reads(&self, bundles: &[Vec<Read>]) -> usize {
        let concurrent_reads_max = self.limits.concurrent_reads_max;
        if !self.archive.is_directory() {
            return concurrent_reads_max;
        }
        let bytes: u64 = bundles.iter().flatten().map(Read::held_bytes).sum();
        let average_bytes = usize::try_from(bytes / bundles.len().max(1) as u64).unwrap_or(usize::MAX).max(1);
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
        let step = async |bundle: Vec<Read>| -> Result<Prepared, Error> {
            if broken.load(Ordering::Relaxed) || !goes_on() {
                return Ok(Prepared { not_begun: bundle, ..Prepared::default() });
            }
            let outcomes = self.outcomes(bundle).await?;
            let breaks = |outcome: &Outcome| outcome.failure.as_ref().is_some_and(ends_run);
            broken.fetch_or(outcomes.iter().any(breaks), Ordering::Relaxed);
            outcomes.iter().for_each(done);
            Ok(Prepared { outcomes, ..Prepared::default() })
        };
        let bundles = self.bundles(reads);
        let concurrent_reads = self.concurrent_reads(&bundles);
        let steps = stream::iter(bundles).map(step).buffer_unordered(concurrent_reads);
        let mut prepared = steps
            .try_fold(Prepared::default(), async |mut prepared, step| {
                prepared.outcomes.extend(step.outcomes);
                prepared.not_begun.extend(step.not_begun);
                Ok(prepared)
            })
            .await?;
        prepared.outcomes.sort_by(|left, right| left.read.blob.name.cmp(&right.read.blob.name));
        Ok(prepared)
    }

    /// The rows decoded so far, by table.
    pub(crate) fn rows(&self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        self.decoders.rows()
    }

    /// Reads and decodes what is read together.
    async fn outcomes(&self, bundle: Vec<Read>) -> Result<Vec<Outcome>, Error> {
        // Taken once and for the whole bundle, since a task that waits for more while it holds some
        // could wait for ever. One segment is being decoded, one waits, and one is on its way.
        let held: u64 = bundle.iter().map(Read::held_bytes).sum();
        let held = held.min(3 * self.segment_bytes());
        let permits = u32::try_from(held / PERMIT_BYTES).unwrap_or(u32::MAX).clamp(1, self.permit_count);
        let _permit = self.bytes_in_flight.acquire_many(permits).await;

        let ranges = bundle.iter().map(|read| self.segment(read, read.from - read.tail_bytes()));
        let firsts = self.archive.read_all(ranges.collect()).await?;
        let mut outcomes = Vec::new();
        let (mut blobs, mut feeds) = (Vec::new(), Vec::new());
        for (read, first) in bundle.into_iter().zip(firsts) {
            match begin(read, first) {
                Ok((blob, feed)) => {
                    blobs.push(blob);
                    feeds.push(feed);
                }
                Err(outcome) => outcomes.push(*outcome),
            }
        }
        let converted = self.decoders.decode(blobs);
        let mut fed = Vec::with_capacity(feeds.len());
        for feed in feeds {
            fed.push(self.feed(feed).await);
        }
        // Not sent by a process that ends.
        let mut converted = converted.await.unwrap_or_default().into_iter();
        for (read, failure) in fed {
            let Some(converted) = converted.next() else {
                return Err(Error::Decoder { blob: read.blob.name.to_string() });
            };
            outcomes.push(Outcome { read, anew: None, converted: Some(converted), failure });
        }
        Ok(outcomes)
    }

    /// Where the next bytes of a blob are from `at` on, at most a segment of them.
    fn segment(&self, read: &Read, at: u64) -> (BlobName, Range<u64>) {
        (read.blob.name.clone(), at..read.upto.min(at + self.segment_bytes()))
    }

    fn segment_bytes(&self) -> u64 {
        let bytes = self.limits.segment_bytes_max as u64;
        let bytes = if self.archive.is_directory() { bytes.min(FILE_BYTES_AT_A_TIME) } else { bytes };
        // The first one holds the whole tail, and something after it.
        bytes.max(2 * TAIL_BYTES_MAX)
    }

    /// Gives a blob's bytes to its decoder, fetching a segment ahead; gives what kept it from giving all.
    async fn feed(&self, feed: Feed) -> (Read, Option<whocalled_fetch::Error>) {
        let Feed { read, first, segments, seal } = feed;
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
            let (blob, range) = self.segment(&read, at);
            next = self.archive.read(&blob, range).await;
            at += next.as_ref().map_or(0, |segment| segment.len() as u64);
        };
        drop(segments);
        // Not sent means not sealed; the receiver copes with both.
        let _ = seal.send(read.sealed && failure.is_none() && read.upto == read.blob.bytes);
        (read, failure)
    }
}

/// What is left to be given to a blob's decoder.
struct Feed {
    read: Read,
    first: Bytes,
    segments: mpsc::Sender<Bytes>,
    seal: oneshot::Sender<bool>,
}

/// Compares a blob's tail with the committed one, and begins what follows it; or says what became of the read already.
fn begin(read: Read, first: Result<Bytes, whocalled_fetch::Error>) -> Result<(Blob, Feed), Box<Outcome>> {
    let over = |read, anew, failure| Box::new(Outcome { read, anew, converted: None, failure });
    let first = match first {
        Ok(first) => first,
        Err(failure) => return Err(over(read, None, Some(failure))),
    };
    let (tail, first) = split(&first, read.tail_bytes());
    if let Some((_, hash)) = &read.tail {
        if tail_hash(&tail) != *hash {
            return Err(over(read, Some(Anew::Rewritten), None));
        }
        if read.framing == Framing::Lines && goes_on(&tail, &first) {
            return Err(over(read, Some(Anew::TakenBack), None));
        }
    }
    let part = BlobPart {
        name: read.blob.name.clone(),
        generation: read.generation,
        from: read.from,
        framing: read.framing,
        tail: tail.to_vec(),
    };
    let (segments, received) = mpsc::channel(1);
    let (seal, sealed) = oneshot::channel();
    Ok((Blob { part, segments: received, sealed }, Feed { read, first, segments, seal }))
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
