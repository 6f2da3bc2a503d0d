//! Running a command several times and taking its time and peak memory.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// What several runs of one command took.
pub(super) struct Measured {
    name: &'static str,
    /// Wall times from start to exit, shortest first.
    times: Vec<Duration>,
    /// The most memory any run had resident, where the system can say.
    peak_kibibytes: Option<u64>,
}

impl Measured {
    /// The head of the table whose lines [`Measured::row`] makes.
    pub(super) const HEADER: &str = "what                             median s     min     max    MB/s  peak MiB";

    /// A line of the table, with the rate at which that much input was worked through.
    pub(super) fn row(&self, bytes: u64) -> String {
        self.line(&format!("{:.0}", self.megabytes_per_second(bytes)))
    }

    /// A line of the table for a command that does not work through all of its input.
    pub(super) fn row_without_rate(&self) -> String {
        self.line("-")
    }

    /// Megabytes (of 1,000,000 bytes) a second, in the median run.
    pub(super) fn megabytes_per_second(&self, bytes: u64) -> f64 {
        // Exact up to 2^53 bytes.
        bytes as f64 / 1e6 / self.median().as_secs_f64()
    }

    fn line(&self, rate: &str) -> String {
        let at = |index: usize| self.times.get(index).copied().unwrap_or_default().as_secs_f64();
        let peak = self.peak_kibibytes.map_or("unknown".to_owned(), |it| (it / 1024).to_string());
        format!(
            "{:<32} {:>8.2} {:>7.2} {:>7.2} {rate:>7} {peak:>9}",
            self.name,
            self.median().as_secs_f64(),
            at(0),
            at(self.times.len().saturating_sub(1)),
        )
    }

    fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }
}

/// Runs a command `runs` times, after preparing each run outside the time taken.
pub(super) fn median(
    name: &'static str,
    runs: u32,
    prepare: impl Fn() -> Result<()>,
    command: impl Fn() -> Command,
) -> Result<Measured> {
    let timer = Timer::find();
    let mut measured = Measured { name, times: Vec::new(), peak_kibibytes: None };
    for _ in 0..runs {
        prepare()?;
        let mut command = timer.wrap(&command());
        let started = Instant::now();
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let took = started.elapsed();
        let output = output.with_context(|| format!("`{}` could not be started", cargo::line(&command)))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", cargo::line(&command), String::from_utf8_lossy(&output.stderr).trim());
        }
        measured.times.push(took);
        measured.peak_kibibytes = measured.peak_kibibytes.max(timer.peak_kibibytes());
    }
    measured.times.sort_unstable();
    Ok(measured)
}

/// GNU time, which knows the peak memory of a process; std does not.
struct Timer {
    report: Option<PathBuf>,
}

impl Timer {
    const PROGRAM: &str = "/usr/bin/time";

    fn find() -> Self {
        let is_gnu = cargo::probe(Self::PROGRAM, "--version").is_some();
        Self { report: is_gnu.then(|| cargo::root().join("target/bench/peak-memory")) }
    }

    fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = match &self.report {
            None => Command::new(command.get_program()),
            Some(report) => {
                let mut time = Command::new(Self::PROGRAM);
                time.args(["--format", "%M", "--output"]).arg(report).arg(command.get_program());
                time
            }
        };
        wrapped.args(command.get_args());
        wrapped
    }

    fn peak_kibibytes(&self) -> Option<u64> {
        fs::read_to_string(self.report.as_ref()?).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_median_range_rate_and_peak() {
        let times = [2, 4, 5].map(Duration::from_secs).to_vec();
        let measured = Measured { name: "convert", times, peak_kibibytes: Some(300 * 1024) };
        let row = measured.row(800_000_000);
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["convert", "4.00", "2.00", "5.00", "200", "300"]);
        assert_eq!(row.len(), Measured::HEADER.len());
    }
}
