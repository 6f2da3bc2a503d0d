//! Blobs larger than a batch: committed in parts, interrupted between them, rewritten between them. And files so
//! small that many are read together: what befalls one of them befalls no other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use whocalled_fetch::{Archive, Auth};
use whocalled_lake::{Lake, LakeLocation, StorageOptions};
use whocalled_pipeline::{FindingKind, Options, Progress, Receipt, Selection, run, table_specs};
use whocalled_types::Limits;

const HOUR: u32 = 13;

/// After every file's time, and within the time that a blob stays open.
fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn lines(count: usize) -> String {
    (0..count)
        .map(|id| format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"Trace\",\"correlationId\":\"{id}\"}}\n"))
        .collect()
}

fn blob(at: &Path, hour: u32) -> PathBuf {
    at.join(format!("archive/insights-logs-trace/resourceId=/S/y=2026/m=11/d=01/h={hour:02}/m=00/PT1H.json"))
}

fn write_hour(at: &Path, hour: u32, text: &str) {
    let path = blob(at, hour);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a blob");
}

fn write(at: &Path, text: &str) {
    write_hour(at, HOUR, text);
}

/// Converts with batches of 500 bytes; `committed` is told each batch, and may ask to stop.
async fn convert(at: &Path, committed: impl Fn(i64) -> bool + Send + Sync + 'static) -> Receipt {
    let limits = Limits { batch_bytes_max: 500, segment_bytes_max: 200, ..Limits::STANDARD };
    convert_within(at, limits, move |progress| match progress {
        Progress::Committed { batch, .. } => committed(batch),
        _ => false,
    })
    .await
}

/// Converts; `told` is told how far it is, and may ask to stop.
async fn convert_within(at: &Path, limits: Limits, told: impl Fn(Progress) -> bool + Send + Sync + 'static) -> Receipt {
    let location = |name: &str| at.join(name).to_str().expect("a path").to_owned();
    let archive = Archive::open(&location("archive"), Auth::default(), now()).await.expect("an archive");
    let lake = LakeLocation::parse(&location("lake")).expect("a location");
    let mut lake = Lake::open_or_create(lake, StorageOptions::default(), &table_specs(), now()).await.expect("a lake");
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let options = Options {
        run_id: "test".to_owned(),
        selection: Selection::default(),
        seal_after: TimeDelta::hours(3),
        limits,
        thread_count: 2,
        clock: Arc::new(now),
        progress: Arc::new(move |progress| {
            asked.fetch_or(told(progress), Ordering::Relaxed);
        }),
        stop,
    };
    run(&archive, &mut lake, &options).await.finished().expect("a run")
}

#[tokio::test]
async fn a_blob_larger_than_a_batch_is_committed_in_parts() {
    let scratch = TempDir::new().expect("a scratch directory");
    write(scratch.path(), &lines(40));
    let receipt = convert(scratch.path(), |_| false).await;
    assert!(receipt.batches.len() > 4, "{:?}", receipt.batches);
    assert_eq!((receipt.rows, receipt.blobs_read, receipt.bytes_left.total()), (40, 1, 0));
    assert_eq!(convert(scratch.path(), |_| false).await.blobs_read, 0);
}

#[tokio::test]
async fn what_an_interrupted_run_left_is_read_by_the_next() {
    let scratch = TempDir::new().expect("a scratch directory");
    write(scratch.path(), &lines(40));
    let first = convert(scratch.path(), |batch| batch == 2).await;
    assert!(first.interrupted && first.bytes_left.not_reached > 0 && first.rows < 40);
    let second = convert(scratch.path(), |_| false).await;
    assert_eq!((first.rows + second.rows, second.bytes_left.total()), (40, 0));
}

#[tokio::test]
async fn a_record_longer_than_a_batch_is_taken_all_the_same() {
    let scratch = TempDir::new().expect("a scratch directory");
    let long = format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"Trace\",\"x\":\"{}\"}}\n", "y".repeat(3000));
    write(scratch.path(), &format!("{}{long}{}", lines(3), lines(3)));
    let receipt = convert(scratch.path(), |_| false).await;
    assert_eq!((receipt.rows, receipt.bytes_left.total()), (7, 0));
}

#[tokio::test]
async fn a_blob_rewritten_at_length_is_read_anew_in_parts() {
    let scratch = TempDir::new().expect("a scratch directory");
    write(scratch.path(), &lines(40));
    convert(scratch.path(), |_| false).await;
    write(scratch.path(), &lines(60).replace("13:00", "13:30"));
    let receipt = convert(scratch.path(), |_| false).await;
    assert_eq!((receipt.rows, receipt.bytes_left.total(), receipt.bytes_already_committed), (60, 0, 0));
    assert_eq!(receipt.findings.iter().map(|it| it.kind).collect::<Vec<_>>(), [FindingKind::Rewritten]);
    assert!(receipt.batches.len() > 5, "{:?}", receipt.batches);
}

#[tokio::test]
async fn of_files_read_together_each_fails_alone() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path().to_owned();
    (0..24).for_each(|hour| write_hour(&at, hour, &lines(3)));
    // After they were listed, and before they are read.
    let (gone, short) = (blob(&at, 5), blob(&at, 17));
    let first = convert_within(&at, Limits::STANDARD, move |progress| {
        if matches!(progress, Progress::Planned { .. }) {
            fs::remove_file(&gone).expect("a blob");
            fs::write(&short, lines(1)).expect("a blob");
        }
        false
    })
    .await;
    let lost_bytes = 2 * lines(3).len() as u64;
    assert_eq!((first.rows, first.bytes_left.gone, first.bytes_left.total()), (22 * 3, lost_bytes, lost_bytes));

    // All grow but for one, which is rewritten.
    (0..24).for_each(|hour| write_hour(&at, hour, &lines(4)));
    write_hour(&at, 9, &lines(4).replace("13:00", "13:30"));
    let second = convert_within(&at, Limits::STANDARD, |_| false).await;
    assert_eq!(second.findings.iter().map(|it| it.kind).collect::<Vec<_>>(), [FindingKind::Rewritten]);
    assert_eq!((second.rows, second.failures.len(), second.bytes_left.total()), (21 + 3 * 4, 0, 0));
}
