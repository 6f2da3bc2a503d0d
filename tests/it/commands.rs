//! The commands by hand: simulate, convert, report, explain, sql, nightly, export, optimize.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;
use whocalled_tests::program::{Ran, run};

/// A tenant and its lake, made once and only read.
static TENANT: LazyLock<TempDir> = LazyLock::new(|| {
    let scratch = TempDir::new().expect("a scratch directory");
    run(scratch.path(), &["simulate", "--out", "tenant", "--seed", "3", "--calls", "3000", "--hours", "26"]).success();
    run(scratch.path(), &["convert", "tenant", "--lake", "lake"]).success();
    scratch
});

fn tenant() -> &'static Path {
    TENANT.path()
}

fn sql(statement: &str) -> Vec<serde_json::Value> {
    let ran = run(tenant(), &["sql", "--lake", "lake", "-c", statement, "--format", "ndjson"]).success();
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The rows of a truth file, by their first column.
fn truth(file: &str, columns: &[&str]) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(tenant().join("tenant/truth").join(file)).expect("a truth file");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let indices: Vec<usize> =
        columns.iter().map(|name| names.iter().position(|it| it == name).expect("a column")).collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].to_owned(), indices.iter().map(|index| cells[*index].to_owned()).collect())
        })
        .collect()
}

#[test]
fn exact_tiers_are_exact_and_every_call_is_there_once() {
    let truth = truth("calls.csv", &["principal_id", "tier", "status"]);
    let rows = sql(
        "SELECT correlation_id, tier, principal_id, confidence, status FROM attributed_calls WHERE correlation_id IS NOT NULL",
    );
    let known = truth.keys().filter(|id| !id.is_empty()).count();
    assert_eq!(rows.len(), known, "one row per call");
    let mut exact = 0;
    for row in &rows {
        let expected = &truth[row["correlation_id"].as_str().expect("an id")];
        assert_eq!(row["status"].to_string(), expected[2]);
        if row["tier"] == "object_id" {
            exact += 1;
            assert_eq!(row["principal_id"], expected[0].as_str());
            assert_eq!(row["confidence"].as_f64(), Some(1.0));
        } else {
            assert_ne!(expected[1], "object_id", "{row}");
        }
        if row["tier"] == "key_holder" {
            let confidence = row["confidence"].as_f64().expect("a confidence");
            assert!(confidence > 0.0 && confidence < 1.0, "{row}");
        }
        assert!(row["status"] != 401 || row["tier"] == "none", "a failed authentication has no holder: {row}");
    }
    assert!(exact > 500, "{exact} calls of the tier object_id");
}

#[test]
fn all_three_tiers_occur_and_probabilities_sum_to_one_at_most() {
    let tiers = sql("SELECT tier, count(*) AS n FROM attributed_calls GROUP BY tier ORDER BY tier");
    let names: Vec<&str> = tiers.iter().filter_map(|row| row["tier"].as_str()).collect();
    assert_eq!(names, ["key_holder", "none", "object_id"]);
    let over = sql(
        "SELECT correlation_id, sum(confidence) AS s FROM attribution WHERE correlation_id IS NOT NULL GROUP BY correlation_id HAVING sum(confidence) > 1.000001",
    );
    assert!(over.is_empty(), "{over:?}");
}

