//! The threads that decode, one converter each.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use whocalled_convert::{BlobPart, Converted, Converter};
use whocalled_types::{Limits, Table};

use crate::Error;

/// A blob to decode.
pub(crate) struct Blob {
    /// What is known of it.
    pub(crate) part: BlobPart,
    /// Its new bytes in order, until the sender is dropped.
    pub(crate) segments: mpsc::Receiver<Vec<Bytes>>,
    /// Whether a last record without a line break is taken. Not sent means no.
    pub(crate) sealed: oneshot::Receiver<bool>,
}

/// Blobs that one thread decodes, one after the other.
struct Job {
    blobs: Vec<Blob>,
    done: Done,
}

/// What became of a job's blobs so far, which is sent when the job ends, however it does.
struct Done {
    converted: Vec<Converted>,
    to: Option<oneshot::Sender<Vec<Converted>>>,
}

impl Drop for Done {
    fn drop(&mut self) {
        // Nobody waits for it any more once the run has broken off.
        self.to.take().map(|to| to.send(std::mem::take(&mut self.converted)));
    }
}

/// Converters, and threads that take blobs for them from one queue: whichever is done with a blob finds the
/// next waiting, however small they are.
pub(crate) struct Decoders {
    jobs: Sender<Job>,
    /// Those at rest.
    converters: Arc<Mutex<Vec<Converter>>>,
}

impl Decoders {
    /// The threads end once this is dropped.
    pub(crate) fn new(thread_count: usize, limits: &Limits) -> Self {
        let (jobs, queue) = std::sync::mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let converters: Vec<Converter> = (0..thread_count).map(|_| Converter::new(limits.clone())).collect();
        let converters = Arc::new(Mutex::new(converters));
        for _ in 0..thread_count {
            let (queue, converters) = (Arc::clone(&queue), Arc::clone(&converters));
            tokio::task::spawn_blocking(move || work(&queue, &converters));
        }
        Self { jobs, converters }
    }

    /// Has blobs decoded when their turn comes. What became of them comes in their order, and is short where a thread
    /// broke off with the blob that is missing, or none was left.
    pub(crate) fn decode(&self, blobs: Vec<Blob>) -> oneshot::Receiver<Vec<Converted>> {
        let (to, converted) = oneshot::channel();
        let done = Done { converted: Vec::with_capacity(blobs.len()), to: Some(to) };
        // The job comes back where every thread has ended, and is dropped here.
        drop(self.jobs.send(Job { blobs, done }));
        converted
    }

    /// The rows decoded so far, by table. No blob is being decoded.
    pub(crate) fn rows(&self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        let mut converters = self.converters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        for converter in converters.iter_mut() {
            rows.extend(converter.finish()?);
        }
        Ok(rows)
    }
}

/// Decodes blobs until no more can come.
fn work(queue: &Mutex<Receiver<Job>>, converters: &Mutex<Vec<Converter>>) {
    // One thread waits for a job, and the others for it to have got one.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Job { blobs, mut done }) = next() {
        let at_rest = converters.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // There are as many converters as threads.
        let Some(mut converter) = at_rest else { return };
        for mut blob in blobs {
            let mut conversion = converter.begin(blob.part);
            while let Some(segment) = blob.segments.blocking_recv() {
                segment.iter().for_each(|piece| conversion.feed(piece));
            }
            done.converted.push(conversion.finish(blob.sealed.blocking_recv().unwrap_or(false)));
        }
        converters.lock().unwrap_or_else(PoisonError::into_inner).push(converter);
    }
}
