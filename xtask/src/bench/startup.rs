//! `cargo xtask bench startup`: how long the binary takes to do next to nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::measure::{self, Measured};
use super::{Bench, input, page};

/// What takes milliseconds is run more often.
const RUNS_MIN: u32 = 20;
const COMMITS: usize = 1_000;

/// Measures and prints the table, and writes it if asked.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let runs = bench.options.runs.max(RUNS_MIN);
    let empty = input::kept("lake-empty", &["1"], 10, |directory| empty_lake(&bench.binary, directory))?;
    let grown = input::kept("lake-of-commits", &[&COMMITS.to_string()], 1_000, |directory| {
        grown_lake(&bench.binary, directory)
    })?;
    let select = |lake: &Path| {
        let mut command = Command::new(&bench.binary);
        command.args(["sql", "-c", "SELECT 1", "--lake"]).arg(lake.join("lake"));
        command
    };
    let version = || {
        let mut command = Command::new(&bench.binary);
        command.arg("--version");
        command
    };
    let many = format!("`sql -c 'SELECT 1'`, lake with {COMMITS} commits");
    let rows = [
        ("`--version`", measure::alone(runs, || measure::once(&mut version()))?),
        ("`sql -c 'SELECT 1'`, empty lake", measure::alone(runs, || measure::once(&mut select(&empty)))?),
        (&many, measure::alone(runs, || measure::once(&mut select(&grown)))?),
    ];
    let row =
        |(what, measured): &(&str, Measured)| [(*what).to_owned(), measured.milliseconds(), measured.peak_mebibytes()];
    let mut text = page::conditions(&bench.version()?, runs);
    text += &page::table(["what", "ms (min to max)", "peak MiB"], &rows.each_ref().map(row));
    page::publish("startup", &text, bench.options.write)
}

/// A lake whose tables have no rows: its archive has a container without blobs.
fn empty_lake(binary: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory.join("archive/insights-logs-trace"))?;
    convert(binary, &directory.join("archive"), &directory.join("lake"))
}

/// A lake into which one blob went record by record, a commit each.
fn grown_lake(binary: &Path, directory: &Path) -> Result<()> {
    let calls = (COMMITS + 100).to_string();
    let simulated = directory.join("simulated");
    input::simulate(binary, &["--plain", "--accounts", "1", "--hours", "1", "--calls", &calls], &simulated)?;
    let blob = blob_below(&simulated.join("archive").join(input::CALLS))?;
    let name = blob.strip_prefix(&simulated).context("a blob is below its archive")?;
    let text = fs::read_to_string(&blob).with_context(|| format!("cannot read {}", blob.display()))?;
    let lines: Vec<_> = text.split_inclusive('\n').take(COMMITS).collect();
    ensure!(lines.len() == COMMITS, "the simulated blob has {} records only", lines.len());
    let growing = directory.join(name);
    fs::create_dir_all(growing.parent().context("a blob has a directory")?)?;
    let mut bytes = 0;
    for line in lines {
        bytes += line.len();
        fs::write(&growing, &text[..bytes]).with_context(|| format!("cannot write {}", growing.display()))?;
        convert(binary, &directory.join("archive"), &directory.join("lake"))?;
    }
    input::remove(&simulated)
}

fn convert(binary: &Path, archive: &Path, lake: &Path) -> Result<()> {
    measure::once(Command::new(binary).args(["convert", "--quiet", "--lake"]).arg(lake).arg(archive))?;
    Ok(())
}

/// The first file, going down.
fn blob_below(directory: &Path) -> Result<PathBuf> {
    let mut path = directory.to_owned();
    while path.is_dir() {
        let mut entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        path = entries.next().with_context(|| format!("{} is empty", path.display()))??.path();
    }
    Ok(path)
}
