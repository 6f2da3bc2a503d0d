//! `cargo xtask bench growth`: how time and memory grow with rows, blobs, candidates and days.
//!
//! Each input is several times the one before it in one respect, and the same in others. Time that
//! grows faster than the input is a defect.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::measure::{self, Measured};
use super::{Bench, input, page};

/// Sizes of an input, as `simulate` takes them.
struct Size {
    /// What grows, for the table.
    count: u64,
    accounts: u32,
    hours: u32,
    principals: u32,
    grants: u64,
    calls: u64,
    /// Disk that the archive takes.
    megabytes: u64,
}

/// The day on which every simulation begins.
const DAY: &str = "2026-11-02";

const ROWS: [Size; 3] = [rows(115_800, 300), rows(1_158_000, 2_500), rows(11_580_000, 25_000)];
const BLOBS: [Size; 5] =
    [blobs(1, 1, 1), blobs(100, 10, 10), blobs(1_000, 20, 50), blobs(10_000, 50, 200), blobs(50_000, 250, 200)];
const CANDIDATES: [Size; 4] = [candidates(1), candidates(10), candidates(100), candidates(1_000)];
const DAYS: [Size; 4] = [days(1), days(10), days(100), days(365)];

const fn rows(calls: u64, megabytes: u64) -> Size {
    Size { count: calls, accounts: 20, hours: 24, principals: 100, grants: 0, calls, megabytes }
}

const fn blobs(count: u64, accounts: u32, hours: u32) -> Size {
    Size { count, accounts, hours, principals: 100, grants: 0, calls: 300_000, megabytes: 2_000 }
}

/// One account, of which everybody obtains keys several times.
const fn candidates(count: u32) -> Size {
    Size {
        count: count as u64,
        accounts: 1,
        hours: 48,
        principals: count,
        grants: 4 * count as u64,
        calls: 200_000,
        megabytes: 500,
    }
}

const fn days(count: u32) -> Size {
    Size {
        count: count as u64,
        accounts: 1,
        hours: 24 * count,
        principals: 20,
        grants: 0,
        calls: 2_000 * count as u64,
        megabytes: 2_000,
    }
}

/// Measures and prints the tables, and writes them if asked.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let mut text = page::conditions(&bench.version()?, bench.options.runs);
    let rows = if bench.options.large { &ROWS[..] } else { &ROWS[..2] };
    text += "Converting the calls of one day, by how many there are:\n\n";
    text += &converting(bench, "rows", "calls", rows)?;
    text += "\nConverting 300,000 calls, by how many blobs they are in:\n\n";
    text += &converting(bench, "blobs", "blobs", &BLOBS)?;
    text += "\n`attributed_calls` of 200,000 calls to one account, counted and summed by principal, by how many principals \
             obtained its keys:\n\n";
    let question = "SELECT principal_id, count(*), sum(confidence) FROM attributed_calls GROUP BY principal_id";
    text += &asking(bench, "candidates", "principals", &CANDIDATES, &["sql", "--quiet", "-c", question, "--lake"])?;
    text += "\nThe report `attribution` of the first day, at 2,000 calls a day, by how many days the lake has:\n\n";
    let report = ["report", "attribution", "--quiet", "--from", DAY, "--to", DAY, "--lake"];
    text += &asking(bench, "days", "days", &DAYS, &report)?;
    page::publish("growth", &text, bench.options.write)
}

fn simulated(bench: &Bench<'_>, what: &str, size: &Size) -> Result<PathBuf> {
    let [accounts, hours, principals] = [size.accounts, size.hours, size.principals].map(|it| it.to_string());
    let [grants, calls] = [size.grants, size.calls].map(|it| it.to_string());
    let arguments = [
        "--plain",
        "--accounts",
        &accounts,
        "--hours",
        &hours,
        "--principals",
        &principals,
        "--grants",
        &grants,
        "--calls",
        &calls,
    ];
    input::archive(&bench.binary, &format!("growth/{what}-{}", size.count), &arguments, size.megabytes)
}

/// The container of calls, to a new lake each time.
fn converting(bench: &Bench<'_>, what: &str, unit: &str, sizes: &[Size]) -> Result<String> {
    let measured = sizes.iter().map(|size| {
        let archive = simulated(bench, what, size)?.join("archive");
        measure::alone(bench.options.runs, || {
            let lake = super::fresh("growth-lake")?;
            input::remove(&lake)?;
            convert(bench, &archive, &lake, &["--container", input::CALLS])
        })
    });
    table(unit, sizes, &measured.collect::<Result<Vec<_>>>()?)
}

/// A question to lakes that are made once.
fn asking(bench: &Bench<'_>, what: &str, unit: &str, sizes: &[Size], question: &[&str]) -> Result<String> {
    let measured = sizes.iter().map(|size| {
        let directory = simulated(bench, what, size)?;
        let lake = directory.join("lake");
        if !lake.exists() {
            convert(bench, &directory.join("archive"), &lake, &[])?;
            measure::once(Command::new(&bench.binary).args(["optimize", "--quiet", "--lake"]).arg(&lake))?;
        }
        // What grows is what a query computes where nothing was computed for it.
        input::remove(&lake.join("_views"))?;
        measure::alone(bench.options.runs, || measure::once(Command::new(&bench.binary).args(question).arg(&lake)))
    });
    table(unit, sizes, &measured.collect::<Result<Vec<_>>>()?)
}

fn convert(bench: &Bench<'_>, archive: &Path, lake: &Path, only: &[&str]) -> Result<measure::Run> {
    measure::once(Command::new(&bench.binary).args(["convert", "--quiet", "--lake"]).arg(lake).args(only).arg(archive))
}

/// The last column: how the time grew beside how the input did. One is linear, less is better.
fn table(unit: &str, sizes: &[Size], measured: &[Measured]) -> Result<String> {
    let row = |(index, (size, took)): (usize, (&Size, &Measured))| {
        let before = index.checked_sub(1).and_then(|it| Some((sizes.get(it)?, measured.get(it)?)));
        let growth = before.map_or(String::new(), |(smaller, quicker)| {
            let times = took.median().as_secs_f64() / quicker.median().as_secs_f64();
            format!("{:.2}", times / (size.count as f64 / smaller.count as f64))
        });
        [size.count.to_string(), took.seconds(), took.peak_mebibytes(), growth]
    };
    let rows: Vec<_> = sizes.iter().zip(measured).enumerate().map(row).collect();
    Ok(page::table([unit, "seconds (min to max)", "peak MiB", "growth of time ÷ growth of input"], &rows))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn growth_is_that_of_time_beside_that_of_the_input() {
        let measured = [2, 10].map(|seconds| {
            Measured::new(vec![measure::Run {
                took: Duration::from_secs(seconds),
                cpu: Duration::from_secs(seconds),
                peak_bytes: Some(5 << 20),
                stdout: String::new(),
            }])
        });
        let table = table("days", &[days(10), days(100)], &measured).unwrap();
        assert!(
            table.ends_with("| 10 | 2.00 (2.00 to 2.00) | 5 |  |\n| 100 | 10.00 (10.00 to 10.00) | 5 | 0.50 |\n"),
            "{table}"
        );
    }
}
