//! Prepare: bytes of blobs to rows, on every core, in bounded memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use whocalled_convert::{BlobPart, Converted};
use whocalled_fetch::Archive;
use whocalled_types::{Framing, Limits, Table};

use crate::Error;
use crate::decoders::{Blob, Decoders};
use crate::error::ends_run;
use crate::plan::Read;
use crate::reader::{Bundle, Reader, Segments};

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

/// Reads blobs and decodes them on every core.
pub(crate) struct Preparer<'a> {
    reader: Reader<'a>,
    decoders: Decoders,
    batch_bytes_max: u64,
}

impl<'a> Preparer<'a> {
    pub(crate) fn new(archive: &'a Archive, limits: &'a Limits, thread_count: usize) -> Self {
        Self {
            reader: Reader::new(archive, limits, thread_count),
            decoders: Decoders::new(thread_count, limits),
            batch_bytes_max: limits.batch_bytes_max,
        }
    }

    /// The archive that is read.
    pub(crate) fn archive(&self) -> &'a Archive {
        self.reader.archive()
    }

    /// Receives what is on its way for the next batch, for as long as nothing else is to be done.
    pub(crate) async fn receive(&mut self) -> Infallible {
        while self.reader.arrive().await {}
        pending().await
    }

    /// Reads and decodes the next batch, in the order of the blobs' names: as many of `reads` as have about as many
    /// new bytes as a batch, and are begun while `goes_on` says so; what was begun is decoded all the same. The rows stay
    /// with the decoders until [`Self::rows`].
    pub(crate) async fn prepare(
        &mut self,
        reads: &mut VecDeque<Read>,
        goes_on: &(dyn Fn() -> bool + Sync),
        done: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<Vec<Outcome>, Error> {
        let Self { reader, decoders, batch_bytes_max } = self;
        let mut decoding = FuturesUnordered::new();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut bytes = 0;
        // A failure that every other blob would share: none is begun after it.
        let mut is_broken = false;
        loop {
            while bytes < *batch_bytes_max
                && let Some(bundle) = reader.take()
            {
                bytes += bundle.part_bytes();
                decoding.push(decode(reader.segments(), decoders, bundle));
            }
            if !is_broken && goes_on() {
                reader.begin(reads, decoding.len());
            }
            if decoding.is_empty() && bytes >= *batch_bytes_max {
                break;
            }
            tokio::select! {
                Some(decoded) = decoding.next() => {
                    for outcome in decoded? {
                        is_broken |= outcome.failure.as_ref().is_some_and(ends_run);
                        done(&outcome);
                        outcomes.push(outcome);
                    }
                }
                true = reader.arrive() => {}
                else => break,
            }
        }
        outcomes.sort_by(|left, right| left.read.blob.name.cmp(&right.read.blob.name));
        Ok(outcomes)
    }

    /// The rows decoded so far, by table.
    pub(crate) fn rows(&self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        self.decoders.rows()
    }
}

/// Has blobs decoded whose first bytes are there.
async fn decode(segments: Segments<'_>, decoders: &Decoders, bundle: Bundle) -> Result<Vec<Outcome>, Error> {
    let Bundle { reads, firsts, permit } = bundle;
    let mut outcomes = Vec::new();
    let (mut blobs, mut feeds) = (Vec::new(), Vec::new());
    for (read, first) in reads.into_iter().zip(firsts?) {
        match begin(read, first, segments.waiting_max()) {
            Ok((blob, feed)) => {
                blobs.push(blob);
                feeds.push(feed);
            }
            Err(outcome) => outcomes.push(*outcome),
        }
    }
    let converted = decoders.decode(blobs);
    let mut fed = Vec::with_capacity(feeds.len());
    for feed in feeds {
        fed.push(feed.all(segments).await);
    }
    // Not sent by a process that ends.
    let mut converted = converted.await.unwrap_or_default().into_iter();
    drop(permit);
    for (read, failure) in fed {
        let Some(converted) = converted.next() else {
            return Err(Error::Decoder { blob: read.blob.name.to_string() });
        };
        outcomes.push(Outcome { read, anew: None, converted: Some(converted), failure });
    }
    Ok(outcomes)
}

/// What is left to be given to a blob's decoder.
struct Feed {
    read: Read,
    first: Vec<Bytes>,
    segments: mpsc::Sender<Vec<Bytes>>,
    seal: oneshot::Sender<bool>,
}

impl Feed {
    /// Gives a blob's bytes to its decoder, fetching some segments ahead; gives what kept it from giving all.
    async fn all(self, of: Segments<'_>) -> (Read, Option<whocalled_fetch::Error>) {
        let Self { read, first, segments, seal } = self;
        let mut at = read.from + byte_count(&first);
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
            next = of.read(&read, at).await;
            at += next.as_ref().map_or(0, |segment| byte_count(segment));
        };
        drop(segments);
        // Not sent means not sealed; the receiver copes with both.
        let _ = seal.send(read.sealed && failure.is_none() && read.upto == read.blob.bytes);
        (read, failure)
    }
}

/// Compares a blob's tail with the committed one, and begins what follows it; or says what became of the read already.
fn begin(
    read: Read,
    first: Result<Vec<Bytes>, whocalled_fetch::Error>,
    waiting_max: usize,
) -> Result<(Blob, Feed), Box<Outcome>> {
    let over = |read, anew, failure| Box::new(Outcome { read, anew, converted: None, failure });
    let first = match first {
        Ok(first) => first,
        Err(failure) => return Err(over(read, None, Some(failure))),
    };
    let (tail, first) = match &read.tail {
        None => (Bytes::new(), first),
        Some((tail_bytes, hash)) => {
            let whole = match first.as_slice() {
                [piece] => piece.clone(),
                pieces => pieces.concat().into(),
            };
            let (tail, rest) = split(&whole, *tail_bytes);
            if tail_hash(&tail) != *hash {
                return Err(over(read, Some(Anew::Rewritten), None));
            }
            if read.framing == Framing::Lines && goes_on(&tail, &rest) {
                return Err(over(read, Some(Anew::TakenBack), None));
            }
            (tail, vec![rest])
        }
    };
    let part = BlobPart {
        name: read.blob.name.clone(),
        generation: read.generation,
        from: read.from,
        framing: read.framing,
        tail: tail.to_vec(),
    };
    let (segments, received) = mpsc::channel(waiting_max);
    let (seal, sealed) = oneshot::channel();
    Ok((Blob { part, segments: received, sealed }, Feed { read, first, segments, seal }))
}

fn byte_count(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
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
    format!("{:x}", Sha256::digest(tail))
}
