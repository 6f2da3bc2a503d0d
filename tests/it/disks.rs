//! Disks that are full, and places that cannot be written to: the run says where, nothing of half a
//! batch is shown, and the next run goes on.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use whocalled_tests::contents::contents;
use whocalled_tests::local_archive::LocalArchive;
use whocalled_tests::program::{Ran, command, ran, run, scripted};

/// A user that owns nothing.
const NOBODY: u32 = 65534;

struct Scene {
    scratch: TempDir,
    archive: LocalArchive,
    /// What holds the lake and the mirror.
    disk: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        let archive = LocalArchive::new(scratch.path().join("archive"), 2);
        let disk = scratch.path().join("disk");
        fs::create_dir(&disk).expect("a directory");
        Self { scratch, archive, disk }
    }

    fn lake(&self) -> PathBuf {
        self.disk.join("lake")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.scratch.path(), arguments)
    }

    #[track_caller]
    fn assert_whole_batches(&self, context: &str) {
        if let Some(shown) = contents(&self.lake()) {
            assert_eq!(shown.rows, self.archive.rows(&shown.positions), "{context}");
        }
    }

    #[track_caller]
    fn assert_continues(&self, context: &str) {
        self.run(CONVERT).success();
        self.assert_whole_batches(context);
        assert_eq!(contents(&self.lake()).expect("a lake").positions, self.archive.end(), "{context}");
    }
}

const CONVERT: &[&str] = &["convert", "archive", "--lake", "disk/lake", "--quiet"];
const OPTIMIZE: &[&str] = &["optimize", "--lake", "disk/lake", "--quiet"];
const FETCH: &[&str] = &["fetch", "archive", "--to", "disk/mirror", "--quiet"];

/// The run failed with the exit code, and says why.
#[track_caller]
fn assert_failed(ran: &Ran, code: i32, why: &[&str]) {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, code, "{said}");
    assert!(why.iter().any(|it| said.contains(it)), "none of {why:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// How a full disk, and a limit on the size of files, are called by us or by the system.
const NO_ROOM: &[&str] = &["full", "No space left", "File too large"];
const NOT_WRITABLE: &[&str] = &["denied", "cannot be written to", "Permission denied"];

/// Says why a test cannot tell anything here, straight to stderr, so that it is shown.
fn cannot_run(what: &str, needs: &str) {
    writeln!(std::io::stderr(), "{what} is not tested: it needs {needs}").expect("stderr");
}

/// The program under a limit on the size of each file it writes, in units of 512 bytes. What is
/// beyond fails as on a full disk does, with another number.
fn run_limited(directory: &Path, arguments: &[&str], limit: u32) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
    ran_of(scripted(directory, &script, arguments).output())
}

#[test]
fn a_file_that_cannot_be_written_whole_is_not_shown() {
    let mut scene = Scene::new();
    let mut failed = 0;
    // The first limits stop the making of the lake, the last ones nothing.
    for limit in [0, 1, 3, 6, 9, 12, 15, 18, 21, 24, 30, 40, 60] {
        let context = format!("at most {limit} times 512 bytes");
        scene.archive.grow();
        let ran = run_limited(scene.scratch.path(), CONVERT, limit);
        if ran.code != 0 {
            assert_failed(&ran, 4, NO_ROOM);
            failed += 1;
        }
        scene.assert_whole_batches(&context);
        if limit > 3 {
            scene.assert_continues(&context);
            let ran = run_limited(scene.scratch.path(), OPTIMIZE, limit);
            if ran.code != 0 {
                assert_failed(&ran, 4, NO_ROOM);
            }
            scene.assert_whole_batches(&context);
        }
    }
    assert!(failed > 3, "the limits are too large to be met");
    scene.assert_continues("at last");
}

#[test]
fn a_mirror_goes_on_once_files_can_grow_again() {
    let mut scene = Scene::new();
    for limit in [0, 1, 2, 0, 3] {
        (0..4).for_each(|_| scene.archive.grow());
        let ran = run_limited(scene.scratch.path(), FETCH, limit);
        assert_failed(&ran, if ran.code == 7 { 7 } else { 1 }, &["disk/mirror"]);
        scene.archive.assert_mirrored(&scene.disk.join("mirror"), false, &format!("limit {limit}"));
    }
    scene.run(FETCH).success();
    scene.archive.assert_mirrored(&scene.disk.join("mirror"), true, "at last");
}

/// A file system of its own, taken away at the end.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazily, should anything still be open.
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

