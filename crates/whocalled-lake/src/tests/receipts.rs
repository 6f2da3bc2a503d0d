//! Receipts kept in the lake.

use crate::RECEIPTS_RETENTION;

use super::*;

fn run_ids(receipts: &[crate::KeptReceipt]) -> Vec<&str> {
    receipts.iter().map(|it| it.run_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_receipts_are_given_back_newest_first() {
    let directory = TempDir::new().unwrap();
    let lake = lake(&directory).await;
    assert_eq!(lake.receipts(10).await.unwrap(), []);
    let minutes = TimeDelta::minutes;
    for (run_id, started_at) in [("b-2", now() + minutes(5)), ("a-1", now()), ("c-3", now() + minutes(9))] {
        lake.put_receipt(started_at, run_id, b"{\"state\":\"running\"}").await.unwrap();
    }
    lake.put_receipt(now(), "a-1", b"{\"state\":\"finished\"}").await.unwrap();

    // What others leave in the directory is no receipt, and neither keeps the rest from being read.
    let kept = directory.path().join("lake/_receipts");
    std::fs::write(kept.join("notes.txt"), b"").unwrap();
    std::fs::write(kept.join("20261101T000000Z-torn.json#1"), b"").unwrap();

    let receipts = open(&directory).await.receipts(10).await.unwrap();
    assert_eq!(run_ids(&receipts), ["c-3", "b-2", "a-1"]);
    assert_eq!(receipts[2].started_at, now());
    assert_eq!(receipts[2].json.as_ref(), b"{\"state\":\"finished\"}", "the later takes the place of the earlier");
    assert_eq!(run_ids(&lake.receipts(2).await.unwrap()), ["c-3", "b-2"]);
    for run_id in ["", "../a", "a/b", "a#1"] {
        assert!(matches!(lake.put_receipt(now(), run_id, b"{}").await, Err(Error::Argument { .. })), "{run_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_deletes_old_receipts_and_no_others() {
    let directory = TempDir::new().unwrap();
    let mut lake = lake(&directory).await;
    assert_eq!(lake.vacuum(days(7), now()).await.unwrap().receipts, 0, "a lake without receipts");
    lake.put_receipt(now() - RECEIPTS_RETENTION, "kept", b"{}").await.unwrap();
    lake.put_receipt(now() - RECEIPTS_RETENTION - TimeDelta::seconds(1), "old", b"not JSON").await.unwrap();
    let kept = directory.path().join("lake/_receipts");
    std::fs::write(kept.join("20261101T000000Z-torn.json#1"), b"half").unwrap();
    let written: DateTime<Utc> = std::fs::metadata(&kept).unwrap().modified().unwrap().into();

    let vacuumed = lake.vacuum(days(7), now()).await.unwrap();
    assert_eq!(vacuumed.receipts, 1);
    assert_eq!(run_ids(&lake.receipts(10).await.unwrap()), ["kept"]);
    let vacuumed = lake.vacuum(days(7), written.max(now()) + days(8)).await.unwrap();
    assert_eq!((vacuumed.files, vacuumed.receipts), (1, 1), "what a killed run left, and the other in its time");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    assert_holds(
        &open_or_create(&directory.path().join("lake"), Failpoints::default()).await.unwrap(),
        &Archive::default(),
    )
    .await;
}
