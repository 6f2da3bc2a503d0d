//! The lake: Delta tables, the ledger that says what is in them, and the protocol by which a batch
//! gets in exactly once.
//!
//! # What is where
//!
//! A lake is a directory, local or in a Storage Account. Below it is one Delta table per
//! [`Table`](whocalled_types::Table), partitioned by `date`, and `whocalled-lake.json`, which is
//! written last when the lake is made. Any Delta reader opens the tables as they are. The receipts of
//! runs are in `_receipts`, and nothing follows from them; in `_views` is what queries would compute from
//! the tables, by a hash of their state.
//!
//! # The protocol
//!
//! Delta makes one table's commit atomic, and a batch touches many tables. So the batch is decided
//! in one table, the `ledger`, and only then applied to the others, each of which remembers how far
//! it is in a `txn` action. This is how Spark Structured Streaming writes to Delta, and two-phase
//! commit with the ledger as its coordinator's log.
//!
//! | step | what happens | killed after it | who repairs |
//! |---|---|---|---|
//! | prepare | [`Writer::write`] writes Parquet files under names never used before, maybe while the batch before is committed | nothing is visible; the files are orphans | [`Lake::vacuum`] deletes them |
//! | decide | one commit to `ledger`: every range of every blob, and every file action of every table, with `txn("whocalled", N)` | the batch is final, and in no table yet | [`Lake::recover`] applies it from the ledger, without the archive |
//! | apply | one commit per table that has actions, with `txn("whocalled", N)` | the batch is in some tables | [`Lake::recover`] applies it to those whose `txn` is below N |
//! | keep | now and then the sum of the ledger's ranges is written beside it | nothing is lost: it is made from the ledger, and for speed alone | a later run |
//!
//! What that rests on:
//!
//! - *One of two wins.* The ledger's commit is conditional on the ledger's version that was loaded,
//!   and a writer loads a version only together with an applied state. Of two runs that planned on
//!   the same positions the second gets [`Error::Conflict`], and its files are orphans. delta-rs
//!   would move an append past the winner's; that is switched off.
//! - *N is applied before N + 1 is decided.* [`Lake::commit_written`] refuses while it is not known that the
//!   last batch is in every table. So recovery never has to look further back than one batch.
//! - *Applying is idempotent.* delta-rs does not refuse a repeated `txn`; so a table's `txn` is read
//!   before its commit, and the commit is conditional on the version at which it was read.
//! - *Readers see whole batches.* [`Snapshot::files`] shows a decided batch in every table, from the
//!   ledger where it is not applied yet. Other Delta readers see one table's commit at a time.
//! - *Everything that changes rows or files is a batch.* Replacing the rows of a re-created blob is
//!   part of the batch that re-reads it; compaction is a batch without ranges. Nothing else could
//!   move files between a batch's decision and its application. Only vacuum works beside the ledger,
//!   and it deletes only what has been of no use for a while.
//! - *What does not balance is not committed.* The rows of a batch must be as many as its ranges
//!   account for, and a Parquet file as long as what was written to it.
//!
//! An answer can get lost: a commit may succeed and look failed. After a failed decision the ledger
//! is read again, and the batch is decided if its own file is in it. If even that fails, the
//! positions after [`Lake::recover`] tell.

mod batch;
mod commit;
mod create;
mod data_file;
mod delta;
mod encode;
mod error;
mod export;
mod failpoint;
mod gather;
mod label_column;
mod lake;
mod layout;
mod ledger;
mod location;
mod merge;
mod optimize;
mod positions;
mod probe;
mod read;
mod receipts;
mod replace;
mod snapshot;
mod statistics;
mod vacuum;
mod views;
mod write;

#[cfg(test)]
mod tests;

pub use batch::{Batch, BlobAdvance, BlobState, hour_begin};
pub use commit::{Committed, Recovery};
pub use data_file::DataFile;
pub use error::{BoxError, Error, Unfinished};
pub use export::{DeltaExport, Exported, write_delta};
pub use failpoint::{FAILPOINTS, Failpoints};
pub use lake::Lake;
pub use layout::TableSpec;
pub use ledger::ledger_spec;
pub use location::{LakeLocation, StorageOptions};
pub use optimize::Optimized;
pub use receipts::{KeptReceipt, RECEIPTS_RETENTION};
pub use snapshot::Snapshot;
pub use vacuum::{RETENTION, Vacuumed};
pub use views::{StoredView, StoredViews, VIEWS_RETENTION, ViewSet};
pub use write::{Writer, WrittenBatch};
