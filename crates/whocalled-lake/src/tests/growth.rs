//! A lake that has had many batches: its log is cut short, and its ledger is not read whole.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_optimized_lake_opens_without_its_old_commits_and_grows() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 9)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    archive.grow("c/a", 5);
    archive.convert(&mut lake).await.unwrap();
    lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    let place = directory.path().join("lake");
    for table in Table::ALL {
        let removed = remove_old_commits(&place, table);
        assert_eq!(u64::try_from(removed).unwrap(), lake.table_version(table).unwrap(), "{table}: all but the last");
    }
    std::fs::remove_file(place.join("metrics/_delta_log/00000000000000000000.json")).unwrap();
    let mut opened = open(&directory).await;
    assert_holds(&opened, &archive).await;
    archive.grow("c/a", 3);
    archive.convert(&mut opened).await.unwrap();
    assert_holds(&open(&directory).await, &archive).await;
}

/// More batches than it takes to keep positions and to checkpoint a log.
const BATCHES: usize = 55;

async fn with_many_batches(directory: &TempDir) -> (Lake, Archive) {
    let mut archive = Archive::of(&[("c/a", 5)]);
    let mut lake = lake(directory).await;
    for batch in 0..BATCHES {
        archive.grow(&format!("c/{}", batch % 7), 3);
        archive.convert(&mut lake).await.unwrap();
    }
    (lake, archive)
}

fn files_below(directory: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Removes the commits before a table's last checkpoint, and says how many there were.
fn remove_old_commits(lake: &Path, table: Table) -> usize {
    let log = lake.join(table.name()).join("_delta_log");
    let checkpoints = files_below(&log, "parquet");
    let last = checkpoints.last().unwrap().file_name().unwrap().to_str().unwrap()[..20].to_owned();
    let old = files_below(&log, "json");
    let old = old.iter().filter(|it| it.file_name().unwrap().to_str().unwrap() < last.as_str());
    old.map(|it| std::fs::remove_file(it).unwrap()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpointed_lake_opens_without_its_old_commits_and_recovers() {
    let directory = TempDir::new().unwrap();
    let (mut lake, mut archive) = with_many_batches(&directory).await;
    let place = directory.path().join("lake");
    for table in [Table::Ledger, Table::RequestResponse] {
        assert!(remove_old_commits(&place, table) > 10, "{table}");
    }
    assert_holds(&open(&directory).await, &archive).await;

    let bomb = Bomb::default();
    let mut killed = open_or_create(&place, bomb.failpoints()).await.unwrap();
    assert_eq!(killed.last_batch(), lake.last_batch());
    archive.grow("c/a", 9);
    bomb.arm("decide.after", 0);
    archive.convert(&mut killed).await.unwrap_err();
    let mut recovered = open(&directory).await;
    assert_eq!(recovered.recover(now()).await.unwrap().applied.len(), 3);
    assert_holds(&recovered, &archive).await;
    lake.recover(now()).await.unwrap();
    assert_holds(&lake, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_positions_stand_for_the_old_part_of_the_ledger() {
    let directory = TempDir::new().unwrap();
    let (mut lake, mut archive) = with_many_batches(&directory).await;
    let place = directory.path().join("lake/ledger");
    let kept = place.join("_positions.parquet");
    assert_holds(&open(&directory).await, &archive).await;

    // Nothing of what they stand for is read.
    let first =
        files_below(&place, "parquet").into_iter().find(|it| it.to_str().unwrap().contains("/part-1-")).unwrap();
    let aside = directory.path().join("aside");
    std::fs::rename(&first, &aside).unwrap();
    assert_holds(&open(&directory).await, &archive).await;
    archive.grow("c/a", 2);
    archive.convert(&mut lake).await.unwrap();
    std::fs::rename(&aside, &first).unwrap();

    // They decide nothing: without them, or with damaged ones, or with those of another lake, the ledger
    // says it all.
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, &bytes[..bytes.len() / 2]).unwrap();
    assert_holds(&open(&directory).await, &archive).await;
    std::fs::remove_file(&kept).unwrap();
    assert_holds(&open(&directory).await, &archive).await;
    let other = TempDir::new().unwrap();
    let mut foreign = open_or_create(&other.path().join("lake"), Failpoints::default()).await.unwrap();
    for batch in 0..BATCHES {
        let archive = Archive::of(&[(&format!("c/foreign-{batch}"), 1)]);
        foreign.commit(archive.batch(&foreign), now() - days(1)).await.unwrap();
    }
    std::fs::copy(other.path().join("lake/ledger/_positions.parquet"), &kept).unwrap();
    assert_holds(&open(&directory).await, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_survive_a_compaction_of_the_ledger_by_this_run_or_another() {
    let directory = TempDir::new().unwrap();
    let (mut compacting, mut archive) = with_many_batches(&directory).await;
    let mut other = lake(&directory).await;
    assert_holds(&other, &archive).await;
    compacting.optimize("run-2", 64 << 20, now()).await.unwrap();
    assert_holds(&compacting, &archive).await;
    for lake in [&mut other, &mut compacting] {
        lake.recover(now()).await.unwrap();
        assert_holds(lake, &archive).await;
        archive.grow("c/a", 2);
        archive.replace("c/1", 4);
        archive.convert(lake).await.unwrap();
        assert_holds(lake, &archive).await;
        assert_holds(&open(&directory).await, &archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_while_it_keeps_positions_has_committed() {
    for name in ["positions.before", "positions.after"] {
        let directory = TempDir::new().unwrap();
        let bomb = Bomb::default();
        bomb.arm(name, 0);
        let mut archive = Archive::default();
        let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
        while !bomb.is_spent() {
            assert!(killed.last_batch() < 100, "{name} is never reached");
            archive.grow("c/a", 2);
            drop(archive.convert(&mut killed).await);
        }
        assert_holds(&open(&directory).await, &archive).await;
        let mut lake = lake(&directory).await;
        archive.grow("c/b", 2);
        archive.convert(&mut lake).await.unwrap();
        assert_holds(&open(&directory).await, &archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_merges_many_rows_in_order() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::default();
    let mut lake = lake(&directory).await;
    for blob in ["c/a", "c/b", "c/c"] {
        archive.grow(blob, 60_000);
        archive.convert(&mut lake).await.unwrap();
    }
    lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    for file in lake.files(Table::Audit).unwrap() {
        assert_eq!(file.row_count, Some(30_000));
    }
    let mut before: Option<(i32, String, i64)> = None;
    for rows in read(&lake, Table::Audit).await {
        let dates = rows.column_by_name("date").unwrap().as_primitive::<arrow::datatypes::Date32Type>();
        let accounts = rows.column_by_name("account").unwrap().as_string::<i32>();
        let times = rows.column_by_name("time").unwrap();
        let times = times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            let key = (dates.value(row), accounts.value(row).to_owned(), times.value(row));
            assert!(before.is_none_or(|before| before <= key), "{key:?} comes too late");
            before = Some(key);
        }
    }
    assert_eq!(keys(&lake).await, archive.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_a_batch_overtook_follows_it() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::default();
    let mut compacting = lake(&directory).await;
    for _ in 0..3 {
        archive.grow("c/a", 7);
        archive.convert(&mut compacting).await.unwrap();
    }
    let mut committing = lake(&directory).await;
    archive.grow("c/b", 7);
    archive.convert(&mut committing).await.unwrap();
    let optimized = compacting.optimize("run-2", 64 << 20, now()).await.unwrap();
    assert!(optimized.contains_key(&Table::Audit));
    assert_holds(&compacting, &archive).await;
    assert_holds(&open(&directory).await, &archive).await;
}
