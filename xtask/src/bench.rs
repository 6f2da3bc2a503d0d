//! `cargo xtask bench`: whole runs of the release binary, timed from start to exit, beside what others
//! would use instead.
//!
//! Times are medians, with the fastest and the slowest run beside them; nothing is asserted but that
//! answers are equal. The page cache is warm. Inputs are kept below `target/bench` and made again only
//! when what they are made of changes.

mod accuracy;
mod convert;
mod fetch;
mod growth;
mod input;
mod measure;
mod page;
mod peers;
mod query;
mod startup;
mod upload;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::cargo::{self, Profile};

const HELP: &str = "\
Examples:
  cargo xtask bench convert                      beside DuckDB, ClickHouse and Polars, which pip installs
  cargo xtask bench convert --runs 9 --write     and put the table into docs/performance.md
  cargo xtask bench fetch --shape 2000x256       copying from Azurite, beside rclone
  cargo xtask bench convert --binary whocalled   an earlier build instead of the one that cargo makes

  cargo xtask bench query --calls 1000000        a tenth of the calls
  cargo xtask bench startup
  cargo xtask bench growth                       --large goes up to 10 GB
  cargo xtask bench accuracy --write             attribution beside the truth, into docs/accuracy.md
  cargo xtask bench accuracy --fit               make the weights of the evidence anew

Inputs are kept in target/bench: some 2 GB for convert, 10 GB more with --large, 1 GB for query, which takes
another 10 GB while it makes them.";

/// What to time, on how much.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// What to time; everything when left out
    #[arg(value_enum)]
    what: Vec<What>,
    /// How often each is run; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Time this binary instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Put the tables into docs/performance.md and docs/accuracy.md
    #[arg(long)]
    write: bool,
    /// With `accuracy`: fit the weights of the evidence, and write them to the parameters file
    #[arg(long)]
    fit: bool,
    /// Time what takes 10 GB of logs, too
    #[arg(long)]
    large: bool,
    /// How many calls to query
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    #[command(flatten)]
    fetch: fetch::FetchOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Copying archives of three shapes from Azurite and from a static server, beside rclone
    Fetch,
    /// From archive to Parquet, beside DuckDB, ClickHouse and Polars
    Convert,
    /// Who made each of many calls, beside the same three, and questions about few
    Query,
    /// The time to do next to nothing, on an empty lake and on one of 1,000 commits
    Startup,
    /// How time and memory grow with rows, blobs, candidates and days
    Growth,
    /// How often attribution is right, on tenants whose truth is known
    Accuracy,
}

/// Builds the release binary, makes the inputs and prints a table for each thing timed.
///
/// A bench that cannot run says why, and the others run all the same.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| format!("there is no {}", path.display()))?,
        None => {
            eprintln!("A first release build takes over 20 minutes on two cores.");
            cargo::build_whocalled(Profile::Release)?
        }
    };
    let bench = Bench { binary, options };
    let mut failed = Vec::new();
    for &what in What::value_variants() {
        if !options.what.is_empty() && !options.what.contains(&what) {
            continue;
        }
        let ran = match what {
            What::Fetch => fetch::run(&options.fetch, &bench),
            What::Convert => convert::run(&bench),
            What::Query => query::run(&bench),
            What::Startup => startup::run(&bench),
            What::Growth => growth::run(&bench),
            What::Accuracy => accuracy::run(&bench),
        };
        if let Err(error) = ran {
            let name = format!("{what:?}").to_lowercase();
            eprintln!("bench {name} could not run: {error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("not measured: {}", failed.join(", ")) }
}

/// What every bench needs.
struct Bench<'a> {
    binary: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    fn version(&self) -> Result<String> {
        cargo::probe(&self.binary, "--version").context("the binary does not run")
    }
}

/// That directory below `target/bench`, empty.
fn fresh(name: &str) -> Result<PathBuf> {
    let path = cargo::root().join("target/bench").join(name);
    input::remove(&path)?;
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}
