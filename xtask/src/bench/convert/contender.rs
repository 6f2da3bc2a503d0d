//! Who converts, how each is run, and what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Job, Source};
use crate::bench::input;
use crate::bench::measure::{self, Run};
use crate::bench::peers::{self, Peers};

const DUCKDB: &str = include_str!("../peers/convert_duckdb.py");
const CLICKHOUSE: &str = include_str!("../peers/convert_clickhouse.py");
const POLARS: &str = include_str!("../peers/convert_polars.py");
const ANSWERS: &str = include_str!("../peers/answers.py");

/// Empty texts are no answer, as in the lake, where they are NULL.
const OUR_ANSWERS: &str = "SELECT count(*), sum(duration_ms), sum(request_bytes), count(object_id), \
                           count(DISTINCT correlation_id), count(caller_ip) FROM request_response";

/// One way from an archive to Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    Whocalled,
    DuckDbColumns,
    DuckDbObjects,
    ClickHouse,
    Polars,
}

/// What a result answers to the questions put to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) rows: u64,
    pub(super) duration_ms: u64,
    pub(super) request_bytes: u64,
    pub(super) object_ids: u64,
    pub(super) correlation_ids: u64,
    pub(super) callers: u64,
}

/// What came out.
pub(super) struct Output {
    pub(super) answers: Answers,
    /// Of the Parquet files.
    pub(super) bytes: u64,
    /// Of these, compressed, in the columns that everybody has; unknown without DuckDB to ask.
    pub(super) shared_bytes: Option<u64>,
}

impl Contender {
    /// Ours first.
    pub(super) const ALL: [Self; 5] =
        [Self::Whocalled, Self::DuckDbColumns, Self::DuckDbObjects, Self::ClickHouse, Self::Polars];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whocalled => "whocalled, to a lake",
            Self::DuckDbColumns => "DuckDB, declared columns",
            Self::DuckDbObjects => "DuckDB, fields by path",
            Self::ClickHouse => "ClickHouse, tuple",
            Self::Polars => "Polars, streaming",
        }
    }

    pub(super) fn is_duckdb(self) -> bool {
        matches!(self, Self::DuckDbColumns | Self::DuckDbObjects)
    }

    /// Whether it drops the callers whose field is spelled in the other way.
    pub(super) fn loses_callers(self) -> bool {
        self == Self::DuckDbColumns
    }

    /// Whether it can be asked to read from there.
    pub(super) fn reads(self, source: &Source<'_>) -> bool {
        match source {
            Source::Directory(_) => true,
            // The others would need a file system in Python between them and the blobs.
            Source::Azurite { .. } => matches!(self, Self::Whocalled | Self::ClickHouse),
        }
    }

    /// Converts once, to where nothing is.
    pub(super) fn run(self, job: &Job<'_>) -> Result<Run> {
        let target = self.target(job.out);
        if target.is_dir() {
            input::remove(&target)?;
        } else if target.exists() {
            fs::remove_file(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        measure::once(&mut self.command(job, &target)?)
    }

    fn command(self, job: &Job<'_>, target: &Path) -> Result<Command> {
        let (blobs, threads) = (job.source.blobs(), job.threads.to_string());
        Ok(match self {
            Self::Whocalled => {
                let mut command = Command::new(job.binary);
                command.args(["convert", "--quiet", "--container", input::CALLS, "--threads", &threads]);
                command.arg("--lake").arg(target).arg(job.source.archive());
                command
            }
            Self::DuckDbColumns | Self::DuckDbObjects => {
                let mut command = job.peers()?.command(DUCKDB);
                command.arg(if self == Self::DuckDbColumns { "columns" } else { "objects" });
                command.arg(blobs).arg(target).arg(threads);
                command
            }
            Self::ClickHouse => {
                let mut command = job.peers()?.command(CLICKHOUSE);
                command.arg(blobs).arg(target).arg(threads);
                command
            }
            Self::Polars => {
                let mut command = job.peers()?.command(POLARS);
                command.arg(blobs).arg(target).env("POLARS_MAX_THREADS", threads);
                command
            }
        })
    }

    fn target(self, out: &Path) -> PathBuf {
        out.join(match self {
            Self::Whocalled => "lake",
            Self::DuckDbColumns => "duckdb-columns.parquet",
            Self::DuckDbObjects => "duckdb-objects.parquet",
            Self::ClickHouse => "clickhouse.parquet",
            Self::Polars => "polars.parquet",
        })
    }

    /// What the last run made.
    pub(super) fn output(self, job: &Job<'_>) -> Result<Output> {
        let target = self.target(job.out);
        if self != Self::Whocalled {
            return asked(job.peers()?, "theirs", &target.display().to_string());
        }
        let mut sql = Command::new(job.binary);
        sql.args(["sql", "--quiet", "--format", "csv", "-c", OUR_ANSWERS, "--lake"]).arg(&target);
        let told = measure::once(&mut sql)?.stdout;
        let answers = parsed(&told).with_context(|| format!("no answers: {told}"))?;
        let table = peers::parquet_files(&target, "request_response");
        let sized = job.peers.map(|it| asked(it, "ours", &table)).transpose()?;
        let bytes = input::bytes_below(&target.join("request_response"))?;
        Ok(Output { answers, bytes, shared_bytes: sized.and_then(|it| it.shared_bytes) })
    }
}

fn asked(peers: &Peers, whose: &str, files: &str) -> Result<Output> {
    let numbers = peers.numbers(ANSWERS, &[whose, files])?;
    let [answers @ .., bytes, shared_bytes] = &numbers[..] else {
        anyhow::bail!("{files} gave {} answers", numbers.len());
    };
    let answers = answers_of(answers).with_context(|| format!("{files} gave other answers"))?;
    Ok(Output { answers, bytes: *bytes, shared_bytes: Some(*shared_bytes) })
}

/// The line after the head of a CSV.
fn parsed(csv: &str) -> Option<Answers> {
    let numbers: Result<Vec<u64>, _> = csv.lines().nth(1)?.split(',').map(|it| it.trim().parse()).collect();
    answers_of(&numbers.ok()?)
}

fn answers_of(numbers: &[u64]) -> Option<Answers> {
    let &[rows, duration_ms, request_bytes, object_ids, correlation_ids, callers] = numbers else { return None };
    Some(Answers { rows, duration_ms, request_bytes, object_ids, correlation_ids, callers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_csv() {
        let answers = parsed("a,b,c,d,e,f\n6,5,4,3,2,1\n").unwrap();
        assert_eq!((answers.rows, answers.correlation_ids, answers.callers), (6, 2, 1));
        assert_eq!(parsed("a,b\n1,2\n"), None);
    }
}
