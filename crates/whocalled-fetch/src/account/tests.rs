//! What an account's answers come to: a server on this machine gives them, one a connection.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use whocalled_types::{BlobName, ErrorKind};

use crate::{Archive, Auth, Error, Secret};

const NAME: &str = "resourceId=/SUBSCRIPTIONS/S 1/50%/y=2026/m=11/d=01/h=13/m=00/PT1H.json";

/// A server that gives prepared answers in turn, and remembers what it was asked. The last answer
/// is repeated.
struct Server {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for index in 0.. {
                let Ok((mut stream, _)) = listener.accept() else { return };
                seen.lock().unwrap().push(read_head(&mut stream));
                let answer = answers.get(index).or(answers.last()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { address, heads }
    }

    async fn archive(&self) -> Archive {
        let location = format!("http://{}/acct?sv=2022-11-02&sp=rl&sig=topsecret", self.address);
        Archive::open(&location, Auth::default(), DateTime::UNIX_EPOCH).await.unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// The part `first..=last` of a blob of `length` bytes, of which only `body` is sent.
fn part(first: u64, last: u64, length: u64, body: &str) -> String {
    format!(
        "HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncontent-range: bytes {first}-{last}/{length}\r\n\
         etag: \"e{length}\"\r\ncontent-length: {}\r\n\r\n{body}",
        last - first + 1
    )
}

fn denied(code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.\nRequestId:1</Message></Error>");
    answer("403 Forbidden", &[&format!("x-ms-error-code: {code}")], &body)
}

fn blob() -> BlobName {
    BlobName { container: "insights-logs-audit".to_owned(), name: NAME.to_owned() }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_although_the_blob_grew() {
    let server = Server::start(vec![part(10, 19, 20, "abcd"), part(14, 19, 25, "ef"), part(16, 19, 30, "ghij")]);
    let archive = server.archive().await;
    assert_eq!(archive.read(&blob(), 10..20).await.unwrap().as_ref(), b"abcdefghij");
    let heads = server.heads();
    for (head, range) in heads.iter().zip(["bytes=10-19", "bytes=14-19", "bytes=16-19"]) {
        assert!(head.contains(range), "{head}");
        assert!(!head.contains("if-match"), "{head}");
    }
    assert!(heads[0].contains("resourceid=%2fsubscriptions%2fs%201%2f50%25%2fy=2026"), "{}", heads[0]);
    assert_eq!((heads.len(), archive.traffic().request_count, archive.traffic().read_bytes), (3, 3, 10));
}

#[tokio::test]
async fn a_range_that_is_only_partly_there_is_a_blob_that_shrank() {
    for (given, length) in [
        (part(10, 14, 15, "abcde"), Some(15)),
        (
            answer("416 Range Not Satisfiable", &["content-range: bytes */7", "x-ms-error-code: InvalidRange"], ""),
            Some(7),
        ),
        (answer("200 OK", &[], "abc"), Some(3)),
    ] {
        let server = Server::start(vec![given]);
        let error = server.archive().await.read(&blob(), 10..20).await.unwrap_err();
        assert!(matches!(&error, Error::Shrank { bytes, from: 10, to: 20, .. } if *bytes == length), "{error}");
        assert_eq!(error.kind(), ErrorKind::Skip);
    }
}

#[tokio::test]
async fn another_range_than_the_one_asked_for_is_refused() {
    for given in [part(0, 19, 20, "0123456789abcdefghij"), answer("200 OK", &[], "0123456789abcdefghij")] {
        let server = Server::start(vec![given]);
        let error = server.archive().await.read(&blob(), 10..20).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn statuses_become_kinds_and_say_what_to_do() {
    let gone = answer("404 Not Found", &["x-ms-error-code: BlobNotFound"], "");
    let offline = answer("409 Conflict", &["x-ms-error-code: BlobArchived"], "");
    let odd = answer("400 Bad Request", &["x-ms-error-code: InvalidHeaderValue", "x-ms-request-id: r-1"], "");
    for (given, kind, words) in [
        (gone, ErrorKind::Skip, "does not exist"),
        (offline, ErrorKind::Skip, "rehydrate"),
        (odd, ErrorKind::Abort, "400 InvalidHeaderValue"),
        (denied("AuthenticationFailed"), ErrorKind::Abort, "has not expired"),
        (denied("AuthorizationPermissionMismatch"), ErrorKind::Abort, "Storage Blob Data Reader"),
    ] {
        let server = Server::start(vec![given]);
        let error = server.archive().await.read(&blob(), 0..20).await.unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{error}");
        assert_eq!(server.heads().len(), 1, "{error}: is not tried again");
        assert!(!format!("{error} {error:?}").contains("topsecret"));
    }
}

#[tokio::test]
async fn throttling_is_waited_out_as_long_as_the_server_says() {
    let server = Server::start(vec![answer("503 Busy", &["retry-after: 1"], ""), part(0, 3, 4, "abcd")]);
    let began = tokio::time::Instant::now();
    assert_eq!(server.archive().await.read(&blob(), 0..4).await.unwrap().as_ref(), b"abcd");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

fn page(blobs: &[&str], marker: &str) -> String {
    let blobs: String = blobs
        .iter()
        .map(|name| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Creation-Time>Sun, 01 Nov 2026 13:00:00 GMT</Creation-Time>\
                 <Last-Modified>Sun, 01 Nov 2026 14:00:00 GMT</Last-Modified><Etag>0x1</Etag>\
                 <Content-Length>42</Content-Length><BlobType>AppendBlob</BlobType></Properties></Blob>"
            )
        })
        .collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"c\"><Blobs>{blobs}</Blobs>\
         <NextMarker>{marker}</NextMarker></EnumerationResults>"
    );
    answer("200 OK", &["content-type: application/xml"], &body)
}

#[tokio::test]
async fn listing_goes_from_page_to_page_and_not_in_circles() {
    let server = Server::start(vec![page(&["a", "b"], "m1"), page(&["c"], "")]);
    let archive = server.archive().await;
    let pages: Vec<_> = archive.list("insights-logs-audit", "res=/").try_collect().await.unwrap();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    let first = &pages[0][0];
    assert_eq!((first.name.to_string().as_str(), first.bytes), ("insights-logs-audit/a", 42));
    let created_at: DateTime<Utc> = "2026-11-01T13:00:00Z".parse().unwrap();
    assert_eq!(first.created_at, Some(created_at));
    assert_eq!(first.modified_at, Some(created_at + TimeDelta::hours(1)));
    assert_eq!(first.etag.as_deref(), Some("0x1"));
    assert!(server.heads()[1].contains("marker=m1"), "{}", server.heads()[1]);

    let server = Server::start(vec![page(&["a"], "m1")]);
    let archive = server.archive().await;
    let error = archive.list("insights-logs-audit", "").try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("page token repeats"), "{error}");
}

#[tokio::test]
async fn containers_are_tried_by_name_where_they_may_not_be_listed() {
    let absent = answer("404 Not Found", &["x-ms-error-code: ContainerNotFound"], "");
    let forbidden = denied("AuthorizationPermissionMismatch");
    let server = Server::start(vec![forbidden.clone(), page(&[], ""), absent.clone(), page(&[], ""), absent]);
    assert_eq!(
        server.archive().await.containers().await.unwrap(),
        ["insights-activity-logs", "insights-logs-azureopenairequestusage"]
    );
    let server = Server::start(vec![forbidden]);
    let error = server.archive().await.containers().await.unwrap_err();
    assert!(error.to_string().contains("listing of containers") && error.kind() == ErrorKind::Abort, "{error}");
}

#[tokio::test]
async fn an_account_that_cannot_be_reached_is_named() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let location = format!("http://{address}/acct?sv=2022-11-02&sp=rl&sig=topsecret");
    let archive = Archive::open(&location, Auth::default(), DateTime::UNIX_EPOCH).await.unwrap();
    let error = archive.containers().await.unwrap_err();
    assert!(error.to_string().contains(&address) && error.kind() == ErrorKind::Retry, "{error}");
    assert!(!format!("{error:?} {archive:?} {}", archive.display()).contains("topsecret"));
}

#[tokio::test]
async fn a_key_becomes_a_sas_and_a_token_never_goes_over_http() {
    let server = Server::start(vec![part(0, 3, 4, "abcd")]);
    let location = format!("http://{}/acct", server.address);
    let auth = Auth { account_key: Some(Secret::new("a2V5LW9mLXRlc3Rz")), ..Auth::default() };
    let archive = Archive::open(&location, auth, DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!((archive.credential(), archive.identity()), ("account key", location.clone()));
    archive.read(&blob(), 0..4).await.unwrap();
    let head = server.heads().remove(0);
    assert!(head.contains("sig=") && head.contains("sp=rl") && !head.contains("a2v5lw9m"), "{head}");

    let error = Archive::open(&location, Auth::default(), DateTime::UNIX_EPOCH).await.unwrap_err();
    assert!(error.to_string().contains("https"), "{error}");
}
