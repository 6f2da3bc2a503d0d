//! `cargo xtask bench`: whole runs of the release binary, timed from start to exit, beside DuckDB and
//! rclone.
//!
//! Times are medians, with the fastest and the slowest run beside them; nothing is asserted. The
//! page cache is warm, because the input has just been written.

mod duckdb;
mod fetch;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use self::measure::Measured;
use crate::cargo::{self, Profile};

/// A RequestResponse record takes about this many bytes in the simulated archive, others included.
const BYTES_PER_CALL: u64 = 900;

const QUERIES: [(&str, &str); 3] = [
    ("sql: count", "SELECT count(*) FROM request_response"),
    (
        "sql: by account and operation",
        "SELECT account, operation, count(*), sum(duration_ms) FROM request_response GROUP BY account, operation",
    ),
    ("sql: tiers of all calls", "SELECT tier, count(*), avg(confidence) FROM attributed_calls GROUP BY tier"),
];

/// What to time, on how much.
#[derive(Args)]
pub(crate) struct Options {
    /// What to time; everything when left out
    #[arg(value_enum)]
    what: Vec<What>,
    /// The size of the simulated archive, about, in megabytes (of 1,000,000 bytes)
    #[arg(long, default_value_t = 200)]
    megabytes: u64,
    /// How often each is run; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Time this binary instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    fetch: fetch::FetchOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Copying archives of three shapes from Azurite and from a static server, beside rclone
    Fetch,
    /// Writing a simulated archive
    Simulate,
    /// From archive to lake, and the same input through DuckDB
    Convert,
    /// Queries on the lake
    Query,
}

/// Builds the release binary, makes archives and prints a line for each thing timed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| format!("there is no {}", path.display()))?,
        None => {
            eprintln!("A first release build takes over 20 minutes on two cores.");
            cargo::build_whocalled(Profile::Release)?
        }
    };
    let bench = Bench { binary, directory: fresh("target/bench")?, options };
    let wanted = |what| options.what.is_empty() || options.what.contains(&what);
    if wanted(What::Fetch) {
        fetch::run(&options.fetch, &bench.binary, options.runs, &fresh("target/bench/fetch")?)?;
    }
    if [What::Simulate, What::Convert, What::Query].into_iter().any(wanted) {
        bench.tenant(wanted)?;
    }
    Ok(())
}

struct Bench<'a> {
    binary: PathBuf,
    directory: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    /// What is timed on a simulated archive.
    fn tenant(&self, wanted: impl Fn(What) -> bool) -> Result<()> {
        cargo::run(&mut self.simulate("tenant"))?;
        let archive_bytes = bytes_below(&self.directory.join("tenant/archive"))?;
        eprintln!("simulated archive: {} MB; {} runs each\n", archive_bytes / 1_000_000, self.options.runs);
        println!("{}", Measured::HEADER);

        if wanted(What::Simulate) {
            let (prepare, run) = (|| self.remove("again"), || self.simulate("again"));
            println!("{}", measure::median("simulate", self.options.runs, prepare, run)?.row(archive_bytes));
        }
        if wanted(What::Convert) {
            self.convert(archive_bytes)?;
        }
        if wanted(What::Query) {
            self.query()?;
        }
        Ok(())
    }

    fn simulate(&self, name: &str) -> Command {
        let calls = (self.options.megabytes * 1_000_000 / BYTES_PER_CALL).max(1);
        let mut command = Command::new(&self.binary);
        command.args(["simulate", "--seed", "1", "--accounts", "20", "--hours", "24", "--principals", "100"]);
        command.args(["--calls", &calls.to_string(), "--out"]).arg(self.directory.join(name));
        command
    }

    fn convert_command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("convert").arg(self.directory.join("tenant")).arg("--lake").arg(self.directory.join("lake"));
        command
    }

    fn convert(&self, archive_bytes: u64) -> Result<()> {
        let (prepare, run) = (|| self.remove("lake"), || self.convert_command());
        let ours = measure::median("convert (all categories)", self.options.runs, prepare, run)?;
        println!("{}", ours.row(archive_bytes));

        match self.duckdb() {
            Ok((theirs, bytes)) => {
                println!("{}", theirs.row(bytes));
                let ratio = ours.megabytes_per_second(archive_bytes) / theirs.megabytes_per_second(bytes);
                println!(
                    "convert runs at {ratio:.2} times DuckDB's MB/s; DuckDB leaves values as text, skips blobs that are \
                     not JSON Lines, and keeps neither positions nor rejects nor provenance"
                );
            }
            Err(error) => println!("DuckDB was not measured: {error:#}"),
        }
        Ok(())
    }

    /// DuckDB on the RequestResponse part of the archive, and how many bytes that is.
    fn duckdb(&self) -> Result<(Measured, u64)> {
        let python = duckdb::install(&self.directory)?;
        let calls = self.directory.join("tenant/archive/insights-logs-requestresponse");
        let out = self.directory.join("duckdb.parquet");
        let run = || duckdb::convert(&python, &calls, &out);
        let measured = measure::median("DuckDB (RequestResponse only)", self.options.runs, || Ok(()), run)?;
        Ok((measured, bytes_below(&calls)?))
    }

    fn query(&self) -> Result<()> {
        if !self.directory.join("lake").exists() {
            cargo::run(&mut self.convert_command())?;
        }
        let lake = self.directory.join("lake");
        for (name, sql) in QUERIES {
            let run = || {
                let mut command = Command::new(&self.binary);
                command.args(["sql", "-c", sql, "--lake"]).arg(&lake);
                command
            };
            println!("{}", measure::median(name, self.options.runs, || Ok(()), run)?.row_without_rate());
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// That directory below the root, empty.
fn fresh(directory: &str) -> Result<PathBuf> {
    let path = cargo::root().join(directory);
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

fn bytes_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
