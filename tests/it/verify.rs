//! `verify` agrees with every sound lake, and names the blob and the byte of every damage.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use whocalled_tests::program::{Ran, run};

const TRACE: &str = "insights-logs-trace/resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A/y=2026/m=11/d=01/h=13/m=00/PT1H.json";

fn record(id: u32) -> String {
    format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"Trace\",\"correlationId\":\"id-{id:04}\"}}")
}

fn lines(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| record(id) + "\n").collect()
}

fn blob(at: &Path, name: &str) -> PathBuf {
    at.join("archive").join(name)
}

fn write(at: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = blob(at, name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a blob");
}

fn convert(at: &Path, seal_after: &str) -> Ran {
    run(at, &["convert", "archive", "--lake", "lake", "--seal-after", seal_after]).success()
}

fn verify(at: &Path, arguments: &[&str]) -> Ran {
    let mut all = vec!["verify", "archive", "--lake", "lake"];
    all.extend_from_slice(arguments);
    run(at, &all)
}

/// What a verification of everything disagrees with, in one check.
#[track_caller]
fn disagreements(at: &Path, check: &str) -> Vec<Value> {
    let ran = verify(at, &["--all"]);
    assert_eq!(ran.code, 7, "{}\n{}", ran.stdout, ran.stderr);
    let found = ran.json()["disagreements"].as_array().cloned().unwrap_or_default();
    let found: Vec<Value> = found.into_iter().filter(|it| it["check"] == check).collect();
    assert!(!found.is_empty(), "{}", ran.stdout);
    found
}

/// A lake of one blob of twenty records, each as long as the others.
fn lake_of_twenty() -> TempDir {
    let scratch = TempDir::new().expect("a scratch directory");
    write(scratch.path(), TRACE, lines(0..20));
    convert(scratch.path(), "3h");
    scratch
}

#[test]
fn a_lake_agrees_with_its_archive_and_a_sample_can_be_taken_again() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", ".", "--calls", "400", "--hours", "5", "--damaged", "3", "--torn"]).success();
    let receipt = convert(at, "3h").json();
    let all = verify(at, &["--all"]).success().json();
    assert_eq!(all["rows_counted"], receipt["records"]);
    assert_eq!(
        (&all["blobs_recounted"], &all["bytes_recounted"]),
        (&all["ranges_checked"], &receipt["bytes_committed"])
    );
    let sample = |seed: &str| verify(at, &["--sample", "5", "--seed", seed]).success().json();
    let first = sample("1");
    assert_eq!(first["blobs_recounted"], 5);
    assert_eq!(sample("1"), first);
    let table = verify(at, &["--format", "table"]).success();
    assert!(table.stdout.lines().all(|line| line.starts_with("ok ")), "{}", table.stdout);
}

#[test]
fn every_framing_agrees_after_every_growth() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    let [wrapper, marked, values, sealed] =
        ["wrapper", "marked", "values", "sealed"].map(|it| TRACE.replace("/S/", &format!("/{it}/")));
    let wrapped = format!("{{\"records\":[{},\n {}]}}\n", record(1), record(2));
    let with_mark = format!("\u{feff}{}\r\n\r\n{}\r\n", record(1), record(2));
    let pretty = "{\n \"time\": \"2026-11-01T13:00:00Z\",\n \"x\": 1\n}\n{\n \"y\": 2\n}\n".to_owned();
    for part in [1, 3, 12, 13, 90, 96, 300] {
        for (name, text) in [(&wrapper, &wrapped), (&marked, &with_mark), (&values, &pretty)] {
            write(at, name, &text.as_bytes()[..text.len().min(part)]);
        }
        convert(at, "3h");
        verify(at, &["--all"]).success();
    }
    write(at, &sealed, format!("{}{}", lines(0..2), record(2)));
    assert_eq!(convert(at, "0s").json()["rows"], 3, "the last record is taken without a line break");
    verify(at, &["--all"]).success();
    write(at, &sealed, format!("{}{}\n{}", lines(0..2), record(2), lines(3..5)));
    convert(at, "0s");
    verify(at, &["--all"]).success();
}

