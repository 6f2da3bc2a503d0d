//! An archive that grows, is touched, cut and made anew, converted in between: every complete
//! record is in the lake once, whatever happened.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use whocalled_tests::program::run;

const CONTAINER: &str = "insights-logs-requestresponse";

/// A directory archive that remembers what the lake must hold.
struct Model {
    scratch: TempDir,
    /// What each blob holds.
    blobs: BTreeMap<u8, Vec<u8>>,
}

impl Model {
    fn new() -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        fs::create_dir_all(scratch.path().join("archive").join(CONTAINER)).expect("a container");
        Self { scratch, blobs: BTreeMap::new() }
    }

    fn path(&self, blob: u8) -> PathBuf {
        let hour = format!("y=2026/m=11/d=01/h={blob:02}/m=00/PT1H.json");
        let resource = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A";
        self.scratch.path().join("archive").join(CONTAINER).join(resource).join(hour)
    }

    fn append(&mut self, blob: u8, bytes: &[u8]) {
        let path = self.path(blob);
        fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a blob");
        file.write_all(bytes).expect("an append");
        self.blobs.entry(blob).or_default().extend_from_slice(bytes);
    }

    /// Writes a blob anew, with other content.
    fn replace(&mut self, blob: u8, bytes: &[u8]) {
        let path = self.path(blob);
        fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
        fs::write(path, bytes).expect("a blob");
        self.blobs.insert(blob, bytes.to_vec());
    }

    fn touch(&self, blob: u8) {
        if let Ok(file) = OpenOptions::new().append(true).open(self.path(blob)) {
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000)).expect("a touch");
        }
    }

    fn convert(&self) -> serde_json::Value {
        run(self.scratch.path(), &["convert", "archive", "--lake", "lake", "--quiet"]).success().json()
    }

    /// Every complete line of every blob, with the blob and byte where it begins.
    fn expected(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (blob, bytes) in &self.blobs {
            let mut at = 0;
            while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
                let line = &bytes[at..at + length];
                if !line.trim_ascii().is_empty() {
                    let is_record = serde_json::from_slice::<serde_json::Value>(line).is_ok();
                    lines.push(format!("{blob} {at} {}", if is_record { "row" } else { "reject" }));
                }
                at += length + 1;
            }
        }
        lines.sort();
        lines
    }

    fn found(&self) -> Vec<String> {
        let sql = "SELECT CAST(substr(blob, strpos(blob, 'h=') + 2, 2) AS INT) AS h, blob_offset, 'row' AS k FROM request_response \
                   UNION ALL SELECT CAST(substr(blob, strpos(blob, 'h=') + 2, 2) AS INT), blob_offset, 'reject' FROM rejects";
        let ran = run(self.scratch.path(), &["sql", "--lake", "lake", "-c", sql, "--format", "csv"]).success();
        let mut lines: Vec<String> = ran.stdout.lines().skip(1).map(|line| line.replace(',', " ")).collect();
        lines.sort();
        lines
    }

    #[track_caller]
    fn check(&self) -> serde_json::Value {
        let receipt = self.convert();
        assert_eq!(self.found(), self.expected());
        receipt
    }
}

fn line(id: u32) -> String {
    format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"RequestResponse\",\"correlationId\":\"é-{id}\"}}\n")
}

#[test]
fn only_new_bytes_are_committed() {
    let mut model = Model::new();
    model.append(1, line(1).as_bytes());
    assert_eq!(model.check()["bytes_committed"], line(1).len());
    let again = model.check();
    assert_eq!((again["bytes_committed"].as_u64(), again["blobs_read"].as_u64()), (Some(0), Some(0)));
    assert_eq!(again["batches"].as_array().map(Vec::len), Some(0), "nothing is committed");

    let torn = line(2);
    let cut = torn.find('é').expect("a character of two bytes") + 1;
    model.append(1, &torn.as_bytes()[..cut]);
    assert_eq!(model.check()["bytes_left"]["torn"], cut);
    model.append(1, &torn.as_bytes()[cut..]);
    assert_eq!(model.check()["bytes_committed"], torn.len());

    model.touch(1);
    let touched = model.check();
    assert_eq!(
        (touched["blobs_read"].as_u64(), touched["requests"].as_u64()),
        (Some(0), Some(0)),
        "a touch is no reason to read"
    );
}

#[test]
fn a_blob_made_anew_replaces_its_rows_and_is_a_finding() {
    let mut model = Model::new();
    model.append(1, format!("{}{}oops\n", line(1), line(2)).as_bytes());
    model.append(2, line(3).as_bytes());
    model.check();
    model.replace(1, line(4).as_bytes());
    let shrunk = model.check();
    assert_eq!(shrunk["findings"][0]["kind"], "shrunk");
    model.replace(2, format!("{}{}", line(9).replace("13:00", "13:01"), line(5)).as_bytes());
    let rewritten = model.check();
    assert_eq!(rewritten["findings"][0]["kind"], "rewritten");
    model.replace(1, b"");
    model.check();
    model.append(1, line(6).as_bytes());
    model.check();
}

