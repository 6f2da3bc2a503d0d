//! `whocalled status`: what is committed, and how the last runs went.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use whocalled_lake::{Lake, LakeLocation, StorageOptions};
use whocalled_tests::program::run;

const BLOB: &str = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS";
/// How wide a terminal is, in characters.
const WIDTH: usize = 120;

fn rows(at: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let arguments = [&["status", "--lake", "lake", "--format", "json"], arguments].concat();
    serde_json::from_str(&run(at, &arguments).success().stdout).expect("an array of rows")
}

fn write(at: &Path, account: &str, hour: &str, text: &str, modified_at: DateTime<Utc>) {
    let blob = at.join("archive/insights-logs-audit").join(BLOB).join(account).join(hour).join("PT1H.json");
    fs::create_dir_all(blob.parent().expect("a directory")).expect("written");
    fs::write(&blob, text).expect("written");
    fs::File::options().write(true).open(&blob).expect("opened").set_modified(modified_at.into()).expect("touched");
}

/// An hour that is not over.
const NOT_OVER: &str = "y=2999/m=01/d=01/h=00/m=00";

#[test]
fn each_resource_says_how_far_it_is() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    let now: DateTime<Utc> = fs::metadata(at).and_then(|it| it.modified()).expect("a time").into();
    let record = "{\"time\":\"2026-11-02T01:00:00Z\",\"category\":\"Audit\"}\n";
    let (old, torn) = (now - TimeDelta::days(1), format!("{record}{{\"time\""));
    write(at, "A", "y=2026/m=11/d=02/h=01/m=00", record, old);
    write(at, "A", "y=2026/m=11/d=02/h=03/m=00", &record.repeat(2), now - TimeDelta::hours(1));
    write(at, "A", "y=2026/m=11/d=02/h=02/m=00", &torn, now - TimeDelta::hours(1));
    write(at, "A", NOT_OVER, record, old);
    write(at, "B", "y=2026/m=11/d=02/h=04/m=00", &format!("{record}no JSON\n"), now);
    run(at, &["convert", "archive", "--lake", "lake", "--seal-after", "59m"]).success();

    let found = rows(at, &[]);
    let [a, b] = found.as_slice() else { panic!("two resources: {found:?}") };
    assert_eq!(a["container"], "insights-logs-audit");
    assert_eq!(a["category"], "audit");
    assert_eq!(a["resource"], "/subscriptions/s/resourcegroups/g/providers/microsoft.cognitiveservices/accounts/a");
    let counts = |it: &serde_json::Value| {
        ["blobs", "open", "quiet", "sealed", "gone", "rows", "rejects"].map(|name| it[name].as_u64().expect("a count"))
    };
    assert_eq!(counts(a), [4, 1, 2, 1, 0, 5, 0]);
    assert_eq!(counts(b), [1, 1, 0, 0, 0, 1, 1]);
    assert_eq!(a["committed_bytes"], record.len() * 5);
    assert_eq!(a["left_bytes"], torn.len() - record.len(), "the torn end waits");
    assert_eq!((&a["newest_hour"], &a["lag_seconds"]), (&"2999-01-01T00:00:00Z".into(), &0.into()));
    assert_eq!(b["newest_hour"], "2026-11-02T04:00:00Z");
    assert!(b["lag_seconds"].as_u64().expect("a lag") > 0);
    let sooner = counts(&rows(at, &["--seal-after", "59m"])[0]);
    assert_eq!(sooner[1..4], [1, 0, 3], "the torn end was looked at for good, and is sealed with its blob");

    let table = run(at, &["status", "--lake", "lake"]).success().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
    assert!(table.contains("audit") && table.contains("  a  "), "{table}");
}

#[tokio::test]
async fn kept_receipts_are_shown_newest_first_and_damaged_ones_too() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "10", "--hours", "1"]).success();
    run(at, &["convert", "tenant", "--lake", "lake"]).success();
    let location = LakeLocation::parse(&at.join("lake").display().to_string()).expect("a location");
    let lake = Lake::open(location, StorageOptions::default()).await.expect("a lake");
    // Ahead of every run that has a receipt of its own.
    let begin: DateTime<Utc> = "2999-01-01T00:00:00Z".parse().expect("a time");
    let finished = r#"{"state":"finished","started_at":"2999-01-01T00:00:00.5Z","finished_at":"2999-01-01T01:02:03.5Z",
        "batches":[1,2,3],"blobs_read":4000000,"bytes_committed":5368709120,"rows":123456789,"rejects":6,
        "requests":700000,"bytes_received":8,"failures":[{"blob":"c/b"}],"findings":[{},{}],"error":null}"#;
    let failed = r#"{"state":"failed","error":"the lake's disk is full","finished_at":"2999-01-02T00:00:09Z"}"#;
    for (days, run_id, json) in [
        (0, "run-0", finished),
        (1, "run-1", failed),
        (2, "run-2", "{\"state\""),
        (3, "run-3", r#"{"state":"running"}"#),
    ] {
        lake.put_receipt(begin + TimeDelta::days(days), run_id, json.as_bytes()).await.expect("kept");
    }

    let found = rows(at, &["--runs", "4"]);
    let column = |name: &str| found.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("run_id"), ["run-3", "run-2", "run-1", "run-0"]);
    assert_eq!(column("state"), ["running", "damaged", "failed", "finished"]);
    assert_eq!(found[2]["error"], "the lake's disk is full");
    assert_eq!(found[2]["duration_seconds"], 9.0);
    assert_eq!(found[0]["duration_seconds"], serde_json::Value::Null, "it is not over");
    let whole = &found[3];
    assert_eq!((&whole["batches"], &whole["failures"], &whole["findings"]), (&3.into(), &1.into(), &2.into()));
    assert_eq!((&whole["rows"], &whole["duration_seconds"]), (&123_456_789.into(), &3723.0.into()));
    assert_eq!(rows(at, &["--runs", "2"]).len(), 2);
    assert!(rows(at, &["--runs"]).len() >= 4);

    let table = run(at, &["status", "--lake", "lake", "--runs", "4"]).success().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
    assert!(table.contains("1h 02m") && table.contains("5.0 GiB"), "{table}");
}
