//! `cargo xtask bench query`: who made each of millions of calls, beside the candidates that others can
//! tell; and questions about few of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::measure::{self, Measured, Run};
use super::peers::Peers;
use super::{Bench, input, page};

const DUCKDB: &str = include_str!("peers/query_duckdb.py");
const CLICKHOUSE: &str = include_str!("peers/query_clickhouse.py");
const POLARS: &str = include_str!("peers/query_polars.py");
const CANDIDATES: &str = include_str!("peers/candidates.py");
const LIVE_FILES: &str = include_str!("peers/live_files.py");

const ATTRIBUTED: &str = "SELECT tier, principal_id, count(*) AS calls, sum(duration_ms), sum(request_bytes), \
                          sum(response_bytes), avg(confidence) FROM attributed_calls GROUP BY tier, principal_id";
const GRANTS: &str = "SELECT time, account_id AS resource_id, principal_id AS principal, ip_prefix FROM key_access \
                      WHERE succeeded AND account_id IS NOT NULL AND principal_id IS NOT NULL";
const RECORDS: &str = "SELECT count(*) FROM request_response";
const CALLS: &str = "SELECT count(*) FROM calls";
const ONE_CALL: &str = "SELECT correlation_id FROM request_response WHERE correlation_id IS NOT NULL \
                        AND object_id IS NULL ORDER BY correlation_id LIMIT 1";
/// One of the last of ninety days from 2026-11-02 on.
const DAY: &str = "2027-01-20";

/// Measures and prints the tables, and writes them if asked.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let peers = Peers::install().inspect_err(|error| eprintln!("the others are not measured: {error:#}")).ok();
    let calls = bench.options.calls;
    let many = lake(bench, "lake-of-grants", calls, ["50", "168", "500", "10000"])?;
    let days = lake(bench, "lake-of-days", (calls / 10).max(1), ["20", "2160", "100", "1000"])?;
    let runs = bench.options.runs;

    let mut text = page::conditions(&format!("{}, {}", bench.version()?, Peers::versions()), runs);
    text += &all_calls(bench, &many, peers.as_ref())?;
    text += "\n";
    text += &few_calls(bench, &many, &days)?;
    page::publish("query", &text, bench.options.write)
}

/// A lake of so many calls; its archive is not kept.
fn lake(
    bench: &Bench<'_>,
    name: &str,
    calls: u64,
    [accounts, hours, principals, grants]: [&str; 4],
) -> Result<PathBuf> {
    let calls_text = calls.to_string();
    let arguments = [
        "--plain",
        "--accounts",
        accounts,
        "--hours",
        hours,
        "--principals",
        principals,
        "--grants",
        grants,
        "--calls",
        &calls_text,
    ];
    // A call takes 1 kB in the archive, other logs included, and 100 bytes in the lake.
    let directory = input::kept(name, &arguments, calls / 900 + 1_000, |directory| {
        let simulated = directory.join("simulated");
        input::simulate(&bench.binary, &arguments, &simulated)?;
        let lake = directory.join("lake");
        let mut convert = Command::new(&bench.binary);
        measure::once(convert.args(["convert", "--quiet", "--lake"]).arg(&lake).arg(simulated.join("archive")))?;
        input::remove(&simulated)
    })?;
    let lake = directory.join("lake");
    // As every night leaves it; a lake that an earlier build made gets the views of this one.
    place_views(&lake, true)?;
    measure::once(Command::new(&bench.binary).args(["optimize", "--quiet", "--lake"]).arg(&lake))?;
    Ok(lake)
}

/// Puts what `optimize` has computed into a lake, or beside it.
fn place_views(lake: &Path, inside: bool) -> Result<()> {
    let (views, aside) = (lake.join("_views"), lake.with_extension("views"));
    let (from, to) = if inside { (aside, views) } else { (views, aside) };
    if from.exists() && !to.exists() {
        fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
    }
    Ok(())
}

/// Who the lake, and with what, is asked about all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    /// With the views that are in the lake.
    Whocalled,
    /// With views that the query computes.
    Computing,
    DuckDb,
    ClickHouse,
    Polars,
}

impl Contender {
    const ALL: [Self; 5] = [Self::Whocalled, Self::Computing, Self::DuckDb, Self::ClickHouse, Self::Polars];

