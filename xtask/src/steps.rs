//! Named parts of a longer chore: each is announced, timed, and listed with its outcome at the end.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The parts of one chore that have been run so far.
#[derive(Default)]
pub(crate) struct Steps {
    finished: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// Runs a chore and, whether it succeeds or not, prints the time of each of its parts.
    pub(crate) fn report(chore: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut steps = Self::default();
        let outcome = chore(&mut steps);
        eprint!("\n{}", steps.table());
        outcome
    }

    /// Runs one part.
    pub(crate) fn step<T>(&mut self, name: &'static str, part: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let outcome = part();
        self.finished.push(Step { name, took: started.elapsed(), passed: outcome.is_ok() });
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        outcome
    }

    fn table(&self) -> String {
        let width = self.finished.iter().map(|it| it.name.len()).max().unwrap_or(0).max("total".len());
        let total: Duration = self.finished.iter().map(|it| it.took).sum();
        let row = |name: &str, took: Duration, word: &str| format!("{name:<width$}  {:>9}  {word}\n", seconds(took));
        let rows = self.finished.iter().map(|it| row(it.name, it.took, if it.passed { "ok" } else { "FAILED" }));
        rows.chain([row("total", total, "").trim_end().to_owned() + "\n"]).collect()
    }
}

/// A duration for people: tenths of a second below two minutes, then minutes and seconds.
pub(crate) fn seconds(took: Duration) -> String {
    if took < Duration::from_secs(120) {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_part_and_the_total() {
        let step = |name, seconds, passed| Step { name, took: Duration::from_secs(seconds), passed };
        let steps = Steps { finished: vec![step("build", 301, true), step("tests", 9, false)] };
        assert_eq!(steps.table(), "build  5 min 01 s  ok\ntests      9.0 s  FAILED\ntotal  5 min 10 s\n");
    }
}
