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
pub(crate) struct Job {
    /// What is known of it.
    pub(crate) part: BlobPart,
    /// Its new bytes in order, until the sender is dropped.
    pub(crate) segments: mpsc::Receiver<Bytes>,
    /// Whether a last record without a line break is taken. Not sent means no.
    pub(crate) sealed: oneshot::Receiver<bool>,
    /// Takes what became of it.
    pub(crate) converted: oneshot::Sender<Converted>,
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

    /// Has a blob decoded when its turn comes. A job that no thread is left to do drops its `converted`.
    pub(crate) fn decode(&self, job: Job) {
        // The job comes back where every thread has ended, and is dropped here.
        drop(self.jobs.send(job));
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
    while let Ok(mut job) = next() {
        let at_rest = converters.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // There are as many converters as threads.
        let Some(mut converter) = at_rest else { return };
        let mut blob = converter.begin(job.part);
        while let Some(segment) = job.segments.blocking_recv() {
            blob.feed(&segment);
        }
        let converted = blob.finish(job.sealed.blocking_recv().unwrap_or(false));
        converters.lock().unwrap_or_else(PoisonError::into_inner).push(converter);
        // Nobody waits for it any more once the run has broken off.
        drop(job.converted.send(converted));
    }
}