    const fn is_ours(self) -> bool {
        matches!(self, Self::Whocalled | Self::Computing)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Whocalled => "whocalled: `attributed_calls` by tier and principal, after `optimize`",
            Self::Computing => "whocalled: the same, after `convert`",
            Self::DuckDb => "DuckDB: candidates, timelines on numbers",
            Self::ClickHouse => "ClickHouse: candidates, timelines",
            Self::Polars => "Polars: candidates, ASOF joins",
        }
    }
}

fn all_calls(bench: &Bench<'_>, lake: &Path, peers: Option<&Peers>) -> Result<String> {
    let out = super::fresh("query")?;
    let grants = out.join("grants.parquet");
    export(&bench.binary, lake, GRANTS, &grants)?;
    let threads = thread::available_parallelism().map_or(1, Into::into).to_string();
    let files = peers.map(|it| live_files(it, &lake.join("request_response"), &out.join("calls"))).transpose()?;
    let target = |contender: Contender| out.join(format!("{contender:?}.parquet"));
    let ask = |contender: Contender| -> Result<Run> {
        let (script, by_argument) = match contender {
            Contender::Whocalled | Contender::Computing => {
                place_views(lake, contender == Contender::Whocalled)?;
                return measure::once(&mut sql(&bench.binary, lake, ATTRIBUTED));
            }
            Contender::DuckDb => (DUCKDB, true),
            Contender::ClickHouse => (CLICKHOUSE, true),
            Contender::Polars => (POLARS, false),
        };
        let mut command = peers.context("the others are not installed")?.command(script);
        command.arg(files.as_deref().unwrap_or_default()).arg(&grants).arg(target(contender));
        command.args(by_argument.then_some(&threads)).env("POLARS_MAX_THREADS", &threads);
        measure::once(&mut command)
    };
    let records = number(&bench.binary, lake, RECORDS)?;
    let calls = number(&bench.binary, lake, CALLS)?;
    let mut fit = Vec::new();
    let mut candidates: Option<Vec<u64>> = None;
    for contender in Contender::ALL {
        eprintln!("{}", contender.name());
        match ask(contender) {
            Err(error) if contender.is_ours() => return Err(error),
            Err(error) => eprintln!("not measured: {error:#}"),
            Ok(run) if contender.is_ours() => {
                let attributed = calls_in(&run.stdout).context("the groups have no counts")?;
                ensure!(attributed == calls, "{attributed} calls are attributed, of {calls}");
                fit.push(contender);
            }
            Ok(_) => {
                let file = target(contender).display().to_string();
                let found = peers.context("the others are not installed")?.numbers(CANDIDATES, &[&file])?;
                ensure!(found.first() == Some(&records), "{contender:?} has {found:?}, of {records} records");
                let agreed = candidates.get_or_insert_with(|| found.clone());
                ensure!(*agreed == found, "{contender:?} finds {found:?}, another {agreed:?}");
                fit.push(contender);
            }
        }
    }
    let measured = measure::take_turns(fit.len(), bench.options.runs, |it| ask(fit[it]))?;
    place_views(lake, true)?;
    input::remove(&out)?;
    let granted = number(&bench.binary, lake, "SELECT count(*) FROM grants")?;
    let head = format!("Of {records} records of {calls} calls, against {granted} grants, on {threads} threads:\n\n");
    Ok(head + &contest(&fit, &measured))
}

/// Links the files that a table consists of into a directory, and gives a pattern for them: beside them are those
/// that `optimize` has put together, and checkpoints of the log.
fn live_files(peers: &Peers, table: &Path, directory: &Path) -> Result<String> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for path in measure::once(peers.command(LIVE_FILES).arg(table))?.stdout.lines().map(Path::new) {
        let name = path.file_name().context("a file has a name")?;
        fs::hard_link(path, directory.join(name)).with_context(|| format!("cannot link {}", path.display()))?;
    }
    Ok(directory.join("*.parquet").display().to_string())
}

