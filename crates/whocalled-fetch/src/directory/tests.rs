//! Directories as archives: what is found, in what order, and what is refused.

use std::{fs, path::Path};

use futures::TryStreamExt as _;
use tempfile::TempDir;
use whocalled_types::{BlobName, ErrorKind};

use crate::{Archive, Auth, Error};

const HOUR: &str = "resourceId=/SUBSCRIPTIONS/S/PROVIDERS/P/ACCOUNTS/A/y=2026/m=11/d=01/h=13/m=00/PT1H.json";

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

async fn open(path: &Path) -> Result<Archive, Error> {
    Archive::open(path.to_str().unwrap(), Auth::default(), chrono::DateTime::UNIX_EPOCH).await
}

async fn names(archive: &Archive, container: &str, prefix: &str) -> Vec<String> {
    let pages: Vec<_> = archive.list(container, prefix).try_collect().await.unwrap();
    pages.into_iter().flatten().map(|blob| blob.name.name).collect()
}

fn blob(name: &str) -> BlobName {
    BlobName { container: "insights-logs-audit".to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn lists_in_the_order_of_names_whatever_the_directories() {
    let root = TempDir::new().unwrap();
    for name in ["b/x", "b.json", "b-c/y", "a", "b/w/z", ".hidden"] {
        write(root.path(), &format!("insights-logs-audit/{name}"), "1234");
    }
    write(root.path(), "insights-activity-logs/r", "");
    write(root.path(), "pictures/cat.png", "");
    let archive = open(root.path()).await.unwrap();
    assert_eq!(archive.containers().await.unwrap(), ["insights-activity-logs", "insights-logs-audit"]);
    let listed = names(&archive, "insights-logs-audit", "").await;
    assert_eq!(listed, ["a", "b-c/y", "b.json", "b/w/z", "b/x"]);
    let mut sorted = listed.clone();
    sorted.sort();
    assert_eq!(listed, sorted);
    assert_eq!(names(&archive, "insights-logs-audit", "b/").await, ["b/w/z", "b/x"]);
    assert_eq!(names(&archive, "insights-logs-audit", "b/w").await, ["b/w/z"]);
    assert_eq!(names(&archive, "insights-logs-audit", "c").await, Vec::<String>::new());
    assert_eq!((archive.identity().as_str(), archive.credential()), ("directory", "none"));
}

#[tokio::test]
async fn pages_are_bounded_and_nothing_is_lost_between_them() {
    let root = TempDir::new().unwrap();
    for index in 0..2345 {
        write(root.path(), &format!("insights-logs-audit/{:02}/{index:04}", index % 10), "");
    }
    let archive = open(root.path()).await.unwrap();
    let pages: Vec<_> = archive.list("insights-logs-audit", "").try_collect().await.unwrap();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 345]);
}

#[tokio::test]
async fn reads_exactly_the_range() {
    let root = TempDir::new().unwrap();
    write(root.path(), &format!("insights-logs-audit/{HOUR}"), "0123456789");
    let archive = open(root.path()).await.unwrap();
    let hour = blob(HOUR);
    let read = |range| archive.read(&hour, range);
    assert_eq!(read(0..10).await.unwrap().as_ref(), b"0123456789");
    assert_eq!(read(3..7).await.unwrap().as_ref(), b"3456");
    assert_eq!(read(10..10).await.unwrap().as_ref(), b"");
    assert_eq!((archive.traffic().request_count, archive.traffic().read_bytes), (2, 14));
    let shrank = read(8..11).await.unwrap_err();
    assert!(matches!(shrank, Error::Shrank { bytes: Some(10), .. }), "{shrank}");
    assert_eq!(shrank.kind(), ErrorKind::Skip);
    for gone in ["nothing", "../insights-logs-audit/x", "/etc/passwd", ""] {
        let error = archive.read(&blob(gone), 0..1).await.unwrap_err();
        assert!(matches!(error, Error::Gone { .. }), "{gone}: {error}");
    }
}