#[test]
fn records_are_told_apart_as_the_views_say() {
    // Over a lake these two are not answered by their SQL, which this is.
    let by_sql = "SELECT count(*) AS records, count(DISTINCT correlation_id) AS ids, sum(blob_offset) AS offsets \
         FROM request_response AS r WHERE correlation_id IS NULL OR correlation_id IN \
         (SELECT correlation_id FROM request_response GROUP BY correlation_id HAVING count(*) > 1)";
    let repeated = sql(by_sql);
    assert!(repeated[0]["ids"].as_u64() > Some(0), "{repeated:?}");
    let all = "SELECT count(*) AS records, count(DISTINCT correlation_id) AS ids, sum(blob_offset) AS offsets FROM";
    assert_eq!(sql(&format!("{all} repeated_records")), repeated);
    let together = format!("{all} (SELECT * FROM repeated_records UNION ALL SELECT * FROM single_records) AS r");
    assert_eq!(sql(&together), sql(&format!("{all} request_response")));
    // One id, which is found without looking at the others.
    for (view, other) in [("repeated_records", "single_records"), ("single_records", "repeated_records")] {
        let one = sql(&format!("SELECT correlation_id FROM {view} WHERE correlation_id IS NOT NULL LIMIT 1"));
        let id = one[0]["correlation_id"].as_str().expect("an id");
        let records = |view: &str| sql(&format!("SELECT blob_offset FROM {view} WHERE correlation_id = '{id}'")).len();
        assert_eq!((records(view), records(other)), (records("request_response"), 0));
        let calls = sql(&format!("SELECT tier FROM attributed_calls WHERE correlation_id = '{id}'"));
        assert_eq!(calls.len(), 1);
    }
}

#[test]
fn every_report_runs_in_every_format() {
    let scratch = TempDir::new().expect("a scratch directory");
    let lake = tenant().join("lake");
    let lake = lake.to_str().expect("a path");
    let listed = run(scratch.path(), &["report", "--list"]).success();
    let names: Vec<&str> = listed.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in ["attribution", "key-access", "shadow-admin", "unattributed", "coverage"] {
        assert!(names.contains(&name), "{name} is missing of {names:?}");
    }
    for format in ["csv", "json", "ndjson", "markdown", "parquet", "table"] {
        let out = format!("out-{format}");
        run(scratch.path(), &["report", "--lake", lake, "--format", format, "--out", &out]).success();
        let files = fs::read_dir(scratch.path().join(&out)).expect("the reports").count();
        assert_eq!(files, names.len(), "{format}");
    }
    let json = fs::read(scratch.path().join("out-json/attribution.json")).expect("a report");
    let rows: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let calls: u64 = rows.as_array().expect("rows").iter().filter_map(|row| row["calls"].as_u64()).sum();
    assert_eq!(calls, 3000, "the report accounts for every call");
}

#[test]
fn explain_shows_the_evidence_and_the_raw_record() {
    let rows = sql("SELECT correlation_id, principal_id FROM attributed_calls \
         WHERE tier = 'key_holder' AND candidates > 1 AND correlation_id IS NOT NULL ORDER BY time, correlation_id LIMIT 1");
    let id = rows[0]["correlation_id"].as_str().expect("an id");
    let ran = run(tenant(), &["explain", id, "--lake", "lake", "--archive", "tenant"]).success();
    assert!(ran.stdout.contains(rows[0]["principal_id"].as_str().expect("a principal")), "{}", ran.stdout);
    assert!(ran.stdout.contains("raw record at insights-logs-requestresponse/"), "{}", ran.stdout);
    let raw = ran.stdout.lines().filter(|line| line.contains("RequestResponse") && line.contains(id)).count();
    assert!(raw >= 1, "the raw record is shown: {}", ran.stdout);
}

