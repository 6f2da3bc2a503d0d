//! Bad input: one clear message that says what to do, and the documented exit code.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use whocalled_tests::program::{run, run_with};

/// An archive of one record, and a lake made from it.
fn prepared() -> TempDir {
    let scratch = TempDir::new().expect("a scratch directory");
    let blob = scratch.path().join("archive/insights-logs-trace/resourceId=/S/y=2026/m=11/d=01/h=13/m=00/PT1H.json");
    fs::create_dir_all(blob.parent().expect("a folder")).expect("a folder");
    fs::write(blob, "{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"Trace\"}\n").expect("a blob");
    run(scratch.path(), &["convert", "archive", "--lake", "lake"]).success();
    scratch
}

/// The program ends with `code`, says each of `words` on stderr, and nothing on stdout.
#[track_caller]
fn check(at: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let ran = run(at, arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{arguments:?} does not say {word:?}: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "{arguments:?}");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn archives_that_cannot_be_read() {
    let scratch = prepared();
    let at = scratch.path();
    check(at, &["convert", "nowhere", "--lake", "other"], 3, &["nowhere", "does not exist"]);
    fs::create_dir(at.join("empty")).expect("a directory");
    check(at, &["convert", "empty", "--lake", "other"], 3, &["no log container"]);
    fs::write(at.join("file"), "x").expect("a file");
    check(at, &["convert", "file", "--lake", "other"], 3, &["not a directory"]);
    check(at, &["convert", "archive", "--lake", "lake", "--container", "nope"], 3, &["nope", "insights-logs-trace"]);
    check(
        at,
        &[
            "convert",
            "https://127.0.0.1:9/account?sv=2022-11-02&sp=rl&se=2099-01-01T00:00:00Z&sig=SECRET",
            "--lake",
            "other",
        ],
        3,
        &["127.0.0.1:9"],
    );
}

#[test]
fn lakes_that_are_none() {
    let scratch = prepared();
    let at = scratch.path();
    check(at, &["report", "attribution", "--lake", "nowhere"], 4, &["no lake", "whocalled convert"]);
    fs::create_dir(at.join("photos")).expect("a directory");
    fs::write(at.join("photos/cat.png"), "x").expect("a file");
    check(at, &["convert", "archive", "--lake", "photos"], 4, &["photos", "cat.png"]);
    assert_eq!(fs::read_dir(at.join("photos")).expect("a directory").count(), 1, "nothing is written there");
    let marker = at.join("lake/whocalled-lake.json");
    let text = fs::read_to_string(&marker).expect("the lake's marker");
    let newer = text.replacen("\"format\":1", "\"format\":999", 1).replacen("\"format\": 1", "\"format\": 999", 1);
    assert_ne!(text, newer);
    fs::write(&marker, newer).expect("the lake's marker");
    check(at, &["convert", "archive", "--lake", "lake"], 4, &["999", "upgrade whocalled"]);
}

#[test]
fn questions_that_make_no_sense() {
    let scratch = prepared();
    let at = scratch.path();
    check(at, &["report", "attributoin", "--lake", "lake"], 2, &["attributoin", "attribution", "coverage"]);
    check(at, &["sql", "--lake", "lake", "-c", "SELEC 1"], 5, &["SELEC"]);
    check(at, &["sql", "--lake", "lake", "-c", "SELECT * FROM nowhere"], 5, &["nowhere", "attributed_calls"]);
    check(at, &["sql", "--lake", "lake", "-c", "DROP TABLE trace"], 5, &["read"]);
    check(at, &["sql", "--lake", "lake", "-c", "SELECT 1", "--format", "xml"], 2, &["xml", "ndjson"]);
    check(at, &["explain", "no-such-id", "--lake", "lake"], 9, &["no-such-id"]);
    check(at, &["report", "coverage", "--lake", "lake", "--from", "soon"], 2, &["soon", "-7d"]);
    check(at, &["export", "nothing", "--lake", "lake", "--to", "out"], 2, &["nothing"]);
    check(at, &["export", "trace", "--lake", "lake", "--to", "lake"], 2, &["lake"]);
    check(at, &["convert"], 2, &["archive"]);
    check(at, &["frobnicate"], 2, &["frobnicate"]);
}

#[test]
fn settings_with_an_unknown_key() {
    let scratch = prepared();
    let at = scratch.path();
    fs::write(at.join("whocalled.toml"), "lkae = \"lake\"\n").expect("a settings file");
    check(at, &["report", "coverage"], 2, &["lkae", "\"lake\"", "whocalled.toml"]);
    fs::write(at.join("whocalled.toml"), "lake = \"lake\"\n").expect("a settings file");
    run(at, &["report", "coverage"]).success();
    let other = run_with(at, &["status"], &[("WHOCALLED_LAKE", "nowhere")]);
    assert_eq!(other.code, 4, "the environment comes before the file");
}

#[test]
fn a_file_is_no_lake() {
    let scratch = prepared();
    let at = scratch.path();
    fs::write(at.join("lake-file"), "x").expect("a file");
    check(at, &["convert", "archive", "--lake", "lake-file"], 4, &["not a directory"]);
}

#[test]
fn another_account_is_not_mixed_into_a_lake() {
    // Two accounts may hold blobs of the same names; a directory may be a copy of either.
    let scratch = prepared();
    let sql = "SELECT DISTINCT archive FROM ledger WHERE kind = 'range'";
    let ran = run(scratch.path(), &["sql", "--lake", "lake", "-c", sql, "--format", "csv"]).success();
    assert_eq!(ran.stdout, "archive\ndirectory\n");
}