#[test]
fn a_full_disk_stops_a_run_and_room_lets_the_next_go_on() {
    let mut scene = Scene::new();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(&scene.disk)
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|it| it.success()) {
        return cannot_run("a full disk", "permission to mount a tmpfs");
    }
    let disk = scene.disk.clone();
    let _mounted = Mounted(&disk);
    scene.archive.grow();
    let ballast = disk.join("ballast");
    let mut failed = 0;
    // Less and less is left; with the first a lake is not even made.
    for left in [8, 24, 96, 64, 40, 32, 24, 16, 8, 0_u64] {
        let context = format!("{left} KiB are left");
        scene.archive.grow();
        fill(&ballast, left << 10);
        let ran = scene.run(CONVERT);
        if ran.code != 0 {
            assert_failed(&ran, 4, NO_ROOM);
            failed += 1;
        }
        scene.assert_whole_batches(&context);
        let ran = scene.run(OPTIMIZE);
        assert!(matches!(ran.code, 0 | 4), "{context}: {}", ran.stderr);
        scene.assert_whole_batches(&context);
        fs::remove_file(&ballast).expect("room");
        if left != 8 {
            scene.assert_continues(&context);
        }
    }
    assert!(failed > 3, "the disk was never full");
    fill(&ballast, 4096);
    let ran = scene.run(FETCH);
    assert!(matches!(ran.code, 1 | 7), "{}", ran.stderr);
    scene.archive.assert_mirrored(&disk.join("mirror"), false, "a full disk");
    fs::remove_file(&ballast).expect("room");
    scene.run(FETCH).success();
    scene.archive.assert_mirrored(&disk.join("mirror"), true, "room again");
}

/// Fills a disk with one file until so many bytes are left.
fn fill(ballast: &Path, left: u64) {
    let mut file = File::create(ballast).expect("a file");
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
    let length = file.metadata().expect("a length").len();
    file.set_len(length.saturating_sub(left)).expect("room");
}

/// Makes every directory below unwritable, or writable again.
fn set_writable(directory: &Path, writable: bool) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            set_writable(&entry.path(), writable);
        }
    }
    let mode = if writable { 0o755 } else { 0o555 };
    fs::set_permissions(directory, Permissions::from_mode(mode)).expect("permissions");
}

/// Runs the program as somebody whom permissions bind: root is bound by none.
fn run_bound(scene: &Scene, arguments: &[&str]) -> Option<Ran> {
    let mut command = command(scene.scratch.path(), arguments, &[]);
    if fs::metadata(scene.scratch.path()).expect("a directory").uid() == 0 {
        fs::set_permissions(scene.scratch.path(), Permissions::from_mode(0o755)).expect("permissions");
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().ok().map(|output| ran(&output))
}

#[test]
fn a_lake_that_cannot_be_written_to_is_named_and_still_read() {
    let mut scene = Scene::new();
    scene.archive.grow();
    scene.assert_continues("at first");
    scene.archive.grow();
    set_writable(&scene.disk, false);
    let Some(ran) = run_bound(&scene, CONVERT) else {
        set_writable(&scene.disk, true);
        return cannot_run("a read-only lake", "a program that another user may start");
    };
    assert_failed(&ran, 4, NOT_WRITABLE);
    scene.assert_whole_batches("read-only");
    let count = ["sql", "--lake", "disk/lake", "-c", "SELECT count(*) AS n FROM request_response", "--format", "csv"];
    assert_eq!(run_bound(&scene, &count).expect("a run").success().stdout, "n\n2\n");
    let new = run_bound(&scene, &["convert", "archive", "--lake", "disk/new"]).expect("a run");
    assert_failed(&new, 4, &["disk/new"]);
    let fetched = run_bound(&scene, FETCH).expect("a run");
    assert_ne!(fetched.code, 0);
    assert!(format!("{}{}", fetched.stdout, fetched.stderr).contains("disk/mirror"), "{}", fetched.stderr);
    set_writable(&scene.disk, true);
    scene.assert_continues("writable again");
}

#[test]
fn a_receipt_that_cannot_be_written_undoes_nothing() {
    let mut scene = Scene::new();
    scene.archive.grow();
    let full = "/dev/full";
    if !Path::new(full).exists() {
        return cannot_run("a receipt on a full disk", full);
    }
    let ran = scene.run(&[CONVERT, &["--receipt", full]].concat());
    assert_failed(&ran, 1, &[full]);
    scene.assert_continues("no receipt");

    scene.archive.grow();
    let to_full = command(scene.scratch.path(), CONVERT, &[]).stdout(File::create(full).expect(full)).output();
    let to_full = ran_of(to_full);
    assert_eq!(to_full.code, 1, "{}", to_full.stderr);
    assert!(to_full.stderr.contains("No space left"), "{}", to_full.stderr);
    scene.assert_continues("no stdout");
}

#[test]
fn a_closed_stdout_or_stderr_spoils_no_file() {
    let mut scene = Scene::new();
    // The first file that is opened must not take the place of what is closed.
    for closed in [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        scene.archive.grow();
        let script = format!("exec \"$0\" \"$@\" {closed}");
        let output = scripted(scene.scratch.path(), &script, CONVERT).output();
        assert_eq!(ran_of(output).code, 0, "{closed}");
        scene.assert_whole_batches(closed);
        assert_eq!(contents(&scene.lake()).expect("a lake").positions, scene.archive.end(), "{closed}");
    }
    // A reader that has gone away.
    scene.archive.grow();
    let mut child = command(scene.scratch.path(), CONVERT, &[]).stdout(Stdio::piped()).spawn().expect("a start");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    scene.assert_continues("a reader that has gone away");
}

fn ran_of(output: std::io::Result<std::process::Output>) -> Ran {
    ran(&output.expect("the program starts"))
}