#[test]
fn exports_replace_only_what_was_asked_for() {
    let scratch = TempDir::new().expect("a scratch directory");
    let lake = tenant().join("lake");
    let lake = lake.to_str().expect("a path");
    let export = |arguments: &[&str]| -> Ran {
        let mut all = vec!["export", "request_response", "--lake", lake, "--to", "out"];
        all.extend_from_slice(arguments);
        run(scratch.path(), &all).success()
    };
    let rows = sql("SELECT count(*) AS n FROM request_response")[0]["n"].as_u64();
    let csv = export(&["--format", "csv"]).json();
    assert_eq!(csv["rows"].as_u64(), rows);
    let first = scratch.path().join("out/date=2026-11-02/request_response.csv");
    let second = scratch.path().join("out/date=2026-11-03/request_response.csv");
    assert!(first.exists() && second.exists());
    fs::write(&first, "kept").expect("a file of another date");
    export(&["--format", "csv", "--from", "2026-11-03", "--until", "2026-11-03"]);
    assert_eq!(fs::read_to_string(&first).expect("the file"), "kept");
    assert!(fs::read_to_string(&second).expect("the file").lines().count() > 1);
    for (name, format) in [("attributed_calls", "parquet"), ("attribution", "ndjson"), ("request_response", "delta")] {
        let to = format!("{name}-{format}");
        let exported =
            run(scratch.path(), &["export", name, "--lake", lake, "--to", &to, "--format", format]).success();
        assert!(exported.json()["rows"].as_u64() > Some(0), "{name}");
        let again = run(scratch.path(), &["export", name, "--lake", lake, "--to", &to, "--format", format]).success();
        assert_eq!(exported.json()["rows"], again.json()["rows"], "{name}");
    }
    assert!(scratch.path().join("request_response-delta/_delta_log").is_dir());
}

#[test]
fn nightly_twice_changes_nothing() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "500", "--hours", "6"]).success();
    let nightly = || {
        run(at, &["nightly", "--archive", "tenant", "--lake", "lake", "--out", "reports", "--date", "2026-11-02"])
            .success()
    };
    let contents = || -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(at.join("reports/2026-11-02"))
            .expect("the day's reports")
            .map(|it| it.expect("an entry").path())
            .map(|path| (path.display().to_string(), fs::read(&path).expect("a report")))
            .collect()
    };
    let versions = || -> usize { walk(&at.join("lake")).filter(|path| path.contains("_delta_log")).count() };
    nightly();
    let (before, commits) = (contents(), versions());
    assert_eq!(before.len(), 17, "fifteen reports, a summary and a receipt: {:?}", before.keys());
    let summary = fs::read_to_string(at.join("reports/2026-11-02/summary.md")).expect("the summary");
    assert!(summary.starts_with("# 2026-11-02\n") && summary.contains("| leaked-key | "), "{summary}");
    nightly();
    assert_eq!(contents(), before);
    assert_eq!(versions(), commits, "the lake has no new commit");
    assert_eq!(fs::read_dir(at.join("reports")).expect("the reports").count(), 1, "nothing half-written is left");
}

#[test]
fn nightly_ends_in_a_code_of_its_own_where_a_report_has_rows() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "500", "--hours", "6"]).success();
    let nightly = |date: &str, reports: &[&str]| {
        let mut arguments =
            vec!["nightly", "--archive", "tenant", "--lake", "lake", "--out", "reports", "--date", date];
        reports.iter().for_each(|report| arguments.extend(["--fail-on", report]));
        run(at, &arguments)
    };
    let ran = nightly("2026-11-02", &["trace", "usage"]);
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("usage ("), "{}", ran.stderr);
    assert!(at.join("reports/2026-11-02/usage.csv").exists(), "all reports are written all the same");
    nightly("2026-12-02", &["usage", "leaked-key"]).success();
    let ran = nightly("2026-11-02", &["usages"]);
    assert!(ran.code == 2 && ran.stderr.contains("usage"), "{} {}", ran.code, ran.stderr);
}

fn walk(directory: &Path) -> Box<dyn Iterator<Item = String>> {
    let entries: Vec<_> =
        fs::read_dir(directory).expect("a directory").map(|it| it.expect("an entry").path()).collect();
    Box::new(entries.into_iter().flat_map(|path| {
        if path.is_dir() { walk(&path) } else { Box::new(std::iter::once(path.display().to_string())) }
    }))
}

