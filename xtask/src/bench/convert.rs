//! `cargo xtask bench convert`: from an archive to Parquet, beside DuckDB, ClickHouse and Polars.
//!
//! Everybody reads the same blobs of calls and writes the same columns. A figure counts only if the
//! results answer the same questions alike.

mod contender;
mod storage;

use std::ffi::OsString;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use self::contender::{Answers, Contender, Output};
use super::measure::{self, Measured};
use super::peers::Peers;
use super::{Bench, input, page};
use crate::azurite::Azurite;

/// An archive to convert.
struct Shape {
    name: &'static str,
    words: &'static str,
    arguments: &'static [&'static str],
    /// Disk for the archive and what is made of it.
    megabytes: u64,
}

const PLAIN: Shape = Shape {
    name: "plain",
    words: "480 blobs",
    arguments: &["--plain", "--accounts", "20", "--hours", "24", "--principals", "100", "--calls", "1158000"],
    megabytes: 2_500,
};

/// The shape of a real archive.
const SMALL: Shape = Shape {
    name: "small",
    words: "20,000 blobs",
    arguments: &["--plain", "--accounts", "139", "--hours", "144", "--principals", "500", "--calls", "1110000"],
    megabytes: 2_500,
};

const LARGE: Shape = Shape {
    name: "large",
    words: "4,800 blobs",
    arguments: &["--plain", "--accounts", "20", "--hours", "240", "--principals", "100", "--calls", "11200000"],
    megabytes: 16_000,
};

/// What one contender took on one archive.
struct Row {
    shape: &'static str,
    threads: usize,
    contender: Contender,
    bytes: u64,
    measured: Measured,
    output: Output,
}

/// Measures every shape, prints the tables and writes them if asked.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let peers = Peers::install().inspect_err(|error| eprintln!("the others are not measured: {error:#}")).ok();
    let mut shapes = vec![PLAIN, SMALL];
    if bench.options.large {
        shapes.push(LARGE);
    }
    let mut rows = Vec::new();
    for shape in &shapes {
        match measured(bench, shape, peers.as_ref()) {
            Ok(measured) => rows.extend(measured),
            Err(error) => eprintln!("the archive of {} is not measured: {error:#}", shape.words),
        }
    }
    if rows.is_empty() {
        bail!("nothing was measured");
    }
    let versions = format!("{}, {}", bench.version()?, Peers::versions());
    let mut text = markdown(&rows, &versions, bench.options.runs);
    match storage::measured(bench, peers.as_ref()) {
        Ok(rows) => text += &storage::markdown(&rows),
        Err(error) => eprintln!("reading from Azurite is not measured: {error:#}"),
    }
    page::publish("convert", &text, bench.options.write)
}

fn measured(bench: &Bench<'_>, shape: &Shape, peers: Option<&Peers>) -> Result<Vec<Row>> {
    let archive = input::archive(&bench.binary, shape.name, shape.arguments, shape.megabytes)?.join("archive");
    let bytes = input::bytes_below(&archive.join(input::CALLS))?;
    let out = super::fresh("convert")?;
    let mut rows = Vec::new();
    for threads in thread_counts() {
        let job = Job { binary: &bench.binary, source: Source::Directory(&archive), out: &out, threads, peers };
        eprintln!("{}, {threads} threads", shape.words);
        rows.extend(job.contest(shape, bytes, bench.options.runs)?);
    }
    check(&rows)?;
    input::remove(&out)?;
    Ok(rows)
}

/// Where an archive is.
enum Source<'a> {
    Directory(&'a Path),
    Azurite { azurite: &'a Azurite, sas: &'a str },
}

impl Source<'_> {
    /// What `whocalled` is given.
    fn archive(&self) -> OsString {
        match self {
            Self::Directory(path) => (*path).into(),
            Self::Azurite { azurite, sas } => format!("{}?{sas}", azurite.url()).into(),
        }
    }

    /// What the others' scripts are given, to read the blobs of calls.
    fn blobs(&self) -> OsString {
        match self {
            Self::Directory(path) => path.join(input::CALLS).into(),
            Self::Azurite { azurite, .. } => {
                format!("'{}', '{}', '**/PT1H.json'", azurite.connection_string(), input::CALLS).into()
            }
        }
    }
}

/// One archive, to be converted on so many threads.
struct Job<'a> {
    binary: &'a Path,
    source: Source<'a>,
    out: &'a Path,
    threads: usize,
    peers: Option<&'a Peers>,
}

impl Job<'_> {
    /// What each that can takes, in turn.
    fn contest(&self, shape: &Shape, bytes: u64, runs: u32) -> Result<Vec<Row>> {
        let contenders = self.fit()?;
        let turns = measure::take_turns(contenders.len(), runs, |it| contenders[it].run(self))?;
        let row = |(contender, measured): (Contender, Measured)| {
            let output = contender.output(self)?;
            Ok(Row { shape: shape.words, threads: self.threads, contender, bytes, measured, output })
        };
        contenders.into_iter().zip(turns).map(row).collect()
    }

    /// Those whose trial run succeeded; ours must.
    fn fit(&self) -> Result<Vec<Contender>> {
        let mut fit = Vec::new();
        for contender in Contender::ALL.into_iter().filter(|it| it.reads(&self.source)) {
            if contender != Contender::Whocalled && self.peers.is_none() {
                continue;
            }
            match contender.run(self) {
                Ok(_) => fit.push(contender),
                Err(error) if contender == Contender::Whocalled => return Err(error),
                Err(error) => eprintln!("{} is not measured: {error:#}", contender.name()),
            }
        }
        Ok(fit)
    }

    fn peers(&self) -> Result<&Peers> {
        self.peers.context("the others are not installed")
    }
}

