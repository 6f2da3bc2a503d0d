//! Answers from a lake: SQL over its tables and views, reports, the evidence behind a call, exports.
//!
//! The data flows one way: [`Session`] registers the lake's tables and, over them, the views of
//! `sql/views`; a query, a [`Report`] or an [`Explanation`] reads those; [`render`] and [`export`]
//! write what came out. Everything about attribution is SQL in files: this crate holds no rule of
//! its own about who called, and adds no functions (it has a quicker `date_trunc` in place of DataFusion's), so that another engine over the same
//! tables gives the same answers.
//!
//! This is the one library crate that links DataFusion.

mod date_trunc;
mod error;
mod explain;
mod export;
mod header;
mod join_sizes;
mod kept;
mod materialized;
mod parameters;
mod provider;
pub mod reference;
mod relations;
mod render;
mod repeats;
pub mod reports;
mod scope;
mod session;
mod small_files;
mod status;
mod tables;
mod unused_joins;
mod views;
mod weights;

pub use error::Error;
pub use explain::{Candidate, Evidence, ExplainedCall, Explanation, RecordSource, explain};
pub use export::{Destination, ExportFormat, Exported, export};
pub use header::{ColumnDoc, ParameterDoc, ParameterKind};
pub use materialized::Materialization;
pub use parameters::{Parameters, Value};
pub use render::{Format, TABLE_ROWS_MAX, render};
pub use reports::Report;
pub use session::{Answer, Relation, RelationKind, Session, SessionOptions};
pub use status::{runs, status};
pub use weights::Weights;
