//! HTTP/1.1 as far as the fault proxy needs it. Written out, because faults are made of bytes and
//! connections, which a library keeps to itself.

use std::io;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// The first line of a request or an answer, and its headers.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The next head of a connection; `None` where the other side has closed it.
    pub(crate) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() && !lines.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let line = lines.remove(0);
        let headers = lines.iter().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Some(Self { line, headers }))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| other != name);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The status, where this is an answer's.
    pub(crate) fn status(&self) -> Option<u16> {
        self.line.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n", self.line).into_bytes()
    }
}

/// An answer, all of it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// An error as Azure Storage gives it.
    pub(crate) fn error(status: u16, code: &str, headers: &[(&str, String)]) -> Self {
        let line = format!("HTTP/1.1 {status} Fault");
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut head = Head { line, headers };
        head.set("content-type", "application/xml");
        head.set("x-ms-error-code", code);
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>"
        );
        Self { head, body: body.into_bytes() }
    }

    /// Asks the server at `address`, and takes in its whole answer.
    pub(crate) async fn ask(address: &str, request: &Head) -> io::Result<Self> {
        let mut request = request.clone();
        // The answer then ends with the connection.
        request.set("connection", "close");
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(&request.to_bytes()).await?;
        let mut head = Head::read(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        stream.read_to_end(&mut body).await?;
        if head.header("transfer-encoding") == Some("chunked") {
            body = dechunk(&body);
        }
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            head.remove(name);
        }
        Ok(Self { head, body })
    }
}

/// A chunked body as one piece.
fn dechunk(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|pair| pair == b"\r\n") {
        let length = String::from_utf8_lossy(&chunks[..end]);
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        let chunk = end + 2..end + 2 + length;
        if length == 0 || chunk.end > chunks.len() {
            break;
        }
        body.extend_from_slice(&chunks[chunk.clone()]);
        chunks = chunks.get(chunk.end + 2..).unwrap_or_default();
    }
    body
}
