//! What `optimize` computes beforehand answers as what a query computes, and never for another state of the lake.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use whocalled_tests::program::run;

/// Two services' logs of two days.
fn tenant() -> TempDir {
    let scratch = TempDir::new().expect("a scratch directory");
    let arguments =
        ["simulate", "--out", "tenant", "--seed", "5", "--accounts", "6", "--calls", "1500", "--hours", "40"];
    run(scratch.path(), &arguments).success();
    scratch
}

/// Who called, in all. Sums of doubles differ in their last digits by the order in which they are added up.
const CALLERS: &str = "SELECT tier, principal_id, principal_name, count(*) AS calls, round(sum(confidence), 9) AS confidence, \
    count(evidence) AS evidence FROM attributed_calls GROUP BY tier, principal_id, principal_name ORDER BY tier, principal_id";

fn ask(at: &Path, lake: &str, arguments: &[&str]) -> Vec<String> {
    let ran = run(at, &[arguments, &["--lake", lake]].concat()).success();
    ran.stdout.lines().map(str::to_owned).collect()
}

fn sql(at: &Path, lake: &str, statement: &str) -> Vec<String> {
    ask(at, lake, &["sql", "--format", "csv", "-c", statement])
}

/// The answers to questions of all kinds: about everything, about a day, and about a call.
fn answers(at: &Path) -> Vec<String> {
    let report = |name: &str| {
        let day = ["--from", "2026-11-03", "--to", "2026-11-03"];
        ask(at, "lake", &[["report", name, "--format", "csv"].as_slice(), &day].concat())
    };
    let explained = |view: &str, condition: &str| {
        let one = format!(
            "SELECT correlation_id FROM {view} WHERE correlation_id IS NOT NULL AND date = DATE '2026-11-03' \
             AND {condition} ORDER BY correlation_id LIMIT 1"
        );
        ask(at, "lake", &["explain", &sql(at, "lake", &one)[1]])
    };
    [
        sql(at, "lake", CALLERS),
        sql(at, "lake", "SELECT count(*) AS calls, sum(duration_ms) AS ms, sum(blob_offset) AS offsets FROM calls"),
        sql(at, "lake", "SELECT count(*) AS records, sum(blob_offset) AS offsets FROM repeated_records"),
        report("attribution"),
        report("key-exposure"),
        explained("merged_calls", "object_id IS NULL"),
        explained("single_records", "object_id IS NULL"),
        explained("single_records", "object_id IS NOT NULL"),
    ]
    .concat()
}

/// Which views a question about all calls computes.
fn computed(at: &Path, lake: &str) -> Vec<String> {
    let question = "SELECT count(principal_id) FROM slot_callers";
    let ran = run(at, &["sql", "--lake", lake, "--log", "whocalled_report=debug", "-c", question]).success();
    let computed = ran.stderr.lines().filter(|line| line.contains("view kept"));
    computed.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

fn catalogs(at: &Path, lake: &str) -> Vec<PathBuf> {
    let Ok(sets) = fs::read_dir(at.join(lake).join("_views")) else { return Vec::new() };
    sets.filter_map(|set| Some(set.ok()?.path().join("views.json"))).filter(|catalog| catalog.exists()).collect()
}

#[test]
fn views_in_the_lake_answer_as_those_that_are_computed() {
    let scratch = tenant();
    let at = scratch.path();
    run(at, &["convert", "tenant", "--lake", "lake"]).success();
    let without = answers(at);
    assert!(computed(at, "lake").contains(&"weighed_holders".to_owned()));
    assert_eq!(catalogs(at, "lake").len(), 0, "to ask writes nothing");

    let optimized = run(at, &["optimize", "--lake", "lake", "--view-records-max", "1000"]).success();
    assert!(optimized.stderr.contains("no views computed for"), "{}", optimized.stderr);
    assert_eq!(catalogs(at, "lake").len(), 0);
    let optimized = run(at, &["optimize", "--lake", "lake"]).success();
    assert!(optimized.stderr.contains("views computed: "), "{}", optimized.stderr);
    assert_eq!(computed(at, "lake"), [""; 0], "all that is needed is there");
    assert_eq!(answers(at), without);
    let again = run(at, &["optimize", "--lake", "lake"]).success();
    assert!(again.stderr.contains("the views are up to date"), "{}", again.stderr);

    // Other weights make other views.
    let weights = "[attribution.weights]\ngrant_last_hour = 0.5\n";
    fs::write(at.join("whocalled.toml"), weights).expect("a settings file");
    assert!(!computed(at, "lake").is_empty());
    fs::remove_file(at.join("whocalled.toml")).expect("the settings file");

    // What is damaged is computed, and said.
    let [catalog] = <[PathBuf; 1]>::try_from(catalogs(at, "lake")).expect("one set of views");
    fs::write(&catalog, "{\"views\": ").expect("a damaged catalog");
    let ran = run(at, &["sql", "--lake", "lake", "--format", "csv", "-c", CALLERS]).success();
    assert!(ran.stderr.contains("cannot read views"), "{}", ran.stderr);
    let callers: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    assert_eq!(callers, without[..callers.len()]);
    run(at, &["optimize", "--lake", "lake"]).success();
    assert_eq!(computed(at, "lake"), [""; 0], "a damaged set is made anew");
}

#[test]
fn views_in_the_lake_are_not_read_when_it_has_changed() {
    let scratch = tenant();
    let at = scratch.path();
    run(at, &["convert", "tenant", "--lake", "whole"]).success();
    for container in ["insights-logs-requestresponse", "insights-logs-audit"] {
        run(at, &["convert", "tenant", "--lake", "lake", "--container", container]).success();
        run(at, &["optimize", "--lake", "lake"]).success();
    }
    assert_eq!(computed(at, "lake"), [""; 0]);
    run(at, &["convert", "tenant", "--lake", "lake"]).success();
    assert!(!computed(at, "lake").is_empty());
    let whole = sql(at, "whole", CALLERS);
    assert_eq!(sql(at, "lake", CALLERS), whole);
    run(at, &["optimize", "--lake", "lake"]).success();
    assert_eq!(sql(at, "lake", CALLERS), whole);
}
