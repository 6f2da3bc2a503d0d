//! The vocabulary that the other crates share: blob names, tables, resource ids, positions, limits
//! and error kinds.
//!
//! Nothing here performs I/O or knows Arrow. What a word means is said once, on its type; the
//! glossary in `docs/glossary.md` repeats it for readers.

mod blob;
mod error;
mod finding;
mod hours;
mod limits;
mod phase;
mod position;
mod resource;
mod table;

pub use blob::{BlobName, BlobScope, CONTAINER_ACTIVITY, CONTAINER_LOGS_PREFIX, CONTAINER_METRICS, is_log_container};
pub use error::ErrorKind;
pub use finding::BlobFinding;
pub use hours::{Hour, HourSpan, Seek};
pub use limits::Limits;
pub use phase::{BlobFacts, BlobPhase, SEAL_AFTER};
pub use position::{Advance, AdvanceError, Framing, Position, TAIL_BYTES_MAX};
pub use resource::ResourceId;
pub use table::Table;
