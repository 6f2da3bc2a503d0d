//! DuckDB beside us: what many would reach for to get such an archive into Parquet.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cargo;

const VERSION: &str = "2.0.0";

/// Reads each line as a JSON object and takes the fields out by path: the formulation that is right
/// for both spellings of the caller's address, and for `properties` as a string and as an object.
const SCRIPT: &str = r#"
import sys, duckdb
archive, out = sys.argv[1], sys.argv[2]
outer = ["time", "resourceId", "operationName", "location", "resultSignature", "durationMs",
         "callerIpAddress", "callerIPAddress", "correlationId"]
inner = ["apiName", "requestTime", "requestLength", "responseTime", "responseLength", "objectId",
         "streamType", "modelDeploymentName", "modelName", "modelVersion"]
paths = lambda names: "[" + ", ".join(f"'$.{name}'" for name in names) + "]"
columns = [f"o[{i}] AS \"o_{name}\"" for i, name in enumerate(outer, 1)]
columns += [f"p[{i}] AS \"p_{name}\"" for i, name in enumerate(inner, 1)]
duckdb.sql("SET preserve_insertion_order = false")
duckdb.sql(f"""
COPY (
  SELECT {", ".join(columns)}
  FROM (SELECT o, (o[{len(outer) + 1}])::JSON ->> {paths(inner)} AS p
        FROM (SELECT json ->> {paths(outer + ["properties"])} AS o
              FROM read_ndjson_objects('{archive}/**/PT1H.json', ignore_errors = true, hive_partitioning = false)))
) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)
""")
"#;

/// Installs DuckDB into a virtual environment under the target directory, unless it is there, and
/// says which Python has it.
pub(super) fn install(bench: &Path) -> Result<PathBuf> {
    let environment = bench.with_file_name("bench-venv");
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    if version(&python).is_some_and(|it| it == VERSION) {
        return Ok(python);
    }
    if cargo::probe("python3", "--version").is_none() {
        bail!("there is no python3 to run it with");
    }
    eprintln!("installing DuckDB {VERSION} with pip into {}", environment.display());
    cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let package = format!("duckdb=={VERSION}");
    cargo::run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        &package,
    ]))?;
    Ok(python)
}

/// One conversion of the archive's RequestResponse blobs into one Parquet file.
pub(super) fn convert(python: &Path, archive: &Path, out: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(archive).arg(out);
    command
}

fn version(python: &Path) -> Option<String> {
    let output = Command::new(python).args(["-c", "import duckdb; print(duckdb.__version__)"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
