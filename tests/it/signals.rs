//! A run that is asked to end: it commits what it has begun, says so, and the next one goes on.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use whocalled_tests::program::{run, whocalled};

#[test]
fn a_terminated_run_ends_with_its_receipt_and_the_next_goes_on() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "1500", "--hours", "12"]).success();
    let mut program = Command::new(whocalled())
        .args(["convert", "tenant", "--lake", "lake"])
        .env("WHOCALLED_BATCH_BYTES_MAX", "20000")
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut said = BufReader::new(program.stderr.take().expect("stderr")).lines();
    let is_committed = |line: &str| line.starts_with("batch 2 committed");
    assert!(said.any(|line| is_committed(&line.expect("a line"))), "it has batches to be interrupted between");
    let killed = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().expect("kill is there");
    assert!(killed.success());
    let said: Vec<String> = said.map(|line| line.expect("a line")).collect();
    let mut receipt = String::new();
    program.stdout.take().expect("stdout").read_to_string(&mut receipt).expect("text");
    assert_eq!(program.wait().expect("it ends").code(), Some(130), "{said:?}");

    let first: serde_json::Value = serde_json::from_str(&receipt).expect("a receipt");
    assert_eq!((&first["interrupted"], &first["state"]), (&true.into(), &"finished".into()));
    assert!(first["bytes_left"]["not_reached"].as_u64() > Some(0), "{first}");
    let second = run(at, &["convert", "tenant", "--lake", "lake"]).success().json();
    let both = |field: &str| first[field].as_u64().unwrap_or(0) + second[field].as_u64().unwrap_or(0);
    let whole = run(at, &["convert", "tenant", "--lake", "other"]).success().json();
    assert_eq!((Some(both("rows")), Some(both("rejects"))), (whole["rows"].as_u64(), whole["rejects"].as_u64()));
    let runs = run(at, &["status", "--runs", "--lake", "lake", "--format", "csv"]).success().stdout;
    assert!(runs.contains("stopped") && runs.lines().count() == 3, "{runs}");
}
