//! A static server that speaks just enough of the blob service to be fetched from, and counts.
//!
//! It is there to be faster than its clients: files go from the page cache to the socket within the
//! kernel, a thread serves each connection, and nothing is checked, signatures included.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use anyhow::{Context, Result};

use super::archive::{Archive, Blob, CONTAINER};
use super::listing::{self, LAST_MODIFIED, Question};

/// The account in every path; as Azurite's.
const ACCOUNT: &str = "devstoreaccount1";

/// Up to here head and body go out in one write; above, the body is not copied.
const COPIED_BYTES_MAX: u64 = 64 * 1024;

/// How many requests were answered, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Requests {
    pub(super) listings: u64,
    pub(super) reads: u64,
    /// Anything else, refused ones included.
    pub(super) others: u64,
}

/// A running server; it accepts no more connections when this is dropped.
pub(super) struct Server {
    port: u16,
    state: Arc<State>,
}

struct State {
    directory: PathBuf,
    /// Sorted by name.
    blobs: RwLock<Vec<Blob>>,
    listings: AtomicU64,
    reads: AtomicU64,
    others: AtomicU64,
    stopped: AtomicBool,
}

impl Server {
    /// Serves an archive on a free port.
    pub(super) fn start(archive: &Archive) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            directory: archive.directory.clone(),
            blobs: RwLock::default(),
            listings: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            others: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let server = Self { port, state: Arc::clone(&state) };
        server.update(archive);
        thread::spawn(move || accept(&listener, &state));
        Ok(server)
    }

    /// Serves the archive's blobs at the lengths they have now.
    pub(super) fn update(&self, archive: &Archive) {
        let mut blobs = archive.blobs.clone();
        blobs.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        *self.state.blobs.write().unwrap_or_else(PoisonError::into_inner) = blobs;
    }

    /// Where it listens, account included.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// What was asked since this was last called.
    pub(super) fn take_requests(&self) -> Requests {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let State { listings, reads, others, .. } = &*self.state;
        Requests { listings: take(listings), reads: take(reads), others: take(others) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // A last connection wakes the thread that waits for one; where it fails, nothing waits.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopped.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let state = Arc::clone(state);
        // It ends with its connection, which ends with the client; one that breaks off is no failure.
        thread::spawn(move || state.serve(&stream));
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let counter = match &request.target {
                Target::Containers | Target::Blobs(_) => &self.listings,
                Target::Blob(_) if !request.is_head => &self.reads,
                _ => &self.others,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            self.answer(&request, stream)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, mut stream: &TcpStream) -> io::Result<()> {
        let xml = match &request.target {
            Target::Blob(name) => return self.send_blob(name, request, stream),
            Target::Unknown => return stream.write_all(head("404 Not Found", 0, "").as_bytes()),
            Target::Containers => listing::containers(),
            Target::Blobs(question) => {
                listing::page(&self.blobs.read().unwrap_or_else(PoisonError::into_inner), question)
            }
        };
        stream.write_all(head("200 OK", xml.len() as u64, "Content-Type: application/xml\r\n").as_bytes())?;
        stream.write_all(xml.as_bytes())
    }

    fn send_blob(&self, name: &str, request: &Request, mut stream: &TcpStream) -> io::Result<()> {
        let Some(bytes) = self.length(name) else {
            return stream.write_all(head("404 Not Found", 0, "x-ms-error-code: BlobNotFound\r\n").as_bytes());
        };
        let (from, to) = request.range.map_or((0, bytes), |(from, to)| (from, to.min(bytes)));
        if request.range.is_some() && from >= to {
            return stream.write_all(head("416 Range Not Satisfiable", 0, "").as_bytes());
        }
        let mut headers = format!(
            "Content-Type: application/octet-stream\r\nLast-Modified: {LAST_MODIFIED}\r\nETag: \"0x{bytes:X}\"\r\n\
             x-ms-creation-time: {LAST_MODIFIED}\r\nx-ms-blob-type: AppendBlob\r\nAccept-Ranges: bytes\r\n"
        );
        let mut status = "200 OK";
        if request.range.is_some() {
            status = "206 Partial Content";
            headers += &format!("Content-Range: bytes {from}-{}/{bytes}\r\n", to - 1);
        }
        let mut head = head(status, to - from, &headers).into_bytes();
        if request.is_head {
            return stream.write_all(&head);
        }
        let mut file = File::open(self.directory.join(name))?;
        file.seek(SeekFrom::Start(from))?;
        let mut body = file.take(to - from);
        if to - from <= COPIED_BYTES_MAX {
            body.read_to_end(&mut head)?;
            return stream.write_all(&head);
        }
        stream.write_all(&head)?;
        io::copy(&mut body, &mut stream).map(|_| ())
    }

    fn length(&self, name: &str) -> Option<u64> {
        let blobs = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        let index = blobs.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
        Some(blobs[index].bytes)
    }
}

fn head(status: &str, bytes: u64, headers: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\nDate: {LAST_MODIFIED}\r\nServer: bench\r\n\
         x-ms-version: 2022-11-02\r\n{headers}\r\n"
    )
}

struct Request {
    is_head: bool,
    target: Target,
    /// The first byte asked for, and the one after the last.
    range: Option<(u64, u64)>,
}

#[derive(Debug)]
enum Target {
    Containers,
    Blobs(Question),
    Blob(String),
    Unknown,
}