#[test]
fn a_row_that_is_there_twice_is_named() {
    let scratch = lake_of_twenty();
    let at = scratch.path();
    let log = at.join("lake/trace/_delta_log");
    let mut versions: Vec<_> = fs::read_dir(&log)
        .expect("a log")
        .map(|it| it.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    versions.sort();
    let last = fs::read_to_string(versions.last().expect("a version")).expect("a commit");
    let add = last.lines().find(|line| line.starts_with("{\"add\"")).expect("a file action");
    let mut action: Value = serde_json::from_str(add).expect("an action");
    let path = action["add"]["path"].as_str().expect("a path").to_owned();
    let copy = path.replace("part-", "part-copy-");
    fs::copy(at.join("lake/trace").join(&path), at.join("lake/trace").join(&copy)).expect("a copy");
    action["add"]["path"] = copy.into();
    let next = log.join(format!("{:020}.json", versions.len()));
    fs::write(next, format!("{action}\n")).expect("a commit");

    let twice = disagreements(at, "places");
    assert_eq!(twice.len(), 20);
    assert_eq!((&twice[1]["blob"], &twice[1]["byte"]), (&TRACE.into(), &(record(0).len() + 1).into()));
    assert!(twice[1]["detail"].as_str().is_some_and(|it| it.contains("2 times in trace")), "{}", twice[1]);
    assert_eq!(disagreements(at, "rows").len(), 1);
    assert_eq!(disagreements(at, "records")[0]["blob"], TRACE);
}

#[test]
fn a_blob_that_was_changed_under_its_length_is_named() {
    let scratch = lake_of_twenty();
    let at = scratch.path();
    let text = lines(0..20);
    write(at, TRACE, text.replace("id-0007", "id-0xx7"));
    let bytes = &disagreements(at, "records")[0];
    assert_eq!((&bytes["blob"], &bytes["byte"]), (&TRACE.into(), &0.into()), "the hash covers the whole of it");
    let table = verify(at, &["--all", "--format", "table"]);
    assert!(table.stdout.contains("FAIL  records") && table.stdout.contains("at byte 0"), "{}", table.stdout);
}

#[test]
fn a_change_before_what_is_hashed_shows_in_the_records() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    write(at, TRACE, lines(0..200));
    convert(at, "3h");
    write(at, TRACE, lines(0..200).replacen("{\"time\"", "x\"time\"", 1));
    let counts = &disagreements(at, "records")[0];
    let detail = counts["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("199 rows and 1 rejects") && detail.contains("200 and 0"), "{detail}");
}

#[test]
fn a_lost_file_of_rows_is_named() {
    let scratch = lake_of_twenty();
    let at = scratch.path();
    // Every row of the table out, by a commit of another program.
    let log = at.join("lake/trace/_delta_log");
    let versions = fs::read_dir(&log).expect("a log").filter_map(Result::ok).map(|it| it.path());
    let mut commits: Vec<_> = versions.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    commits.sort();
    let last = fs::read_to_string(commits.last().expect("a version")).expect("a commit");
    let add = last.lines().find(|line| line.starts_with("{\"add\"")).expect("a file action");
    let add: Value = serde_json::from_str(add).expect("an action");
    let remove = serde_json::json!({"remove": {
        "path": add["add"]["path"], "deletionTimestamp": 1_793_538_000_000_i64, "dataChange": true,
        "extendedFileMetadata": true, "partitionValues": add["add"]["partitionValues"], "size": add["add"]["size"],
    }});
    fs::write(log.join(format!("{:020}.json", commits.len())), format!("{remove}\n")).expect("a commit");

    let rows = &disagreements(at, "rows")[0];
    assert!(rows["detail"].as_str().is_some_and(|it| it.starts_with("0 rows and 0 rejects")), "{rows}");
    let records = &disagreements(at, "records")[0];
    assert_eq!((&records["blob"], &records["byte"]), (&TRACE.into(), &0.into()));
    assert!(records["detail"].as_str().is_some_and(|it| it.contains("the record here has no row")), "{records}");
}

#[test]
fn what_is_short_disagrees_and_what_is_long_or_gone_does_not() {
    let scratch = lake_of_twenty();
    let at = scratch.path();
    let other = TRACE.replace("h=13", "h=14");
    write(at, &other, lines(0..3));
    convert(at, "3h");
    write(at, TRACE, lines(0..25));
    fs::remove_file(blob(at, &other)).expect("a blob");
    let sound = verify(at, &["--all"]).success().json();
    assert_eq!((&sound["blobs_gone"], &sound["bytes_behind"]), (&1.into(), &lines(20..25).len().into()));

    write(at, TRACE, lines(0..10));
    let short = &disagreements(at, "listing")[0];
    assert_eq!((&short["blob"], &short["byte"]), (&TRACE.into(), &lines(0..10).len().into()));
}
