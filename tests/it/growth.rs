//! An archive that grows, is touched, cut and made anew, converted in between: every complete
//! record is in the lake once, and the receipt says what happened.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use whocalled_tests::contents::contents;
use whocalled_tests::local_archive::{blob_name, rows_of};
use whocalled_tests::program::{run, run_with};
use whocalled_tests::random::Random;

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
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000_000)).expect("a touch");
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

/// Whatever is appended while a run reads, at whatever byte: every run commits whole records up to
/// some position, and the last one all of them.
#[test]
fn a_blob_that_grows_while_it_is_read_is_committed_to_the_end_of_a_record() {
    let scratch = TempDir::new().expect("a scratch directory");
    let blob = blob_name("RequestResponse", 0);
    let path = scratch.path().join("archive").join(&blob);
    fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a blob");
    file.write_all(line(0).as_bytes()).expect("an append");
    let small = [("WHOCALLED_BATCH_BYTES_MAX", "20000")];
    let convert = || run_with(scratch.path(), &["convert", "archive", "--lake", "lake", "--quiet"], &small).success();
    let shown = || contents(&scratch.path().join("lake")).expect("a lake");

    let done = AtomicBool::new(false);
    // How long the blob may get: a slow machine would otherwise have ever more to convert from run to run.
    let bytes_max = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new();
            let mut id = 1;
            while !done.load(Ordering::Relaxed) {
                if file.metadata().expect("a length").len() > bytes_max.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let text: String = (0..20).map(|more| line(id + more)).collect();
                id += 20;
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    let length = 1 + usize::try_from(random.below(rest.len() as u64)).expect("a length");
                    let (piece, later) = rest.split_at(length);
                    file.write_all(piece).expect("an append");
                    rest = later;
                    std::thread::sleep(Duration::from_millis(4));
                }
            }
        });
        for _ in 0..8 {
            bytes_max.store(fs::metadata(&path).expect("a blob").len() + 400_000, Ordering::Relaxed);
            convert();
            let held = fs::read(&path).expect("a blob");
            let shown = shown();
            let committed = usize::try_from(shown.positions[&blob].1).expect("a small blob");
            let mut expected = rows_of(&blob, 0, &held[..committed]);
            expected.sort();
            assert_eq!(shown.rows, expected);
        }
        done.store(true, Ordering::Relaxed);
    });
    convert();
    let shown = shown();
    let held = fs::read(&path).expect("a blob");
    assert_eq!(shown.positions[&blob], (0, held.len() as u64));
    assert_eq!(shown.rows.len(), rows_of(&blob, 0, &held).len());
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