fn contest(fit: &[Contender], measured: &[Measured]) -> String {
    let others = fit.iter().zip(measured).filter(|it| !it.0.is_ours());
    let quickest = others.map(|it| it.1).min_by_key(|it| it.median());
    let row = |(contender, measured): (&Contender, &Measured)| {
        [
            contender.name().to_owned(),
            measured.seconds(),
            quickest.map_or(String::new(), |it| measured.times(it)),
            format!("{:.2}", measured.cpu().as_secs_f64()),
            measured.peak_mebibytes(),
        ]
    };
    let rows: Vec<_> = fit.iter().zip(measured).map(row).collect();
    page::table(["question", "seconds (min to max)", "× the quickest other", "CPU s", "peak MiB"], &rows)
}

fn few_calls(bench: &Bench<'_>, many: &Path, days: &Path) -> Result<String> {
    let told = measure::once(&mut sql(&bench.binary, many, ONE_CALL))?.stdout;
    let id = told.lines().nth(1).context("the lake has no call with an id")?;
    let by_id = format!("SELECT * FROM request_response WHERE correlation_id = '{id}'");
    let explain = || {
        let mut command = Command::new(&bench.binary);
        command.args(["explain", id, "--lake"]).arg(many);
        command
    };
    let report = || {
        let mut command = Command::new(&bench.binary);
        command.args(["report", "attribution", "--from", DAY, "--to", DAY, "--lake"]).arg(days);
        command
    };
    let runs = bench.options.runs;
    let ask = |command: &dyn Fn() -> Command| measure::alone(runs, || measure::once(&mut command()));
    let by_id = ask(&|| sql(&bench.binary, many, &by_id))?;
    let after_optimize = [ask(&explain)?, ask(&report)?];
    place_views(many, false)?;
    place_views(days, false)?;
    let after_convert = [ask(&explain)?, ask(&report)?];
    place_views(many, true)?;
    place_views(days, true)?;
    let [explained, reported] = after_optimize;
    let [explained_computing, reported_computing] = after_convert;
    let rows = [
        ("`explain` of one call, after `optimize`", explained),
        ("the same, after `convert`", explained_computing),
        ("`sql` by `correlation_id`", by_id),
        ("`report attribution`, one day of ninety, after `optimize`", reported),
        ("the same, after `convert`", reported_computing),
    ];
    let row =
        |(what, measured): &(&str, Measured)| [(*what).to_owned(), measured.milliseconds(), measured.peak_mebibytes()];
    Ok(page::table(["question", "ms (min to max)", "peak MiB"], &rows.each_ref().map(row)))
}

fn sql(binary: &Path, lake: &Path, statement: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(["sql", "--quiet", "--format", "csv", "-c", statement, "--lake"]).arg(lake);
    command
}

fn number(binary: &Path, lake: &Path, statement: &str) -> Result<u64> {
    let told = measure::once(&mut sql(binary, lake, statement))?.stdout;
    told.lines().nth(1).and_then(|it| it.trim().parse().ok()).with_context(|| format!("no number: {told}"))
}

fn export(binary: &Path, lake: &Path, statement: &str, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut command = Command::new(binary);
    command.args(["sql", "--quiet", "--format", "parquet", "-c", statement, "--lake"]).arg(lake);
    let status = command.stdout(file).status().context("the binary does not run")?;
    if !status.success() {
        bail!("the grants could not be exported");
    }
    Ok(())
}

/// The sum of the third column.
fn calls_in(csv: &str) -> Option<u64> {
    csv.lines().skip(1).map(|it| it.split(',').nth(2)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_groups_calls_are_summed() {
        assert_eq!(calls_in("tier,principal_id,calls,x\nnone,,3,1\nobject_id,p,4,1\n"), Some(7));
        assert_eq!(calls_in("tier,principal_id,calls,x\nnone,,,1\n"), None);
    }

    #[test]
    fn all_are_compared_with_the_quickest_other() {
        let measured = [1, 4, 3].map(|seconds| {
            Measured::new(vec![Run {
                took: Duration::from_secs(seconds),
                cpu: Duration::from_secs(seconds),
                peak_bytes: None,
                stdout: String::new(),
            }])
        });
        let text = contest(&[Contender::Whocalled, Contender::DuckDb, Contender::Polars], &measured);
        assert!(text.contains("`optimize` | 1.00 (1.00 to 1.00) | 3.00 | 1.00 | unknown |\n"), "{text}");
        assert!(text.contains("ASOF joins | 3.00 (3.00 to 3.00) | 1.00 | 3.00 | unknown |\n"), "{text}");
    }
}
