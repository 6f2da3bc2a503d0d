//! Runs that are killed: at every failpoint, at every occurrence of it, and at random moments.
//!
//! After every kill the lake must show the rows of exactly the batches that its ledger holds, and
//! after the next run every record of the archive once. Each run is continued in another place: the
//! lake is copied, and the working directory is another, as if on another machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tempfile::TempDir;
use whocalled_lake::FAILPOINTS;
use whocalled_tests::contents::contents;
use whocalled_tests::local_archive::LocalArchive;
use whocalled_tests::program::{Ran, command, run_with};
use whocalled_tests::random::Random;

/// Small, so that a growth becomes several batches.
const BATCH: (&str, &str) = ("WHOCALLED_BATCH_BYTES_MAX", "500");
/// The exit code of a run that was killed.
const KILLED: i32 = -1;
const KILLS_MIN: usize = 200;

/// An archive that grows, and a lake that moves.
struct Scene {
    scratch: TempDir,
    archive: LocalArchive,
    /// Counts the places that the lake was in.
    place: usize,
}

impl Scene {
    fn new() -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        let archive = LocalArchive::new(scratch.path().join("archive"), 2);
        fs::create_dir(scratch.path().join("0")).expect("a place");
        Self { scratch, archive, place: 0 }
    }

    /// The same archive and lake, in a place of its own.
    fn copy(&self) -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        copy(self.scratch.path(), scratch.path());
        let archive = self.archive.at(scratch.path().join("archive"));
        Self { scratch, archive, place: self.place }
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join(self.place.to_string())
    }

    fn lake(&self) -> PathBuf {
        self.directory().join("lake")
    }

    fn arguments(&self, action: Action) -> Vec<&str> {
        let archive = self.archive.location();
        match action {
            Action::Convert => vec!["convert", archive, "--lake", "lake", "--quiet"],
            Action::Optimize => vec!["optimize", "--lake", "lake", "--quiet"],
            Action::Export => {
                vec!["export", "request_response", "--lake", "lake", "--to", "exported", "--format", "delta"]
            }
            Action::Fetch => vec!["fetch", archive, "--to", "mirror", "--quiet"],
        }
    }

    fn run(&self, action: Action, variables: &[(&str, &str)]) -> Ran {
        let variables = [&[BATCH], variables].concat();
        run_with(&self.directory(), &self.arguments(action), &variables)
    }

    /// Starts a run and kills it after a while; whether it was still there to be killed.
    fn kill(&self, action: Action, after: Duration) -> bool {
        let mut command = command(&self.directory(), &self.arguments(action), &[BATCH]);
        let null = std::process::Stdio::null;
        let mut child = command.stdout(null()).stderr(null()).spawn().expect("the program starts");
        std::thread::sleep(after);
        child.kill().expect("a kill");
        child.wait().expect("an end").code().is_none()
    }

    /// How long a run takes that nobody kills.
    fn duration(&self, action: Action) -> Duration {
        let start = Instant::now();
        self.run(action, &[]).success();
        start.elapsed()
    }

    /// Copies everything but the archive to another place, and leaves it there.
    fn move_on(&mut self) {
        let from = self.directory();
        self.place += 1;
        copy(&from, &self.directory());
        fs::remove_dir_all(from).expect("the place before can go");
    }

    /// The rows shown are those up to the positions in the ledger.
    #[track_caller]
    fn assert_whole_batches(&self, context: &str) {
        if let Some(shown) = contents(&self.lake()) {
            assert_eq!(shown.rows, self.archive.rows(&shown.positions), "{context}");
        }
    }

    /// Converts, and finds every record of the archive once.
    #[track_caller]
    fn assert_continues(&self, context: &str) {
        let ran = self.run(Action::Convert, &[]);
        assert_eq!(ran.code, 0, "{context}: {}", ran.stderr);
        let shown = contents(&self.lake()).expect("a lake");
        assert_eq!(shown.rows, self.archive.rows(&shown.positions), "{context}");
        assert_eq!(shown.positions, self.archive.end(), "{context}");
    }

    /// What a user finds with SQL is what the lake shows.
    #[track_caller]
    fn assert_sql_agrees(&self, context: &str) {
        let of = |table: &str, id: &str| format!("SELECT blob, generation, blob_offset, {id} AS id FROM {table}");
        let sql = [
            of("request_response", "correlation_id"),
            of("audit", "correlation_id"),
            of("trace", "correlation_id"),
            of("rejects", "concat('reject ', CAST(record AS VARCHAR))"),
        ];
        let sql = sql.join(" UNION ALL ");
        let ran = run_with(&self.directory(), &["sql", "--lake", "lake", "--format", "csv", "-c", &sql], &[]);
        let Some(shown) = contents(&self.lake()) else {
            assert_eq!(ran.code, 4, "{context}: there is no lake: {}", ran.stderr);
            return;
        };
        assert_eq!(ran.code, 0, "{context}: {}", ran.stderr);
        let mut rows: Vec<String> = ran.stdout.lines().skip(1).map(|line| line.replace(',', " ")).collect();
        rows.sort();
        assert_eq!(rows, shown.rows, "{context}");
    }

    /// How many rows the Delta table has that was exported, as its log says.
    fn exported_rows(&self) -> u64 {
        let log = self.directory().join("exported/_delta_log");
        let mut commits: Vec<PathBuf> =
            fs::read_dir(log).into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
        commits.retain(|path| path.extension().is_some_and(|it| it == "json"));
        commits.sort();
        let mut files = BTreeMap::new();
        for commit in commits {
            for line in fs::read_to_string(commit).expect("a commit").lines() {
                let action: serde_json::Value = serde_json::from_str(line).expect("an action");
                if let Some(path) = action["add"]["path"].as_str() {
                    let statistics = action["add"]["stats"].as_str().expect("statistics");
                    let statistics: serde_json::Value = serde_json::from_str(statistics).expect("statistics");
                    files.insert(path.to_owned(), statistics["numRecords"].as_u64().expect("a count"));
                } else if let Some(path) = action["remove"]["path"].as_str() {
                    files.remove(path);
                }
            }
        }
        files.values().sum()
    }

    /// How many rows an export of all requests has.
    fn request_response_rows(&self) -> u64 {
        let rows = self.archive.rows(&self.archive.end());
        rows.iter().filter(|row| row.starts_with("insights-logs-requestresponse")).count() as u64
    }

    /// Leaves files as a run that was killed long ago does, for `optimize` to delete.
    fn leave_orphans(&self) {
        let directory = self.lake().join("request_response/date=2026-11-01");
        for name in ["part-1-left.parquet", "part-2-left.parquet"] {
            let file = File::create(directory.join(name)).expect("an orphan");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("a time");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Convert,
    Optimize,
    Export,
    Fetch,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Kills an action at the first, second, ... occurrence of a failpoint until it is not reached any
/// more, each time in a copy of the scene; how often that was.
fn kill_at(prepared: &Scene, action: Action, failpoint: &str) -> usize {
    for occurrence in 1.. {
        let context = format!("{action:?} killed at {failpoint}:{occurrence}");
        let mut scene = prepared.copy();
        if action == Action::Optimize {
            scene.leave_orphans();
        }
        let exported = scene.exported_rows();
        let ran = scene.run(action, &[("WHOCALLED_FAILPOINT", &format!("{failpoint}:{occurrence}"))]);
        if ran.code == 0 {
            return occurrence - 1;
        }
        assert_eq!(ran.code, KILLED, "{context}: {}", ran.stderr);
        scene.move_on();
        scene.assert_whole_batches(&context);
        if action == Action::Export {
            let (now, all) = (scene.exported_rows(), scene.request_response_rows());
            assert!(now == all || now == exported, "{context}: {now} rows, not {exported} or {all}");
        }
        if occurrence == 1 {
            scene.assert_sql_agrees(&context);
        }
        scene.assert_continues(&context);
        if occurrence == 1 && action != Action::Convert {
            scene.run(action, &[]).success();
            scene.assert_whole_batches(&context);
        }
    }
    0
}

/// Kills an action at every failpoint that it reaches.
fn kill_at_failpoints(action: Action) -> Vec<(&'static str, usize)> {
    let mut nothing = Scene::new();
    nothing.archive.grow();
    let mut prepared = nothing.copy();
    prepared.assert_continues("at first");
    prepared.archive.grow();
    if action == Action::Convert {
        prepared.archive.rewrite();
    } else {
        prepared.assert_continues("at first");
    }
    let scene = |failpoint: &str| if failpoint.starts_with("create.") { &nothing } else { &prepared };
    let wanted = |failpoint: &&&str| action == Action::Convert || !failpoint.starts_with("create.");
    FAILPOINTS.iter().filter(wanted).map(|it| (*it, kill_at(scene(it), action, it))).collect()
}

/// Kills runs at random moments, one after the other on one lake; how many. Between the kills the
/// archive grows.
fn kill_at_random(action: Action, kill_count: usize) -> usize {
    let (mut scene, mut random) = (Scene::new(), Random::new());
    scene.archive.grow();
    scene.assert_continues("at first");
    scene.archive.grow();
    let mut limit = scene.duration(action);
    let (mut killed, mut tried) = (0, 0);
    while killed < kill_count {
        tried += 1;
        assert!(tried < 20 * kill_count, "{action:?} ends before it can be killed");
        let context = format!("{action:?} killed at random, attempt {tried}, seed {}", random.seed());
        scene.archive.grow();
        if action != Action::Convert {
            scene.assert_continues(&context);
        }
        let was_killed = scene.kill(action, random.up_to(limit));
        killed += usize::from(was_killed);
        if !was_killed {
            // It was slower when it was timed.
            limit = limit * 9 / 10;
        }
        scene.move_on();
        scene.assert_whole_batches(&context);
        if action == Action::Convert && tried % 6 == 0 {
            scene.assert_continues(&context);
            scene.archive.rewrite();
        }
    }
    let context = format!("{action:?} at last, seed {}", random.seed());
    scene.assert_continues(&context);
    scene.run(action, &[]).success();
    scene.assert_whole_batches(&context);
    scene.assert_sql_agrees(&context);
    if action == Action::Export {
        assert_eq!(scene.exported_rows(), scene.request_response_rows(), "{context}");
    }
    killed
}

/// Kills the mirroring of many blobs at random moments.
fn kill_fetches(kill_count: usize) -> usize {
    const HOURS: u32 = 30;
    let (mut scene, mut random) = (Scene::new(), Random::new());
    scene.archive = LocalArchive::new(scene.scratch.path().join("archive"), HOURS);
    let grow = |archive: &mut LocalArchive| (0..HOURS).for_each(|_| archive.grow());
    grow(&mut scene.archive);
    let mut limit = scene.duration(Action::Fetch);
    let (mut killed, mut tried) = (0, 0);
    while killed < kill_count {
        tried += 1;
        assert!(tried < 20 * kill_count, "mirroring ends before it can be killed");
        let context = format!("mirroring, attempt {tried}, seed {}", random.seed());
        grow(&mut scene.archive);
        if tried % 4 == 0 {
            scene.archive.rewrite();
        }
        let was_killed = scene.kill(Action::Fetch, random.up_to(limit));
        killed += usize::from(was_killed);
        if !was_killed {
            limit = limit * 9 / 10;
        }
        scene.move_on();
        scene.archive.assert_mirrored(&scene.directory().join("mirror"), false, &context);
    }
    scene.run(Action::Fetch, &[]).success();
    scene.archive.assert_mirrored(&scene.directory().join("mirror"), true, "at last");
    killed
}

type Part = (&'static str, fn() -> Vec<(&'static str, usize)>);

/// The longest first.
const PARTS: [Part; 7] = [
    ("optimize", || kill_at_failpoints(Action::Optimize)),
    ("convert", || kill_at_failpoints(Action::Convert)),
    // Lakes that stay small, since what is looked at after each kill is all of one.
    ("convert", || vec![("at random", (0..8).map(|_| kill_at_random(Action::Convert, 10)).sum())]),
    ("optimize", || vec![("at random", kill_at_random(Action::Optimize, 10))]),
    ("export", || kill_at_failpoints(Action::Export)),
    ("export", || vec![("at random", kill_at_random(Action::Export, 6))]),
    ("fetch", || vec![("at random", kill_fetches(40))]),
];

#[test]
fn whatever_is_killed_every_record_is_there_once() {
    let (next, kills) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, part)) = PARTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = part();
                    let mut kills = kills.lock().expect("no other part has failed");
                    kills.extend(counts.into_iter().map(|(moment, count)| ((moment, *name), count)));
                }
            });
        }
    });
    let kills = kills.into_inner().expect("no part has failed");
    let total: usize = kills.values().sum();
    let told: Vec<String> = kills
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|((moment, name), count)| format!("{name} {moment} {count}"))
        .collect();
    // Straight to stderr, so that it is shown although the test passes.
    writeln!(std::io::stderr(), "{total} kills: {}", told.join(", ")).expect("stderr");
    for failpoint in FAILPOINTS {
        let reached = kills.iter().any(|((moment, _), count)| moment == failpoint && *count > 0);
        assert!(reached, "{failpoint} is never reached: add a part that does");
    }
    assert!(total >= KILLS_MIN, "{total} kills");
}