#[test]
fn optimize_keeps_every_row() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "500", "--hours", "6"]).success();
    // One container a run makes several batches, and so several files a date in the ledger.
    for container in ["insights-logs-requestresponse", "insights-activity-logs", "insights-logs-audit"] {
        run(at, &["convert", "tenant", "--lake", "lake", "--container", container]).success();
    }
    run(at, &["convert", "tenant", "--lake", "lake"]).success();
    let rows = || run(at, &["report", "attribution", "--lake", "lake", "--format", "csv"]).success().stdout;
    let before = rows();
    let optimized = run(at, &["optimize", "--lake", "lake"]).success();
    assert!(optimized.stderr.contains("became"), "{}", optimized.stderr);
    assert_eq!(rows(), before);
    let receipt = run(at, &["convert", "tenant", "--lake", "lake"]).success().json();
    assert_eq!(receipt["bytes_committed"], 0, "positions survive compaction");
    run(at, &["verify", "tenant", "--lake", "lake", "--all"]).success();
}

#[test]
fn a_killed_run_is_continued_by_the_next() {
    for failpoint in
        ["prepare.file_written", "decide.before", "decide.after", "apply.table_committed:2", "create.table:3"]
    {
        let scratch = TempDir::new().expect("a scratch directory");
        let at = scratch.path();
        let truth = run(at, &["simulate", "--out", "tenant", "--calls", "200", "--hours", "3"]).success().json();
        let killed = whocalled_tests::program::run_with(
            at,
            &["convert", "tenant", "--lake", "lake"],
            &[("WHOCALLED_FAILPOINT", failpoint)],
        );
        assert_eq!(killed.code, -1, "{failpoint} was not hit: {}", killed.stderr);
        run(at, &["convert", "tenant", "--lake", "lake"]).success();
        let verified = run(at, &["verify", "tenant", "--lake", "lake", "--all"]).success().json();
        assert_eq!(verified["rows_counted"], truth["record_count"], "{failpoint}");
    }
}

#[test]
fn statements_end_at_semicolons_of_their_own() {
    let text = "SELECT 'a;b' AS x; -- not; here\nSELECT \";\" AS y FROM (SELECT 2 AS \";\") /* nor; here */;;";
    let ran = run(tenant(), &["sql", "--lake", "lake", "-c", text, "--format", "csv"]).success();
    assert_eq!(ran.stdout, "x\na;b\ny\n2\n");
    fs::write(tenant().join("query.sql"), "SELECT 1 AS one;\n-- the end\n").expect("a file");
    let ran = run(tenant(), &["sql", "--lake", "lake", "-f", "query.sql", "--format", "ndjson"]).success();
    assert_eq!(ran.stdout, "{\"one\":1}\n");
}

#[test]
fn times_are_resolved_and_said() {
    for (from, to, said) in [
        ("2026-11-02", "2026-11-02", "from 2026-11-02T00:00:00Z to 2026-11-03T00:00:00Z"),
        ("2026-11-02T05:30:00+05:30", "2026-11-02T12:00:00Z", "from 2026-11-02T00:00:00Z to 2026-11-02T12:00:00Z"),
    ] {
        let arguments = ["report", "attribution", "--lake", "lake", "--from", from, "--to", to, "--format", "csv"];
        let ran = run(tenant(), &arguments).success();
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(ran.stdout.lines().count() > 1);
    }
    let ran =
        run(tenant(), &["report", "attribution", "--lake", "lake", "--from", "-7d", "--to", "yesterday"]).success();
    assert!(ran.stderr.contains("(UTC)"), "{}", ran.stderr);
    assert_eq!(run(tenant(), &["report", "attribution", "--lake", "lake", "--from", "now", "--to", "-1d"]).code, 2);
}

#[test]
fn completions_init_and_status_work() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    assert!(run(at, &["completions", "bash"]).success().stdout.contains("complete"));
    run(at, &["init"]).success();
    assert_eq!(run(at, &["init"]).code, 2, "a file that is there is left as it is");
    let status = run(tenant(), &["status", "--lake", "lake", "--format", "csv"]).success();
    assert!(status.stdout.contains("insights-activity-logs"), "{}", status.stdout);
    assert!(run(at, &["--version"]).success().stdout.starts_with("whocalled "));
}
