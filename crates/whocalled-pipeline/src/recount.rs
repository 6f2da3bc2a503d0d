//! Recount: reads committed bytes again and decodes them, to be held against what the lake has of them.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use whocalled_convert::{BlobPart, Converted, Converter};
use whocalled_fetch::Archive;
use whocalled_types::{BlobName, Framing, Limits, TAIL_BYTES_MAX, Table};

use crate::Error;
use crate::prepare::tail_hash;

/// Bytes are counted in units of this, since a semaphore counts no further than 2^61.
const PERMIT_BYTES: u64 = 1024;

/// A range of a blob as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedRange {
    /// Where it begins, in bytes.
    pub from: u64,
    /// Where it ends, exclusive.
    pub to: u64,
    /// How the records after it are framed.
    pub framing: Framing,
    /// How many bytes before `to` the hash covers.
    pub tail_bytes: u64,
    /// Their hash.
    pub tail_hash: String,
    /// How many of its records became rows.
    pub row_count: u64,
    /// How many of its records became rejects.
    pub reject_count: u64,
}

/// What the committed bytes of a blob hold now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recounted {
    /// Where each record begins, in bytes, in order; by the table whose row it is, `rejects` included.
    pub offsets: BTreeMap<Table, Vec<i64>>,
    /// How many bytes were read.
    pub bytes: u64,
    /// The first range that does not hold what was committed of it. Nothing after it was read.
    pub mismatch: Option<Mismatch>,
}

/// A range that does not hold what was committed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The byte of the blob.
    pub at: u64,
    /// What differs, in words.
    pub detail: String,
}

/// Recounts blobs, any number at a time, with as many rows in memory as a batch has.
pub struct Recounter<'a> {
    archive: &'a Archive,
    limits: &'a Limits,
    /// Ranges whose rows are held may have as many bytes together as a batch.
    bytes_held: Semaphore,
    permit_count: u32,
}

impl<'a> Recounter<'a> {
    /// A recounter of an archive's blobs.
    pub fn new(archive: &'a Archive, limits: &'a Limits) -> Self {
        let permit_count = u32::try_from(limits.batch_bytes_max / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { archive, limits, bytes_held: Semaphore::new(permit_count as usize), permit_count }
    }

    /// Reads and decodes the committed ranges of a blob's generation, which are in order and begin
    /// with its first byte.
    ///
    /// # Errors
    /// As of a read; `Skip` where the blob is gone or has become shorter.
    pub async fn blob(&self, blob: &BlobName, generation: u32, ranges: &[CommittedRange]) -> Result<Recounted, Error> {
        let mut recounted = Recounted::default();
        let (mut framing, mut tail) = (Framing::Unknown, Vec::new());
        let mut converter = Converter::new(self.limits.clone());
        for range in ranges.iter().filter(|range| range.from < range.to) {
            let permits = u32::try_from((range.to - range.from) / PERMIT_BYTES).unwrap_or(u32::MAX);
            let _permit = self.bytes_held.acquire_many(permits.clamp(1, self.permit_count)).await;
            let part = BlobPart { name: blob.clone(), generation, from: range.from, framing, tail: Vec::new() };
            let converted = self.range(range, part, &mut converter, &mut tail).await?;
            recounted.bytes += range.to - range.from;
            for (table, rows) in converter.finish()? {
                recounted.offsets.entry(table).or_default().extend(offsets(&rows));
            }
            recounted.mismatch = mismatch(range, &converted, &tail);
            if recounted.mismatch.is_some() {
                break;
            }
            framing = range.framing;
        }
        for offsets in recounted.offsets.values_mut() {
            offsets.sort_unstable();
        }
        Ok(recounted)
    }

    /// Decodes one range. `tail` has the last bytes before it, and then those before its end.
    async fn range(
        &self,
        range: &CommittedRange,
        part: BlobPart,
        converter: &mut Converter,
        tail: &mut Vec<u8>,
    ) -> Result<Converted, Error> {
        let blob = part.name.clone();
        let (segments, mut received) = mpsc::channel::<Bytes>(1);
        let mut lent = std::mem::replace(converter, Converter::new(self.limits.clone()));
        let decoding = tokio::task::spawn_blocking(move || {
            let mut reading = lent.begin(part);
            while let Some(segment) = received.blocking_recv() {
                reading.feed(&segment);
            }
            // Whatever ended the range then, nothing of it follows now.
            (reading.finish(true), lent)
        });
        let mut at = range.from;
        while at < range.to {
            let end = range.to.min(at + self.limits.segment_bytes_max as u64);
            let segment = self.archive.read(&blob, at..end).await?;
            keep_tail(tail, &segment);
            at = end;
            // The receiver is gone only if decoding panicked, which joining it reports.
            if segments.send(segment).await.is_err() {
                break;
            }
        }
        drop(segments);
        let (converted, lent) = decoding.await.map_err(|_panicked| Error::Decoder { blob: blob.to_string() })?;
        *converter = lent;
        Ok(converted)
    }
}

/// Keeps the last bytes that a position's hash can cover.
fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    let tail_bytes_max = usize::try_from(TAIL_BYTES_MAX).unwrap_or(usize::MAX);
    tail.extend_from_slice(&bytes[bytes.len().saturating_sub(tail_bytes_max)..]);
    tail.drain(..tail.len().saturating_sub(tail_bytes_max));
}

