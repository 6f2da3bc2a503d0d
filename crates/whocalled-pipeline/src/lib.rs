//! One run: plan, fetch, convert, commit.
//!
//! [`run`] compares the archive's listing with the lake's positions ([`Plan`]), reads what is new
//! in bounded pieces, decodes it on every core, and commits batch by batch through the lake's
//! ledger. It ends in a [`Receipt`], whose counts must balance. A run that stops anywhere, for
//! whatever reason, is continued by the next one: all state is in the lake.

mod decoders;
mod error;
mod kept;
mod mirror;
mod plan;
mod prepare;
mod reader;
mod receipt;
mod recount;
mod run;
mod scope;
mod tables;
mod tally;

pub use error::Error;
pub use kept::wait_for_others;
pub use mirror::{MirrorOptions, Mirrored, mirror};
pub use plan::{Finding, FindingKind, Listing, Plan, Selection};
pub use prepare::tail_hash;
pub use receipt::{Failure, LeftBytes, Receipt, RunState};
pub use recount::{CommittedRange, Mismatch, Recounted, Recounter};
pub use run::{Options, Progress, Run, plan, run};
pub use scope::{HourRange, Seen};
pub use tables::table_specs;
