//! Commits: what they refuse, what two at once do, and what they leave in the files.

use parquet::file::reader::{FileReader, SerializedFileReader};
use whocalled_types::{BlobFinding, BlobPhase, ErrorKind};

use crate::BlobState;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_there_after_every_growth() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 5), ("c/b", 1)]);
    let mut lake = lake(&directory).await;
    let committed = archive.convert(&mut lake).await.unwrap();
    assert_eq!(committed.batch, 1);
    assert_eq!(committed.rows.values().sum::<u64>(), 6);
    archive.grow("c/a", 20);
    archive.convert(&mut lake).await.unwrap();
    assert_holds(&lake, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;

    let versions = TABLES.map(|table| lake.table_version(table).unwrap());
    let unchanged = archive.convert(&mut lake).await.unwrap();
    assert_eq!((unchanged.batch, unchanged.files_added), (2, 0), "nothing new is no commit");
    assert_eq!(versions, TABLES.map(|table| lake.table_version(table).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_that_race_one_commits() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 5)]);
    lake(&directory).await;
    let (mut one, mut two) = (lake(&directory).await, lake(&directory).await);
    let (left, right) = tokio::join!(archive.convert(&mut one), archive.convert(&mut two));
    let (mut loser, error) = match (left, right) {
        (Ok(_), Err(error)) => (two, error),
        (Err(error), Ok(_)) => (one, error),
        other => panic!("one must win: {other:?}"),
    };
    assert!(matches!(error, Error::Conflict { batch: 1 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Retry);

    let refused = archive.convert(&mut loser).await;
    assert!(matches!(refused, Err(Error::RecoverFirst { .. })), "a loser must look again first");
    loser.recover(now()).await.unwrap();
    archive.grow("c/a", 3);
    archive.convert(&mut loser).await.unwrap();
    assert_holds(&loser, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_planned_on_an_old_state_commits_nothing() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 5)]);
    let (mut one, mut late) = (lake(&directory).await, lake(&directory).await);
    let stale = archive.batch(&late);
    archive.convert(&mut one).await.unwrap();
    archive.grow("c/b", 2);
    archive.convert(&mut one).await.unwrap();
    assert!(matches!(late.commit(stale.clone(), now()).await, Err(Error::Conflict { batch: 1 })));
    late.recover(now()).await.unwrap();
    assert!(matches!(late.commit(stale, now()).await, Err(Error::Advance { .. })), "those bytes are committed");
    assert_holds(&late, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_balance_is_refused() {
    let directory = TempDir::new().unwrap();
    let archive = Archive::of(&[("c/a", 6)]);
    let mut lake = lake(&directory).await;
    let whole = archive.batch(&lake);
    let mut wrong: Vec<Batch> = vec![whole.clone(); 4];
    wrong[0].rows.remove(&Table::Audit);
    wrong[1].rows.remove(&Table::Rejects);
    wrong[2].advances[0].record_count += 1;
    wrong[3].push(Table::Ledger, rows("c/a", 0, &[0]));
    for batch in wrong {
        let error = lake.commit(batch, now()).await.unwrap_err();
        assert!(matches!(error, Error::Unbalanced { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Abort);
    }
    let mut unknown = whole.clone();
    let extra = RecordBatch::try_from_iter([("more", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
    unknown.rows.insert(Table::Audit, vec![extra]);
    let error = lake.commit(unknown, now()).await.unwrap_err();
    assert!(error.to_string().contains("column more"), "{error}");
    lake.commit(whole, now()).await.unwrap();
    assert_holds(&lake, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_created_blob_replaces_its_rows_and_no_others() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 12), ("c/b", 12), ("c/c", 12)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    archive.grow("c/b", 3);
    archive.convert(&mut lake).await.unwrap();
    archive.replace("c/b", 4);
    let committed = archive.convert(&mut lake).await.unwrap();
    assert!(committed.files_removed > 0);
    assert_holds(&lake, &archive).await;
    // Re-created and empty: its rows go, and none come.
    archive.replace("c/b", 0);
    archive.convert(&mut lake).await.unwrap();
    assert_holds(&lake, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_of_a_blob_may_share_a_batch() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 4)]);
    let mut lake = lake(&directory).await;
    let first = archive.batch(&lake);
    archive.grow("c/a", 5);
    let both = archive.batch(&lake);
    let mut split = both.clone();
    let mut second = both.advances[0].clone();
    second.advance.from = 40;
    second.record_count -= first.advances[0].record_count;
    second.row_count -= first.advances[0].row_count;
    second.reject_count -= first.advances[0].reject_count;
    split.advances = vec![first.advances[0].clone(), second];
    lake.commit(split, now()).await.unwrap();
    assert_holds(&lake, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;
}

/// An empty range of a blob, with what was found.
fn found(lake: &Lake, blob: &str, finding: Option<BlobFinding>) -> Batch {
    let state = &known(lake)[blob];
    let advance = BlobAdvance {
        blob: blob.to_owned(),
        advance: Advance { from: state.position.bytes, to: state.position.clone() },
        listed_bytes: state.listed_bytes,
        created_at: state.created_at,
        modified_at: state.modified_at,
        record_count: 0,
        row_count: 0,
        reject_count: 0,
        finding,
    };
    Batch { run_id: "run-1".to_owned(), archive: "directory".to_owned(), advances: vec![advance], ..Batch::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_gone_keeps_its_rows_and_may_come_back() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 5), ("c/b", 1)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    let is_gone = async |lake: &Lake| {
        let read = open(&directory).await;
        assert_eq!(known(&read)["c/a"], known(lake)["c/a"], "from the ledger and in memory");
        assert_holds(&read, &archive).await;
        known(&read)["c/a"].gone
    };
    assert!(!is_gone(&lake).await);
    lake.commit(found(&lake, "c/a", Some(BlobFinding::Gone)), now()).await.unwrap();
    assert!(is_gone(&lake).await);
    assert!(!known(&lake)["c/b"].gone);
    lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    assert!(is_gone(&lake).await, "compaction forgets nothing");

    lake.commit(found(&lake, "c/a", None), now()).await.unwrap();
    assert!(!is_gone(&lake).await, "it is back as it was");
    lake.commit(found(&lake, "c/a", Some(BlobFinding::Gone)), now()).await.unwrap();
    archive.grow("c/a", 2);
    let mut grown = archive.batch(&lake);
    grown.advances[0].finding = Some(BlobFinding::Reopened);
    lake.commit(grown, now()).await.unwrap();
    assert!(!known(&lake)["c/a"].gone, "it is back, and has grown");
    assert_holds(&open(&directory).await, &archive).await;

    let findings: Vec<Option<String>> = read(&lake, Table::Ledger).await.iter().flat_map(texts_of_finding).collect();
    let count = |name: &str| findings.iter().flatten().filter(|it| *it == name).count();
    assert_eq!((count("gone"), count("reopened"), findings.iter().flatten().count()), (2, 1, 3));
}

fn texts_of_finding(rows: &RecordBatch) -> Vec<Option<String>> {
    let column = rows.column_by_name("finding").unwrap().as_string::<i32>();
    column.iter().map(|it| it.map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phase_of_a_blob_follows_from_its_last_commit() {
    let directory = TempDir::new().unwrap();
    let blob = "insights-logs-audit/resourceId=/X/y=2026/m=10/d=31/h=13/m=00/PT1H.json";
    let archive = Archive::of(&[(blob, 5)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    let (begin, seal_after) = (DateTime::from_timestamp(1_793_451_600, 0).unwrap(), TimeDelta::hours(3));
    let state = |modified: i64, committed: i64, left: u64| {
        let mut state = known(&lake)[blob].clone();
        state.modified_at = Some(begin + TimeDelta::minutes(modified));
        state.committed_at = begin + TimeDelta::minutes(committed);
        state.listed_bytes += left;
        state
    };
    for (state, minutes, expected) in [
        (state(5, 10, 0), 59, BlobPhase::Open),
        (state(5, 10, 0), 60, BlobPhase::Quiet),
        (state(58, 60, 0), 72, BlobPhase::Open),
        (state(58, 60, 0), 73, BlobPhase::Quiet),
        (state(58, 60, 0), 58 + 180, BlobPhase::Sealed),
        (state(58, 60, 7), 58 + 180, BlobPhase::Quiet),
        (BlobState { torn: true, ..state(58, 58 + 180, 7) }, 58 + 180, BlobPhase::Sealed),
        (BlobState { modified_at: None, ..state(0, 60, 0) }, 60 + 179, BlobPhase::Quiet),
        (BlobState { modified_at: None, ..state(0, 60, 0) }, 60 + 180, BlobPhase::Sealed),
        (BlobState { gone: true, ..state(58, 60, 7) }, 59, BlobPhase::Gone),
    ] {
        let phase = state.phase(blob, seal_after, begin + TimeDelta::minutes(minutes));
        assert_eq!(phase, expected, "after {minutes} minutes: {state:?}");
    }
    assert_eq!((state(58, 60, 7).left_bytes(), BlobState { gone: true, ..state(58, 60, 7) }.left_bytes()), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sorted_and_say_what_they_hold() {
    let directory = TempDir::new().unwrap();
    let archive = Archive::of(&[("c/a", 60)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    let files = lake.files(Table::RequestResponse).unwrap();
    assert_eq!(files.len(), 2, "one per date");
    for file in files {
        let opened = std::fs::File::open(directory.path().join("lake").join(file.path.as_ref())).unwrap();
        assert_eq!(opened.metadata().unwrap().len(), file.bytes);
        let reader = SerializedFileReader::new(opened).unwrap();
        let metadata = reader.metadata();
        let names: Vec<&str> = metadata.file_metadata().schema_descr().columns().iter().map(|it| it.name()).collect();
        assert_eq!(names, ["time", "account", "correlation_id", "blob", "generation", "blob_offset"]);
        let keys = metadata.file_metadata().key_value_metadata();
        assert!(keys.is_none_or(|keys| keys.iter().all(|it| it.key != "ARROW:schema")));
        assert!(metadata.row_group(0).column(2).bloom_filter_offset().is_some());
        assert!(metadata.row_group(0).column(1).bloom_filter_offset().is_none());

        let statistics: serde_json::Value = serde_json::from_str(&file.statistics.unwrap()).unwrap();
        assert_eq!(statistics["minValues"]["account"], "account-0");
        assert_eq!(statistics["maxValues"]["account"], "account-1");
        assert_eq!(statistics["nullCount"]["blob"], 0);
        let day = file.date.unwrap().to_string();
        assert!(statistics["minValues"]["time"].as_str().unwrap() <= statistics["maxValues"]["time"].as_str().unwrap());
        assert!(statistics["maxValues"]["time"].as_str().unwrap().starts_with(&format!("{day}T00:00:0")));
    }
    for rows in read(&lake, Table::RequestResponse).await {
        let accounts = rows.column_by_name("account").unwrap().as_string::<i32>();
        let times = rows.column_by_name("time").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let order: Vec<_> = (0..rows.num_rows()).map(|row| (accounts.value(row), times.value(row))).collect();
        assert!(order.is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_keep_positions_and_batch_numbers() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::default();
    let mut lake = lake(&directory).await;
    for _ in 0..55 {
        archive.grow("c/a", 1);
        archive.convert(&mut lake).await.unwrap();
    }
    let log = directory.path().join("lake/ledger/_delta_log");
    let names = std::fs::read_dir(log).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().any(|name| name.ends_with(".checkpoint.parquet")));
    let mut lake = open(&directory).await;
    assert_holds(&lake, &archive).await;
    assert_eq!(lake.recover(now()).await.unwrap().applied, vec![]);
    archive.grow("c/a", 1);
    archive.convert(&mut lake).await.unwrap();
    assert_eq!(lake.last_batch(), 56);
}

/// Callers run these on a multi-threaded runtime, inside tasks.
#[tokio::test(flavor = "multi_thread")]
async fn operations_can_move_between_threads() {
    fn can<T: Send>(operation: T) -> T {
        operation
    }
    let directory = TempDir::new().unwrap();
    let place = location(&directory.path().join("lake"));
    let specs = specs();
    let opened = can(Lake::open_or_create(place.clone(), StorageOptions::default(), &specs, now())).await;
    let mut lake = opened.unwrap();
    can(lake.commit(Batch::default(), now())).await.unwrap();
    can(lake.recover(now())).await.unwrap();
    can(lake.optimize("run-1", 1 << 20, now())).await.unwrap();
    can(lake.vacuum(days(7), now())).await.unwrap();
    can(Lake::open(place, StorageOptions::default())).await.unwrap();
}