#[tokio::test]
async fn reads_several_ranges_and_says_of_each_what_is_wrong() {
    let root = TempDir::new().unwrap();
    write(root.path(), "insights-logs-audit/a", "0123456789");
    write(root.path(), "insights-logs-audit/b", "abc");
    let archive = open(root.path()).await.unwrap();
    let ranges = [("a", 2..5), ("gone", 0..4), ("b", 0..3), ("b", 1..9), ("../b", 0..1), ("a", 5..5), ("a", 9..10)];
    let ranges = ranges.into_iter().map(|(name, range)| (blob(name), range)).collect();
    let read = archive.read_all(ranges).await.unwrap();
    let shown: Vec<_> = read.iter().map(|it| it.as_ref().map_err(Error::kind).map(|it| it.concat())).collect();
    let skip = Err(ErrorKind::Skip);
    let bytes = |text: &str| Ok(text.as_bytes().to_vec());
    assert_eq!(shown, [bytes("234"), skip.clone(), bytes("abc"), skip.clone(), skip, bytes(""), bytes("9")]);
    assert_eq!(archive.traffic().read_bytes, 7);
}

#[tokio::test]
async fn finds_the_archive_beside_a_truth_and_around_a_container() {
    let root = TempDir::new().unwrap();
    write(root.path(), "archive/insights-logs-audit/a", "");
    write(root.path(), "archive/insights-logs-trace/b", "");
    write(root.path(), "truth/calls.csv", "");
    let archive = open(root.path()).await.unwrap();
    assert_eq!(archive.containers().await.unwrap(), ["insights-logs-audit", "insights-logs-trace"]);
    let one = open(&root.path().join("archive/insights-logs-trace")).await.unwrap();
    assert_eq!(one.containers().await.unwrap(), ["insights-logs-trace"]);
    assert_eq!(names(&one, "insights-logs-trace", "").await, ["b"]);
}

#[tokio::test]
async fn what_is_no_archive_is_said_plainly() {
    let root = TempDir::new().unwrap();
    let empty = open(root.path()).await.unwrap();
    assert!(empty.containers().await.unwrap().is_empty());
    let gone = empty.list("insights-logs-audit", "").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!((gone.kind(), gone.to_string().contains("insights-logs-audit")), (ErrorKind::Skip, true));

    let missing = open(&root.path().join("nowhere")).await.unwrap_err();
    assert!(missing.to_string().contains("nowhere does not exist"), "{missing}");
    write(root.path(), "file", "");
    let file = open(&root.path().join("file")).await.unwrap_err();
    assert!(file.to_string().contains("is not a directory"), "{file}");
    assert_eq!((missing.kind(), file.kind()), (ErrorKind::Abort, ErrorKind::Abort));
}

#[cfg(unix)]
#[tokio::test]
async fn links_to_files_are_followed_and_those_to_directories_are_not() {
    use std::os::unix::fs::symlink;

    let root = TempDir::new().unwrap();
    let container = root.path().join("insights-logs-audit");
    write(&container, "a/real", "12345");
    write(root.path(), "elsewhere/r", "");
    symlink(container.join("a/real"), container.join("a/link")).unwrap();
    symlink(&container, container.join("a/loop")).unwrap();
    symlink("nowhere", container.join("a/dangling")).unwrap();
    symlink(root.path().join("elsewhere"), root.path().join("insights-logs-trace")).unwrap();
    let archive = open(root.path()).await.unwrap();
    assert_eq!(archive.containers().await.unwrap(), ["insights-logs-audit", "insights-logs-trace"]);
    let pages: Vec<_> = archive.list("insights-logs-audit", "").try_collect().await.unwrap();
    let blobs: Vec<_> = pages.into_iter().flatten().map(|blob| (blob.name.name, blob.bytes)).collect();
    assert_eq!(blobs, [("a/link".to_owned(), 5), ("a/real".to_owned(), 5)]);
    assert_eq!(names(&archive, "insights-logs-trace", "").await, ["r"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_that_is_not_utf8_is_an_error_that_shows_it() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let root = TempDir::new().unwrap();
    let container = root.path().join("insights-logs-audit");
    fs::create_dir(&container).unwrap();
    fs::write(container.join(OsStr::from_bytes(b"caf\xe9.json")), "").unwrap();
    let archive = open(root.path()).await.unwrap();
    let error = archive.list("insights-logs-audit", "").try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("caf\u{fffd}.json"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Abort);
}
