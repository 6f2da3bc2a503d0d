//! Compaction and vacuum.

use super::*;

async fn grown(directory: &TempDir) -> (Lake, Archive) {
    let mut archive = Archive::of(&[("c/b", 9)]);
    let mut lake = lake(directory).await;
    for _ in 0..5 {
        archive.grow("c/a", 7);
        archive.convert(&mut lake).await.unwrap();
    }
    (lake, archive)
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_one_sorted_file_per_date_and_the_same_rows() {
    let directory = TempDir::new().unwrap();
    let (mut lake, mut archive) = grown(&directory).await;
    let before = keys(&lake).await;
    let batch = lake.last_batch();
    let optimized = lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    assert_eq!(optimized.keys().copied().collect::<Vec<_>>(), [TABLES.as_slice(), &[Table::Ledger]].concat());
    for table in TABLES {
        assert_eq!(lake.files(table).unwrap().len(), 2, "{table}");
    }
    assert_eq!(lake.files(Table::Ledger).unwrap().len(), 2, "the last batch is in a small file of its own");
    assert_eq!(keys(&lake).await, before);
    assert_eq!(lake.last_batch(), batch + 3, "a batch for each table");
    for rows in read(&lake, Table::Audit).await {
        let accounts = rows.column_by_name("account").unwrap().as_string::<i32>();
        assert!((1..rows.num_rows()).all(|row| accounts.value(row - 1) <= accounts.value(row)));
    }
    assert_holds(&lake, &archive).await;
    assert!(lake.optimize("run-3", 64 << 20, now()).await.unwrap().is_empty(), "a second has nothing to do");

    let mut lake = open(&directory).await;
    assert_holds(&lake, &archive).await;
    assert_eq!(lake.recover(now()).await.unwrap().applied, vec![], "tables still know their batch");
    archive.replace("c/a", 2);
    archive.convert(&mut lake).await.unwrap();
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_a_compaction_overtook_is_planned_again() {
    let directory = TempDir::new().unwrap();
    let (mut compacting, mut archive) = grown(&directory).await;
    let (mut committing, mut late) = (lake(&directory).await, lake(&directory).await);
    // Both replace the same files.
    archive.replace("c/a", 3);
    let planned = archive.batch(&committing);
    compacting.optimize("run-2", 64 << 20, now()).await.unwrap();
    assert!(matches!(committing.commit(planned, now()).await, Err(Error::Conflict { .. })));
    committing.recover(now()).await.unwrap();
    archive.convert(&mut committing).await.unwrap();
    assert!(matches!(late.optimize("run-3", 64 << 20, now()).await, Err(Error::Conflict { .. })));
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_deletes_orphans_and_nothing_in_use() {
    let directory = TempDir::new().unwrap();
    let (mut lake, archive) = grown(&directory).await;
    let place = directory.path().join("lake/audit/date=2026-11-01");
    std::fs::write(place.join("part-9-orphan.parquet"), b"written, never decided").unwrap();
    std::fs::write(place.join("part-9-torn.parquet#1"), b"half").unwrap();
    lake.optimize("run-2", 64 << 20, now()).await.unwrap();

    // Files have the machine's time, whatever `now` the lake was told.
    let written: DateTime<Utc> = std::fs::metadata(&place).unwrap().modified().unwrap().into();
    assert_eq!(lake.vacuum(days(7), written).await.unwrap().files, 0, "all of it is too young");
    let shorter = lake.vacuum(TimeDelta::minutes(5), written).await;
    assert!(matches!(shorter, Err(Error::Argument { .. })));

    let later = written.max(now()) + days(8);
    let vacuumed = lake.vacuum(days(7), later).await.unwrap();
    assert!(vacuumed.files > 10, "the orphans and the compacted files: {vacuumed:?}");
    let left: Vec<String> =
        std::fs::read_dir(&place).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_holds(&lake, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_keeps_what_was_replaced_lately() {
    let directory = TempDir::new().unwrap();
    let (mut lake, archive) = grown(&directory).await;
    let count = |lake: &Lake| lake.files(Table::Audit).unwrap().len();
    let before = count(&lake);
    let place = directory.path().join("lake/audit/date=2026-11-01");
    let written: DateTime<Utc> = std::fs::metadata(&place).unwrap().modified().unwrap().into();
    // The files are old, and were in use until a moment ago.
    let much_later = written.max(now()) + days(30);
    lake.optimize("run-2", 64 << 20, much_later).await.unwrap();
    assert!(count(&lake) < before);
    assert_eq!(lake.vacuum(days(7), much_later + TimeDelta::hours(1)).await.unwrap().files, 0);
    assert_holds(&lake, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_applies_a_decided_batch_before_it_deletes() {
    let directory = TempDir::new().unwrap();
    let bomb = Bomb::default();
    let archive = Archive::of(&[("c/a", 30)]);
    let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
    bomb.arm("decide.after", 0);
    archive.convert(&mut killed).await.unwrap_err();
    let mut lake = open(&directory).await;
    assert_eq!(lake.vacuum(days(7), now() + days(10_000)).await.unwrap().files, 0);
    assert_holds(&lake, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_deletes_views_that_others_replaced() {
    let directory = TempDir::new().unwrap();
    let (mut lake, archive) = grown(&directory).await;
    let views = directory.path().join("lake/_views");
    let put = |set: &str, file: &str, written: DateTime<Utc>| {
        std::fs::create_dir_all(views.join(set)).unwrap();
        let file = std::fs::File::create(views.join(set).join(file)).unwrap();
        file.set_modified(written.into()).unwrap();
    };
    let later = now() + days(30);
    for (set, days_ago) in [("first", 9), ("second", 3), ("third", 0)] {
        put(set, "slots-run.parquet", later - days(days_ago));
        put(set, "views.json", later - days(days_ago));
    }
    put("broken off", "slots-run.parquet", later - days(2));
    put("under way", "slots-run.parquet", later);
    assert_eq!(lake.vacuum(days(7), later).await.unwrap().view_files, 3);
    let files = |set: &str| views.join(set).read_dir().map_or(0, Iterator::count);
    assert_eq!(["first", "second", "third", "broken off", "under way"].map(files), [0, 2, 2, 0, 1]);
    assert_holds(&lake, &archive).await;
}