#[test]
fn a_blob_that_stays_torn_is_a_finding() {
    let mut model = Model::new();
    let torn = line(2);
    model.append(1, format!("{}{}", line(1), &torn[..30]).as_bytes());
    assert_eq!(model.check()["findings"].as_array().map(Vec::len), Some(0), "it may still grow");
    let sealed =
        run(model.scratch.path(), &["convert", "archive", "--lake", "lake", "--seal-after", "0s"]).success().json();
    assert_eq!(sealed["findings"][0]["kind"], "torn");
    model.append(1, &torn.as_bytes()[30..]);
    assert_eq!(model.check()["bytes_left"]["torn"], 0);
}

#[test]
fn a_deleted_blob_keeps_its_rows() {
    let mut model = Model::new();
    model.append(1, line(1).as_bytes());
    model.append(2, line(2).as_bytes());
    model.check();
    fs::remove_file(model.path(1)).expect("a lifecycle rule");
    let receipt = model.check();
    assert_eq!(receipt["blobs_listed"], 1);
}

/// What may happen to a blob between two runs.
#[derive(Debug, Clone)]
enum Event {
    Append(u8, u32),
    AppendRubbish(u8),
    AppendTorn(u8, u32, usize),
    Touch(u8),
    Truncate(u8, usize),
    Replace(u8, u32),
    Convert,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3u8, any::<u32>()).prop_map(|(blob, id)| Event::Append(blob, id)),
        1 => (0..3u8).prop_map(Event::AppendRubbish),
        2 => (0..3u8, any::<u32>(), 1..60usize).prop_map(|(blob, id, cut)| Event::AppendTorn(blob, id, cut)),
        1 => (0..3u8).prop_map(Event::Touch),
        1 => (0..3u8, 0..200usize).prop_map(|(blob, length)| Event::Truncate(blob, length)),
        1 => (0..3u8, any::<u32>()).prop_map(|(blob, id)| Event::Replace(blob, id)),
        3 => Just(Event::Convert),
    ]
}

proptest! {
    // Each case starts the program several times.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_ends_with_every_record_once(events in prop::collection::vec(event(), 4..14)) {
        let mut model = Model::new();
        model.append(0, line(0).as_bytes());
        for event in events {
            match event {
                Event::Append(blob, id) => model.append(blob, line(id).as_bytes()),
                Event::AppendRubbish(blob) => model.append(blob, b"\r\n\nrubbish\n"),
                Event::AppendTorn(blob, id, cut) => model.append(blob, &line(id).as_bytes()[..cut]),
                Event::Touch(blob) => model.touch(blob),
                Event::Truncate(blob, length) => {
                    let mut bytes = model.blobs.get(&blob).cloned().unwrap_or_default();
                    bytes.truncate(length);
                    model.replace(blob, &bytes);
                }
                Event::Replace(blob, id) => {
                    let bytes = format!("{}{}", line(id).replace("13:00", "13:59"), line(id));
                    model.replace(blob, bytes.as_bytes());
                }
                Event::Convert => { model.check(); }
            }
        }
        model.check();
    }
}

/// Rows of the simulated archive, as its truth counts them.
#[test]
fn a_simulated_archive_is_converted_without_loss() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    let truth = run(
        at,
        &["simulate", "--out", "tenant", "--calls", "2000", "--hours", "6", "--damaged", "3", "--accounts", "9"],
    );
    let truth = truth.success().json();
    // What closes a wrapper is committed once its blob is sealed.
    let receipt = run(at, &["convert", "tenant", "--lake", "lake", "--seal-after", "0s"]).success().json();
    assert_eq!(receipt["rows_by_table"], truth["rows_by_table"]);
    assert_eq!(receipt["bytes_committed"], truth["archive_bytes"]);
    let verified = run(at, &["verify", "tenant", "--lake", "lake", "--all"]).success().json();
    assert_eq!(verified["rows_counted"], truth["record_count"]);
    let doubled = copy_twice(at);
    assert_eq!(doubled["bytes_written"], 0, "a second fetch has nothing to do");
}

/// Mirrors the archive twice; the mirror is byte-exact, and converts to nothing new.
fn copy_twice(at: &Path) -> serde_json::Value {
    run(at, &["fetch", "tenant", "--to", "mirror"]).success();
    let receipt = run(at, &["convert", "mirror", "--lake", "lake"]).success().json();
    assert_eq!(receipt["bytes_committed"], 0);
    run(at, &["fetch", "tenant", "--to", "mirror"]).success().json()
}