/// How a range differs from what was committed of it.
fn mismatch(range: &CommittedRange, converted: &Converted, tail: &[u8]) -> Option<Mismatch> {
    let CommittedRange { from, to, .. } = *range;
    let hashed = tail.len().saturating_sub(usize::try_from(range.tail_bytes).unwrap_or(usize::MAX));
    if tail_hash(&tail[hashed..]) != range.tail_hash {
        let detail = format!("the {} bytes before byte {to} are other bytes than were committed", range.tail_bytes);
        return Some(Mismatch { at: to - range.tail_bytes.min(to), detail });
    }
    if (converted.row_count, converted.reject_count) != (range.row_count, range.reject_count) {
        let detail = format!(
            "bytes {from} to {to} hold records for {} rows and {} rejects, and the ledger has {} and {}",
            converted.row_count, converted.reject_count, range.row_count, range.reject_count
        );
        return Some(Mismatch { at: from, detail });
    }
    None
}

fn offsets(rows: &RecordBatch) -> Vec<i64> {
    let column = rows.column_by_name("blob_offset").and_then(|it| it.as_primitive_opt::<Int64Type>());
    column.map_or_else(Vec::new, |it| it.values().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(row_count: u64, tail: &[u8]) -> CommittedRange {
        CommittedRange {
            from: 10,
            to: 20,
            framing: Framing::Lines,
            tail_bytes: tail.len() as u64,
            tail_hash: tail_hash(tail),
            row_count,
            reject_count: 0,
        }
    }

    fn converted(row_count: u64) -> Converted {
        Converted {
            position: 20,
            framing: Framing::Lines,
            tail: Vec::new(),
            record_count: row_count,
            row_count,
            reject_count: 0,
        }
    }

    #[test]
    fn other_bytes_and_other_counts_are_told_with_their_place() {
        assert_eq!(mismatch(&range(2, b"cd"), &converted(2), b"abcd"), None);
        let bytes = mismatch(&range(2, b"cd"), &converted(2), b"abce");
        assert_eq!(bytes.map(|it| it.at), Some(18));
        let counts = mismatch(&range(3, b"cd"), &converted(2), b"abcd");
        assert_eq!(counts.as_ref().map(|it| it.at), Some(10));
        assert!(counts.is_some_and(|it| it.detail.contains("2 rows")));
    }

    #[test]
    fn a_tail_is_no_longer_than_a_hash_covers() {
        let mut tail = vec![b'a'; 4000];
        keep_tail(&mut tail, &[b'b'; 100]);
        assert_eq!((tail.len(), tail[3995], tail[3996]), (4096, b'a', b'b'));
        keep_tail(&mut tail, &[b'c'; 5000]);
        assert!(tail.len() == 4096 && tail.iter().all(|it| *it == b'c'));
    }
}
