//! The limits on everything that grows with other people's input.

use std::time::Duration;

/// Bounds on what a run holds or accepts. Passed explicitly; nothing reads a global.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest record that is decoded, in bytes; a longer one becomes a reject.
    pub record_bytes_max: usize,
    /// The deepest nesting of objects and arrays that is decoded; deeper becomes a reject.
    pub nesting_max: usize,
    /// The largest blob that is read, in bytes; a larger one is reported and left.
    pub blob_bytes_max: u64,
    /// How many bytes of one blob are requested and decoded at a time.
    pub segment_bytes_max: usize,
    /// How many blobs are read at the same time.
    pub concurrent_reads_max: usize,
    /// How many bytes are in flight, over all blobs, between being requested and being decoded.
    pub bytes_in_flight_max: usize,
    /// How many archived bytes one batch commits, about: a batch ends with the blob range that
    /// crosses this, and a blob that has more is committed in parts. It bounds the rows held, too.
    pub batch_bytes_max: u64,
    /// How long reads are begun for one batch: on a slow network a batch ends by this, so that a kill
    /// loses minutes and not hours.
    pub batch_duration_max: Duration,
    /// How many bytes of a rejected record are kept in `rejects`.
    pub reject_bytes_max: usize,
}

impl Limits {
    /// The limits a run has unless its user says otherwise.
    pub const STANDARD: Self = Self {
        record_bytes_max: 16 << 20,
        nesting_max: 64,
        blob_bytes_max: 64 << 30,
        segment_bytes_max: 8 << 20,
        concurrent_reads_max: 16,
        bytes_in_flight_max: 128 << 20,
        batch_bytes_max: 128 << 20,
        batch_duration_max: Duration::from_mins(2),
        reject_bytes_max: 1 << 20,
    };
}
