//! A crash between every two steps, at every occurrence of every failpoint.

use super::*;

/// The failpoints that making a lake, committing to it and compacting it go through.
fn named(prefixes: &[&str]) -> Vec<&'static str> {
    crate::FAILPOINTS.iter().copied().filter(|name| prefixes.iter().any(|it| name.starts_with(it))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_is_finished_after_a_crash() {
    for name in named(&["create."]) {
        for occurrence in 0.. {
            let directory = TempDir::new().unwrap();
            let place = directory.path().join("lake");
            let bomb = Bomb::default();
            bomb.arm(name, occurrence);
            let made = open_or_create(&place, bomb.failpoints()).await;
            if !bomb.is_spent() {
                assert!(occurrence > 0, "{name} is never reached");
                made.unwrap();
                break;
            }
            assert!(matches!(made, Err(Error::Interrupted { .. })));
            let opened = Lake::open(location(&place), StorageOptions::default()).await;
            assert!(matches!(opened, Err(Error::Missing { .. })), "half a lake is none");
            let archive = Archive::of(&[("c/a", 3)]);
            let mut lake = lake(&directory).await;
            archive.convert(&mut lake).await.unwrap();
            assert_holds(&lake, &archive).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_in_the_lake_once_wherever_its_run_is_killed() {
    for name in named(&["prepare.", "decide.", "apply."]) {
        for occurrence in 0.. {
            let directory = TempDir::new().unwrap();
            let bomb = Bomb::default();
            let mut archive = Archive::of(&[("c/a", 7), ("c/b", 4)]);
            let before = archive.clone();
            let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
            archive.convert(&mut killed).await.unwrap();
            archive.grow("c/a", 9);
            archive.grow("c/new", 6);
            archive.replace("c/b", 5);
            bomb.arm(name, occurrence);
            let outcome = archive.convert(&mut killed).await;
            if !bomb.is_spent() {
                assert!(occurrence > 0, "{name} is never reached");
                outcome.unwrap();
                break;
            }
            let context = format!("{name} {occurrence}");
            assert!(matches!(outcome, Err(Error::Interrupted { .. })), "{context}");
            let early = name.starts_with("prepare") || name == "decide.before";
            let shown = if early { &before } else { &archive };

            // The same process refuses to go on as if nothing had happened.
            if name != "prepare.before" && name != "prepare.file_written" && name != "prepare.ledger_written" {
                let refused = archive.convert(&mut killed).await;
                assert!(matches!(refused, Err(Error::RecoverFirst { .. })), "{context}");
            }
            drop(killed);
            assert_eq!(keys(&open(&directory).await).await, shown.keys(), "a reader sees whole batches: {context}");

            let mut lake = lake(&directory).await;
            assert_holds(&lake, shown).await;
            assert_eq!(lake.unapplied().count(), 0, "{context}");
            archive.convert(&mut lake).await.unwrap();
            assert_holds(&lake, &archive).await;
            assert_eq!(lake.last_batch(), 2, "{context}");
            archive.grow("c/b", 2);
            archive.convert(&mut lake).await.unwrap();
            assert_holds(&open(&directory).await, &archive).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_process_recovers_without_opening_again() {
    let directory = TempDir::new().unwrap();
    let bomb = Bomb::default();
    let mut archive = Archive::of(&[("c/a", 7)]);
    let mut lake = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
    bomb.arm("apply.table_committed", 1);
    archive.convert(&mut lake).await.unwrap_err();
    assert_eq!(keys(&lake).await, archive.keys(), "what is decided is shown, although one table lags");
    let recovery = lake.recover(now()).await.unwrap();
    assert_eq!((recovery.batch, recovery.applied), (1, vec![Table::Rejects]));
    assert_eq!(lake.recover(now()).await.unwrap().applied, vec![], "a second recovery has nothing to do");
    archive.grow("c/a", 1);
    archive.convert(&mut lake).await.unwrap();
    assert_holds(&lake, &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recoveries_at_once_apply_once() {
    let directory = TempDir::new().unwrap();
    let bomb = Bomb::default();
    let archive = Archive::of(&[("c/a", 30)]);
    let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
    bomb.arm("decide.after", 0);
    archive.convert(&mut killed).await.unwrap_err();
    let (mut one, mut two) = (open(&directory).await, open(&directory).await);
    let (left, right) = tokio::join!(one.recover(now()), two.recover(now()));
    left.unwrap();
    right.unwrap();
    for lake in [one, two, open(&directory).await] {
        assert_holds(&lake, &archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_keeps_every_row_wherever_it_is_killed() {
    for name in named(&["optimize.", "decide.after", "apply.table_committed"]) {
        for occurrence in 0.. {
            let directory = TempDir::new().unwrap();
            let bomb = Bomb::default();
            let mut killed = open_or_create(&directory.path().join("lake"), bomb.failpoints()).await.unwrap();
            let mut archive = Archive::default();
            for _ in 0..3 {
                archive.grow("c/a", 4);
                archive.convert(&mut killed).await.unwrap();
            }
            bomb.arm(name, occurrence);
            let outcome = killed.optimize("run-2", 1 << 20, now()).await;
            if !bomb.is_spent() {
                assert!(occurrence > 0, "{name} is never reached");
                outcome.unwrap();
                break;
            }
            outcome.unwrap_err();
            drop(killed);
            assert_holds(&open(&directory).await, &archive).await;
            let mut lake = lake(&directory).await;
            lake.optimize("run-3", 1 << 20, now()).await.unwrap();
            assert_holds(&lake, &archive).await;
            archive.grow("c/a", 1);
            archive.convert(&mut lake).await.unwrap();
            assert_holds(&open(&directory).await, &archive).await;
        }
    }
}