impl Request {
    /// Reads a head; nothing when the client has closed the connection. Requests have no bodies.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let is_head = match words.next() {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Err(io::Error::other("neither GET nor HEAD")),
        };
        let target = Target::parse(words.next().unwrap_or_default());
        let mut range = None;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(Self { is_head, target, range }));
            };
            if name.eq_ignore_ascii_case("range") || name.eq_ignore_ascii_case("x-ms-range") {
                range = parse_range(value.trim()).or(range);
            }
        }
    }
}

impl Target {
    fn parse(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|it| it.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next().unwrap_or_default()
        };
        let path = decoded(path);
        // Some clients write the slash after the host twice.
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let (account, container, name) = (parts.next(), parts.next(), parts.next());
        let container = container.filter(|it| !it.is_empty());
        let name = name.filter(|it| !it.is_empty());
        match (account, container, name) {
            (Some(ACCOUNT), None, None) if value("comp") == "list" => Self::Containers,
            (Some(ACCOUNT), Some(CONTAINER), None) if value("comp") == "list" => Self::Blobs(Question {
                prefix: value("prefix"),
                delimiter: value("delimiter"),
                start_from: value("startFrom"),
                marker: value("marker"),
                blobs_max: value("maxresults").parse().ok(),
            }),
            (Some(ACCOUNT), Some(CONTAINER), Some(name)) => Self::Blob(name.to_owned()),
            _ => Self::Unknown,
        }
    }
}

/// `bytes=FIRST-LAST` or `bytes=FIRST-`.
fn parse_range(value: &str) -> Option<(u64, u64)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let end = if last.is_empty() { u64::MAX } else { last.parse::<u64>().ok()?.saturating_add(1) };
    Some((first.parse().ok()?, end))
}

/// With `%2F` and the like resolved, and `+` left as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| *byte == b'%').and_then(|it| std::str::from_utf8(it).ok());
        if let Some(code) = escape.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            bytes.push(code);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::archive::{Hour, Shape};
    use super::*;

    /// Sends requests over one connection, and gives back each answer as text.
    fn ask(server: &Server, requests: &[String]) -> Vec<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut ask = |request: &String| {
            stream.write_all(format!("{request}\r\n\r\n").as_bytes()).unwrap();
            let (mut answer, mut bytes) = (String::new(), 0);
            while !answer.ends_with("\r\n\r\n") {
                let from = answer.len();
                reader.read_line(&mut answer).unwrap();
                bytes = answer[from..].strip_prefix("Content-Length: ").map_or(bytes, |it| it.trim().parse().unwrap());
            }
            let mut body = vec![0; if request.starts_with("HEAD") { 0 } else { bytes }];
            reader.read_exact(&mut body).unwrap();
            answer + &String::from_utf8(body).unwrap()
        };
        requests.iter().map(&mut ask).collect()
    }

    #[test]
    fn it_lists_reads_ranges_and_counts() {
        let directory = crate::cargo::root().join(format!("target/bench-server-test-{}", std::process::id()));
        let mut archive = Archive::write(directory.clone(), Shape { blobs: 3, kibibytes: 128 }, Hour::now()).unwrap();
        let server = Server::start(&archive).unwrap();
        let (path, name) = (format!("/{ACCOUNT}/{CONTAINER}"), archive.blobs[0].name.clone());
        let whole = fs::read_to_string(directory.join(&name)).unwrap();
        let answers = ask(
            &server,
            &[
                format!("GET /{ACCOUNT}/?comp=list&prefix=insights- HTTP/1.1"),
                format!("GET {path}?restype=container&comp=list&prefix=resourceId%3D&sig=x HTTP/1.1"),
                format!("GET {path}/{} HTTP/1.1", name.replace('=', "%3D")),
                format!("GET {path}/{name} HTTP/1.1\r\nx-ms-range: bytes=131000-"),
                format!("GET {path}/{name} HTTP/1.1\r\nRange: bytes=131072-131080"),
                format!("HEAD {path}/{name} HTTP/1.1"),
                format!("GET {path}/nothing HTTP/1.1"),
            ],
        );
        assert!(answers[0].contains(&format!("<Name>{CONTAINER}</Name>")), "{}", answers[0]);
        assert_eq!(answers[1].matches("<Blob>").count(), 3);
        assert!(answers[2].starts_with("HTTP/1.1 200 OK") && answers[2].ends_with(&format!("\r\n\r\n{whole}")));
        assert!(answers[3].contains("Content-Range: bytes 131000-131071/131072\r\n"), "{}", answers[3]);
        assert!(answers[3].ends_with(&format!("\r\n\r\n{}", &whole[131_000..])));
        assert!(answers[4].starts_with("HTTP/1.1 416 "), "{}", answers[4]);
        assert!(answers[5].contains("Content-Length: 131072\r\n"), "{}", answers[5]);
        assert!(answers[6].starts_with("HTTP/1.1 404 "), "{}", answers[6]);
        assert_eq!(server.take_requests(), Requests { listings: 2, reads: 4, others: 1 });

        archive.grow().unwrap();
        server.update(&archive);
        let grown = ask(&server, &[format!("GET {path}/{name} HTTP/1.1\r\nRange: bytes=131072-132095")]);
        assert!(grown[0].ends_with("\"}\n") && grown[0].contains("\"line\":\"00000128\""), "{}", grown[0]);
        fs::remove_dir_all(directory).unwrap();
    }
}
