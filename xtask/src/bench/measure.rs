//! Running a command several times and taking its time, CPU time and peak memory.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use crate::cargo;

/// What one run took, and what it printed.
pub(super) struct Run {
    /// From start to exit.
    pub(super) took: Duration,
    /// User and system time of the process alone, whatever served it.
    pub(super) cpu: Duration,
    /// The most memory it had resident; nothing where the system does not say.
    pub(super) peak_bytes: Option<u64>,
    pub(super) stdout: String,
}

/// What several runs of one command took.
pub(super) struct Measured {
    name: String,
    /// Shortest first.
    runs: Vec<Run>,
}

impl Measured {
    /// The head of the table whose lines [`Measured::row`] makes.
    pub(super) const HEADER: &str = "what                             median s     min     max    MB/s  peak MiB";

    pub(super) fn new(name: impl Into<String>, mut runs: Vec<Run>) -> Self {
        runs.sort_unstable_by_key(|it| it.took);
        Self { name: name.into(), runs }
    }

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

    pub(super) fn median(&self) -> Duration {
        self.at(self.runs.len() / 2)
    }

    pub(super) fn shortest(&self) -> Duration {
        self.at(0)
    }

    pub(super) fn longest(&self) -> Duration {
        self.at(self.runs.len().saturating_sub(1))
    }

    /// The median of the runs' CPU times.
    pub(super) fn cpu(&self) -> Duration {
        let mut times: Vec<_> = self.runs.iter().map(|it| it.cpu).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// The most memory that any run had resident, in MiB, or that this is unknown.
    pub(super) fn peak_mebibytes(&self) -> String {
        let peak = self.runs.iter().filter_map(|it| it.peak_bytes).max();
        peak.map_or("unknown".to_owned(), |it| (it / 1024 / 1024).to_string())
    }

    fn at(&self, index: usize) -> Duration {
        self.runs.get(index).map(|it| it.took).unwrap_or_default()
    }

    fn line(&self, rate: &str) -> String {
        format!(
            "{:<32} {:>8.2} {:>7.2} {:>7.2} {rate:>7} {:>9}",
            self.name,
            self.median().as_secs_f64(),
            self.shortest().as_secs_f64(),
            self.longest().as_secs_f64(),
            self.peak_mebibytes(),
        )
    }
}

/// Runs a command `runs` times, after preparing each run outside the time taken.
pub(super) fn median(
    name: &str,
    runs: u32,
    prepare: impl Fn() -> Result<()>,
    command: impl Fn() -> Command,
) -> Result<Measured> {
    let measure = || {
        prepare()?;
        once(&mut command())
    };
    Ok(Measured::new(name, (0..runs).map(|_| measure()).collect::<Result<_>>()?))
}

/// Runs a command to its end; anything but success is an error, with what it wrote to standard error.
///
/// On Linux a process inherits the peak of the one that starts it, so the runner itself stays small.
pub(super) fn once(command: &mut Command) -> Result<Run> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("`{}` could not be started", cargo::line(command)))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (ended, stdout, stderr) = thread::scope(|scope| {
        let stdout = scope.spawn(|| text(stdout));
        let stderr = scope.spawn(|| text(stderr));
        let ended = child.wait4().map(|it| (it, started.elapsed()));
        (ended, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    let (ended, took) = ended.with_context(|| format!("waiting for `{}` failed", cargo::line(command)))?;
    if !ended.status.success() {
        bail!("`{}` failed with {}: {}", cargo::line(command), ended.status, stderr.trim());
    }
    let usage = ended.rusage;
    let peak_bytes = (usage.maxrss > 0).then_some(usage.maxrss);
    Ok(Run { took, cpu: usage.utime + usage.stime, peak_bytes, stdout })
}

/// All that comes out of a pipe; a pipe that breaks ends what is told, not the run.
fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    let _read: io::Result<usize> = pipe.map_or(Ok(0), |mut it| it.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_median_range_rate_and_peak() {
        let run = |seconds| Run {
            took: Duration::from_secs(seconds),
            cpu: Duration::from_secs(seconds),
            peak_bytes: Some(300 << 20),
            stdout: String::new(),
        };
        let measured = Measured::new("convert", [5, 2, 4].map(run).into());
        let row = measured.row(800_000_000);
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["convert", "4.00", "2.00", "5.00", "200", "300"]);
        assert_eq!(row.len(), Measured::HEADER.len());
        assert_eq!(measured.cpu(), Duration::from_secs(4));
    }

    #[test]
    fn a_run_tells_what_was_printed_and_a_failed_one_why() {
        let cargo = |argument: &str| once(cargo::cargo().arg(argument));
        assert!(cargo("--version").is_ok_and(|run| run.stdout.starts_with("cargo ")));
        let failed = cargo("--no-such-option").err().map(|it| it.to_string()).unwrap_or_default();
        assert!(failed.contains("--no-such-option` failed with"), "{failed}");
    }
}
