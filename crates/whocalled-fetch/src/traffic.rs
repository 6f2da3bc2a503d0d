//! How much was asked of an archive, and how much came.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an archive has been asked for and has given, since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests sent to the account, repeated ones included; or files read.
    pub request_count: u64,
    /// How many of them were for listings.
    pub list_request_count: u64,
    /// Bytes of blobs received, including those of reads that failed in the end.
    pub read_bytes: u64,
}

/// Counts traffic from any number of tasks.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    request_count: AtomicU64,
    list_request_count: AtomicU64,
    read_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count_request(&self) {
        self.request_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_list_request(&self) {
        self.list_request_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            request_count: self.request_count.load(Ordering::Relaxed),
            list_request_count: self.list_request_count.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
        }
    }
}
