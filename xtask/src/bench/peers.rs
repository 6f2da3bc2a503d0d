//! What others would use instead, in a Python environment of its own under the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::measure;
use crate::cargo;

/// Packages and versions; another version is another bench.
const PACKAGES: [(&str, &str); 6] = [
    ("duckdb", "2.0.1"),
    ("polars", "2.1.0"),
    ("chdb", "4.4.0"),
    ("chdb-core", "26.9.0"),
    // What weights are fitted with.
    ("numpy", "2.4.6"),
    ("scipy", "1.17.1"),
];

/// A Python that has the peers.
pub(super) struct Peers {
    python: PathBuf,
}

impl Peers {
    /// Installs the peers with pip unless they are there; says why if they cannot be.
    pub(super) fn install() -> Result<Self> {
        let environment = cargo::root().join("target/bench-tools/venv");
        let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let peers = Self { python };
        if peers.are_there() {
            return Ok(peers);
        }
        if cargo::probe("python3", "--version").is_none() {
            bail!("there is no python3 to run the others with");
        }
        let wanted = PACKAGES.map(|(package, version)| format!("{package}=={version}"));
        eprintln!("installing {} with pip into {}", wanted.join(", "), environment.display());
        cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(&peers.python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(&wanted);
        cargo::run(&mut pip).context("the others could not be installed; is there a network?")?;
        Ok(peers)
    }

    fn are_there(&self) -> bool {
        let mut script = "from importlib.metadata import version as v\nassert True".to_owned();
        for (package, version) in PACKAGES {
            script += &format!(" and v('{package}') == '{version}'");
        }
        measure::once(Command::new(&self.python).args(["-c", &script])).is_ok()
    }

    /// What is compared with, for the head of a table.
    pub(super) fn versions() -> String {
        let version = |name| PACKAGES.iter().find(|it| it.0 == name).map_or("", |it| it.1);
        let [duckdb, polars, chdb, clickhouse] = ["duckdb", "polars", "chdb", "chdb-core"].map(version);
        format!("DuckDB {duckdb}, Polars {polars}, ClickHouse {clickhouse} (chdb {chdb})")
    }

    /// A command that runs one of the scripts.
    pub(super) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-c", script]);
        command
    }

    /// What a script prints, a number a line.
    pub(super) fn numbers(&self, script: &str, arguments: &[&str]) -> Result<Vec<u64>> {
        let run = measure::once(self.command(script).args(arguments))?;
        let parsed = run.stdout.lines().map(|it| it.trim().parse());
        parsed.collect::<Result<_, _>>().with_context(|| format!("no whole numbers: {}", run.stdout.trim()))
    }
}

/// A pattern for the Parquet files of a table of a lake.
pub(super) fn parquet_files(lake: &Path, table: &str) -> String {
    lake.join(table).join("**/*.parquet").display().to_string()
}
