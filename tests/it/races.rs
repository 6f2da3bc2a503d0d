//! Runs that are at it at the same time, on one lake or one mirror: one wins, the others say so, and
//! nothing is there twice or not at all.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use whocalled_tests::contents::contents;
use whocalled_tests::local_archive::LocalArchive;
use whocalled_tests::program::{Ran, command, ran, run};
use whocalled_tests::random::Random;

/// Another run committed first, or holds the mirror.
const CONFLICT: i32 = 6;
/// Small, so that a growth becomes several batches, any of which may be the one that is lost.
const BATCH: (&str, &str) = ("WHOCALLED_BATCH_BYTES_MAX", "500");

struct Scene {
    scratch: TempDir,
    archive: LocalArchive,
}

impl Scene {
    fn new(hour_count: u32) -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        let archive = LocalArchive::new(scratch.path().join("archive"), hour_count);
        Self { scratch, archive }
    }

    fn lake(&self) -> PathBuf {
        self.scratch.path().join("lake")
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = command(self.scratch.path(), arguments, &[BATCH]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Runs all of these at once; each must end well or in a conflict, and says which.
    #[track_caller]
    fn race(&self, runs: &[&[&str]]) -> Vec<i32> {
        let children: Vec<Child> = runs.iter().map(|arguments| self.start(arguments)).collect();
        let ended = children.into_iter().map(|child| ran(&child.wait_with_output().expect("an end")));
        let ended: Vec<Ran> = ended.collect();
        for it in &ended {
            assert!(matches!(it.code, 0 | CONFLICT), "exit code {}: {}", it.code, it.stderr);
            // Every message says what to do.
            let advises =
                ["run it again", "try again", "wait for it to end"].iter().any(|advice| it.stderr.contains(advice));
            assert!(it.code == 0 || advises, "{}", it.stderr);
        }
        ended.iter().map(|it| it.code).collect()
    }

    /// The rows shown are those of whole batches, each once.
    #[track_caller]
    fn assert_whole_batches(&self, context: &str) {
        if let Some(shown) = contents(&self.lake()) {
            assert_eq!(shown.rows, self.archive.rows(&shown.positions), "{context}");
        }
    }

    #[track_caller]
    fn assert_continues(&self, context: &str) {
        run(self.scratch.path(), CONVERT).success();
        self.assert_whole_batches(context);
        assert_eq!(contents(&self.lake()).expect("a lake").positions, self.archive.end(), "{context}");
    }
}

const CONVERT: &[&str] = &["convert", "archive", "--lake", "lake", "--quiet"];
const OPTIMIZE: &[&str] = &["optimize", "--lake", "lake", "--quiet"];
const FETCH: &[&str] = &["fetch", "archive", "--to", "mirror", "--quiet"];

#[test]
fn of_runs_at_once_one_wins_and_nothing_is_twice() {
    for (run_count, round_count) in [(2, 12), (4, 6)] {
        let mut scene = Scene::new(2);
        let runs = vec![CONVERT; run_count];
        for round in 0..round_count {
            let context = format!("round {round} of {run_count} runs at once");
            // The first round makes the lake, too.
            scene.archive.grow();
            let codes = scene.race(&runs);
            assert!(codes.contains(&0), "nobody wins: {context}");
            scene.assert_whole_batches(&context);
            if round % 3 == 2 {
                scene.assert_continues(&context);
                scene.archive.rewrite();
            }
        }
        scene.assert_continues("at last");
        let verified = run(scene.scratch.path(), &["verify", "archive", "--lake", "lake", "--all"]).success().json();
        assert_eq!(verified["bytes_behind"], behind(&scene));
    }
}

/// How many bytes of the archive are in no complete line.
fn behind(scene: &Scene) -> u64 {
    let end = scene.archive.end();
    let lengths = end.iter().map(|(blob, (_, end))| {
        let length = fs::metadata(scene.scratch.path().join("archive").join(blob)).expect("a blob").len();
        length - end
    });
    lengths.sum()
}

#[test]
fn compaction_beside_a_conversion_loses_nothing() {
    let mut scene = Scene::new(2);
    scene.archive.grow();
    scene.assert_continues("at first");
    for round in 0..12 {
        let context = format!("round {round}");
        scene.archive.grow();
        scene.race(if round % 2 == 0 { &[CONVERT, OPTIMIZE] } else { &[OPTIMIZE, CONVERT, OPTIMIZE] });
        scene.assert_whole_batches(&context);
        scene.assert_continues(&context);
        if round % 4 == 3 {
            scene.archive.rewrite();
        }
    }
    scene.assert_continues("at last");
}

#[test]
fn a_run_that_is_killed_beside_another_takes_nothing_with_it() {
    let (mut scene, mut random) = (Scene::new(2), Random::new());
    for round in 0..12 {
        let context = format!("round {round}, seed {}", random.seed());
        scene.archive.grow();
        let (mut killed, survivor) = (scene.start(CONVERT), scene.start(CONVERT));
        std::thread::sleep(random.up_to(Duration::from_millis(300)));
        killed.kill().expect("a kill");
        killed.wait().expect("an end");
        let survivor = ran(&survivor.wait_with_output().expect("an end"));
        assert!(matches!(survivor.code, 0 | CONFLICT), "{context}: {}", survivor.stderr);
        scene.assert_whole_batches(&context);
    }
    scene.assert_continues("at last");
}

#[test]
fn two_runs_cannot_spoil_a_mirror() {
    const HOURS: u32 = 30;
    let mut scene = Scene::new(HOURS);
    let mirror = scene.scratch.path().join("mirror");
    for round in 0..8 {
        let context = format!("round {round}");
        (0..HOURS).for_each(|_| scene.archive.grow());
        if round % 3 == 2 {
            scene.archive.rewrite();
        }
        let codes = scene.race(&[FETCH, FETCH]);
        assert!(codes.contains(&0), "nobody wins: {context}");
        scene.archive.assert_mirrored(&mirror, true, &context);
    }
}
