//! What queries see: one state, and of it what they ask for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_as_it_was_opened() {
    let directory = TempDir::new().unwrap();
    let mut archive = Archive::of(&[("c/a", 9)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    let opened = snapshot(&directory).await;
    let before: Vec<_> = Table::ALL.iter().map(|table| lake.files(*table).unwrap()).collect();
    archive.grow("c/a", 5);
    archive.convert(&mut lake).await.unwrap();
    lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    for (table, before) in Table::ALL.iter().zip(before) {
        assert_eq!(opened.files(*table).await.unwrap(), before, "{table}: loaded only now");
        if TABLES.contains(table) {
            assert_ne!(lake.files(*table).unwrap(), before, "{table}");
        }
    }
    assert_ne!(state(&opened), state(&lake.snapshot()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_asks_for_is_not_read() {
    let directory = TempDir::new().unwrap();
    let archive = Archive::of(&[("c/a", 9)]);
    let mut lake = lake(&directory).await;
    archive.convert(&mut lake).await.unwrap();
    let files = lake.files(Table::RequestResponse).unwrap();
    let place = directory.path().join("lake");
    std::fs::write(place.join("metrics/_delta_log/00000000000000000000.json"), "no JSON").unwrap();
    let opened = snapshot(&directory).await;
    assert_eq!(opened.files(Table::RequestResponse).await.unwrap(), files);
    let error = opened.files(Table::Metrics).await.unwrap_err();
    assert!(error.to_string().contains("metrics"), "{error}");
    Lake::open(location(&place), StorageOptions::default()).await.unwrap_err();

    std::fs::remove_dir_all(place.join("metrics")).unwrap();
    let error = Snapshot::open(&location(&place), &StorageOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("metrics"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_lake_that_went_other_ways_are_other_states() {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    for directory in &directories {
        let mut lake = lake(directory).await;
        Archive::of(&[("c/a", 9)]).convert(&mut lake).await.unwrap();
        lake.optimize("run-2", 64 << 20, now()).await.unwrap();
    }
    let mut states = Vec::new();
    for directory in &directories {
        let state = state(&snapshot(directory).await);
        states.push(state[state.find("_views").unwrap()..].to_owned());
    }
    assert_ne!(states[0], states[1], "the same batches at the same versions, written by others");
}
