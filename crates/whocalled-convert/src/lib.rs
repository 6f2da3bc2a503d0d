//! From the bytes of archived blobs to record batches and rejects.
//!
//! Synchronous, pure and capped: no I/O, no clock, no environment. The path of a byte:
//!
//! 1. `frame` finds where records begin and end, by looking at the bytes;
//! 2. `template` reads a record that is laid out as an earlier one was into a `block` of rows; `decode` reads any other
//!    in one pass along a `plan`, compiled from the table's [`Definition`];
//! 3. `column` appends what was read to Arrow builders, a block column by column.
//!
//! Every complete record becomes one row of one table, or one row of `rejects` with the reason.
//! Bad input is therefore never an error of this crate.

mod block;
mod canonical;
mod column;
mod converter;
mod decode;
mod definition;
mod definitions;
mod error;
mod frame;
mod label;
mod plan;
mod scan;
mod template;
mod time;
mod value;

pub use converter::{BlobConverter, BlobPart, Converted, Converter};
pub use definition::{Column, Definition, Kind, PROVENANCE};
pub use definitions::DEFINITIONS;
pub use error::Error;
pub use frame::{End, Framed, frame, record_bytes};

#[cfg(test)]
mod tests;
