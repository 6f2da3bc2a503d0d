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
    /// Shortest first.
    runs: Vec<Run>,
}

impl Measured {
    pub(super) fn new(mut runs: Vec<Run>) -> Self {
        runs.sort_unstable_by_key(|it| it.took);
        Self { runs }
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

    /// Median, shortest and longest, in seconds.
    pub(super) fn seconds(&self) -> String {
        let [median, shortest, longest] =
            [self.median(), self.shortest(), self.longest()].map(|it| format!("{:.2}", it.as_secs_f64()));
        format!("{median} ({shortest} to {longest})")
    }

    /// The same in milliseconds.
    pub(super) fn milliseconds(&self) -> String {
        let [median, shortest, longest] =
            [self.median(), self.shortest(), self.longest()].map(|it| format!("{:.0}", it.as_secs_f64() * 1e3));
        format!("{median} ({shortest} to {longest})")
    }

    /// How many times as fast as another, by the medians.
    pub(super) fn times(&self, other: &Self) -> String {
        format!("{:.2}", other.median().as_secs_f64() / self.median().as_secs_f64())
    }
}

/// Runs everything in turn, so that whatever else the machine does meets all of them. `run` is given
/// the place of what to run.
pub(super) fn take_turns(
    contenders: usize,
    runs: u32,
    mut run: impl FnMut(usize) -> Result<Run>,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Vec<Run>> = (0..contenders).map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (contender, runs) in measured.iter_mut().enumerate() {
            runs.push(run(contender)?);
        }
    }
    Ok(measured.into_iter().map(Measured::new).collect())
}

/// Runs one command several times, after a trial.
pub(super) fn alone(runs: u32, mut run: impl FnMut() -> Result<Run>) -> Result<Measured> {
    run()?;
    Ok(Measured::new((0..runs).map(|_| run()).collect::<Result<_>>()?))
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

    fn run(seconds: u64) -> Run {
        Run {
            took: Duration::from_secs(seconds),
            cpu: Duration::from_secs(seconds),
            peak_bytes: Some(seconds << 20),
            stdout: String::new(),
        }
    }

    #[test]
    fn the_median_counts_and_the_highest_peak() {
        let measured = Measured::new([5, 2, 4].map(run).into());
        assert_eq!(measured.seconds(), "4.00 (2.00 to 5.00)");
        assert_eq!(measured.milliseconds(), "4000 (2000 to 5000)");
        assert_eq!(measured.cpu(), Duration::from_secs(4));
        assert_eq!(measured.peak_mebibytes(), "5");
        assert_eq!(format!("{:.0}", measured.megabytes_per_second(800_000_000)), "200");
        assert_eq!(measured.times(&Measured::new(vec![run(6)])), "1.50");
    }

    #[test]
    fn contenders_take_turns() {
        let mut order = Vec::new();
        let measured = take_turns(2, 2, |contender| {
            order.push(contender);
            Ok(run(order.len() as u64))
        });
        assert_eq!(order, [0, 1, 0, 1]);
        let longest: Vec<_> = measured.unwrap().iter().map(|it| it.longest().as_secs()).collect();
        assert_eq!(longest, [3, 4]);
    }

    #[test]
    fn a_run_tells_what_was_printed_and_a_failed_one_why() {
        let cargo = |argument: &str| once(cargo::cargo().arg(argument));
        assert!(cargo("--version").is_ok_and(|run| run.stdout.starts_with("cargo ")));
        let failed = cargo("--no-such-option").err().map(|it| it.to_string()).unwrap_or_default();
        assert!(failed.contains("--no-such-option` failed with"), "{failed}");
    }
}
