//! How runs went, from the receipts that the lake keeps.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use whocalled_lake::KeptReceipt;

use super::{Columns, show_bytes, show_duration};
use crate::error::Error;
use crate::session::Answer;

/// The state of a run whose receipt cannot be read.
const DAMAGED: &str = "damaged";
/// The state of a run that has not ended, as far as its receipt says.
const RUNNING: &str = "running";

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    started_at: DateTime<Utc>,
    run_id: String,
    receipt: Option<Value>,
}

impl Run {
    pub(super) fn of(kept: &KeptReceipt) -> Self {
        let receipt = serde_json::from_slice(&kept.json).ok().filter(Value::is_object);
        Self { started_at: kept.started_at, run_id: kept.run_id.clone(), receipt }
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.receipt.as_ref()?.get(name)
    }

    /// `running`, `finished` or `failed`, as the receipt has it, and `stopped` where the run was asked
    /// to end early. One that was killed has had no time to say so, and stays `running`.
    fn state(&self) -> &str {
        if self.receipt.is_none() {
            return DAMAGED;
        }
        let is_interrupted = self.field("interrupted").and_then(Value::as_bool) == Some(true);
        match self.field("state").and_then(Value::as_str) {
            Some("finished") | None if is_interrupted => "stopped",
            state => state.unwrap_or("finished"),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    /// A number, or how many elements a list has.
    fn count(&self, name: &str) -> Option<u64> {
        match self.field(name)? {
            Value::Array(list) => Some(list.len() as u64),
            value => value.as_u64(),
        }
    }

    fn finished_at(&self) -> Option<DateTime<Utc>> {
        let at = self.text("finished_at").filter(|_| self.state() != RUNNING)?;
        Some(DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc))
    }

    fn duration(&self) -> Option<TimeDelta> {
        let started_at = self.text("started_at").and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        let started_at = started_at.map_or(self.started_at, |at| at.with_timezone(&Utc));
        Some((self.finished_at()? - started_at).max(TimeDelta::zero()))
    }
}

/// A column for each figure.
pub(super) fn for_programs(runs: &[Run]) -> Result<Answer, Error> {
    Columns::of(runs)
        .text("run_id", |it| Some(&it.run_id))
        .instant("started_at", |it| Some(it.started_at))
        .instant("finished_at", Run::finished_at)
        .seconds("duration_seconds", Run::duration)
        .text("state", |it| Some(it.state()))
        .count("batches", |it| it.count("batches"))
        .count("blobs_read", |it| it.count("blobs_read"))
        .count("bytes_committed", |it| it.count("bytes_committed"))
        .count("rows", |it| it.count("rows"))
        .count("rejects", |it| it.count("rejects"))
        .count("requests", |it| it.count("requests"))
        .count("bytes_received", |it| it.count("bytes_received"))
        .count("failures", |it| it.count("failures"))
        .count("findings", |it| it.count("findings"))
        .text("error", |it| it.text("error"))
        .answer()
}

/// A line for each run.
pub(super) fn for_people(runs: &[Run]) -> Result<Answer, Error> {
    Columns::of(runs)
        .text("started", |it| Some(it.started_at.format("%Y-%m-%d %H:%M:%S").to_string()))
        .text("took", |it| it.duration().map(show_duration))
        .text("state", |it| Some(it.state()))
        .count("batches", |it| it.count("batches"))
        .count("blobs", |it| it.count("blobs_read"))
        .text("committed", |it| it.count("bytes_committed").map(|bytes| format!("{:>10}", show_bytes(bytes))))
        .count("rows", |it| it.count("rows"))
        .count("rejects", |it| it.count("rejects"))
        .count("requests", |it| it.count("requests"))
        .count("failures", |it| it.count("failures"))
        .count("findings", |it| it.count("findings"))
        .answer()
}