/// All cores, and one.
fn thread_counts() -> Vec<usize> {
    let cores = thread::available_parallelism().map_or(1, Into::into);
    if cores > 1 { vec![cores, 1] } else { vec![1] }
}

/// Fails unless all answers are equal, save for what a contender is known to lose.
fn check(rows: &[Row]) -> Result<()> {
    let Some(ours) = rows.iter().find(|it| it.contender == Contender::Whocalled) else { return Ok(()) };
    for Row { contender, threads, output: Output { answers, .. }, .. } in rows {
        let mut expected = ours.output.answers;
        if contender.loses_callers() {
            ensure!(answers.callers < expected.callers, "{} loses no callers any more", contender.name());
            expected.callers = answers.callers;
        }
        let name = contender.name();
        ensure!(*answers == expected, "{name} on {threads} threads answers {answers:?}, whocalled {expected:?}");
    }
    Ok(())
}

fn markdown(rows: &[Row], versions: &str, runs: u32) -> String {
    let mut text = page::conditions(versions, runs);
    let quickest = |row: &Row| {
        let comparable = rows.iter().filter(|it| it.shape == row.shape && it.threads == row.threads);
        comparable.filter(|it| it.contender.is_duckdb()).min_by_key(|it| it.measured.median())
    };
    let line = |row: &Row| {
        let Row { contender, measured, bytes, output: Output { answers, .. }, .. } = row;
        let theirs = quickest(row);
        let loses = contender.loses_callers().then(|| lost(rows, answers)).flatten();
        [
            format!("{:.2} GB in {}", *bytes as f64 / 1e9, row.shape),
            row.threads.to_string(),
            contender.name().to_owned(),
            measured.seconds(),
            format!("{:.0}", measured.megabytes_per_second(*bytes)),
            theirs.map_or(String::new(), |it| measured.times(&it.measured)),
            format!("{:.2}", measured.cpu().as_secs_f64()),
            measured.peak_mebibytes(),
            loses.unwrap_or("equal".to_owned()),
        ]
    };
    text += &page::table(
        [
            "archive",
            "threads",
            "converter",
            "seconds (min to max)",
            "MB/s",
            "× DuckDB's quickest",
            "CPU s",
            "peak MiB",
            "answers",
        ],
        &rows.iter().map(line).collect::<Vec<_>>(),
    );
    text += "\nSizes, in MB for a million calls:\n\n";
    let size = |row: &Row| {
        let Output { answers, bytes, shared_bytes } = row.output;
        let per_million =
            |bytes: Option<u64>| bytes.map_or(String::new(), |it| format!("{:.1}", it as f64 / answers.rows as f64));
        [row.shape.to_owned(), row.contender.name().to_owned(), per_million(Some(bytes)), per_million(shared_bytes)]
    };
    let most_threads = thread_counts()[0];
    text += &page::table(
        ["archive", "converter", "Parquet files", "of these, the columns that all have"],
        &rows.iter().filter(|it| it.threads == most_threads).map(size).collect::<Vec<_>>(),
    );
    text
}

/// How many callers are missing, beside ours.
fn lost(rows: &[Row], answers: &Answers) -> Option<String> {
    let of_ours = |it: &&Row| it.contender == Contender::Whocalled && it.output.answers.rows == answers.rows;
    let ours = rows.iter().find(of_ours)?.output.answers;
    let share = (ours.callers - answers.callers) as f64 * 100.0 / ours.callers as f64;
    Some(format!("equal, but {share:.0} % of the callers are lost"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::measure::Run;

    fn row(contender: Contender, seconds: u64, callers: u64) -> Row {
        let run = Run {
            took: Duration::from_secs(seconds),
            cpu: Duration::from_secs(seconds),
            peak_bytes: Some(64 << 20),
            stdout: String::new(),
        };
        let answers =
            Answers { rows: 2_000_000, duration_ms: 9, request_bytes: 8, object_ids: 7, correlation_ids: 6, callers };
        Row {
            shape: "480 blobs",
            threads: thread_counts()[0],
            contender,
            bytes: 2_000_000_000,
            measured: Measured::new(vec![run]),
            output: Output { answers, bytes: 100_000_000, shared_bytes: Some(80_000_000) },
        }
    }

    #[test]
    fn rates_are_compared_with_the_quicker_of_duckdbs_ways() {
        let rows = [
            row(Contender::Whocalled, 2, 100),
            row(Contender::DuckDbColumns, 4, 85),
            row(Contender::DuckDbObjects, 5, 100),
        ];
        check(&rows).unwrap();
        let text = markdown(&rows, "v", 1);
        let cells = "2.00 (2.00 to 2.00) | 1000 | 2.00 | 2.00 | 64 | equal |\n";
        assert!(text.contains(cells), "{text}");
        assert!(text.contains(" | 1.00 | 4.00 | 64 | equal, but 15 % of the callers are lost |\n"), "{text}");
        assert!(text.contains("| 480 blobs | whocalled, to a lake | 50.0 | 40.0 |\n"), "{text}");
    }

    #[test]
    fn other_answers_fail() {
        let rows = [row(Contender::Whocalled, 2, 100), row(Contender::Polars, 4, 99)];
        assert!(check(&rows).unwrap_err().to_string().starts_with("Polars, streaming on "));
        let rows = [row(Contender::Whocalled, 2, 100), row(Contender::DuckDbColumns, 4, 100)];
        assert!(check(&rows).is_err(), "the footnote is out of date");
    }
}
