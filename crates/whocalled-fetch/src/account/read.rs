//! Reads: exactly a range, resumed from the last byte received.

use std::{num::NonZeroUsize, ops::Range};

use azure_core::http::headers::{HeaderName, Headers};
use azure_storage_blob::{BlobClient, models::BlobClientDownloadOptions};
use bytes::Bytes;
use futures::StreamExt as _;
use whocalled_types::BlobName;

use super::Account;
use crate::{
    Error,
    error::Cause,
    retry::{Trial, Verdict},
};

/// Why a read did not get all of its range.
enum Broken {
    /// The answer began, and broke off: the rest can be asked for.
    Body(Cause),
    /// The answer is an error, or not to the question.
    Answer(Verdict, Error),
}

impl Account {
    pub(crate) async fn read(&self, blob: &BlobName, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = usize::try_from(range.end - range.start)
            .map_err(|_| self.nonsense(&format!("blob {blob}"), "the range is larger than the memory"))?;
        let mut bytes = self.buffers.lend(wanted);
        let mut rest = bytes.as_mut();
        let take = |chunk: Bytes| {
            rest.split_off_mut(..chunk.len()).into_iter().for_each(|filled| filled.copy_from_slice(&chunk));
        };
        self.receive_all(blob, range, take).await?;
        Ok(bytes.freeze())
    }

    /// The same bytes in the pieces in which they came, none of which is copied.
    pub(crate) async fn read_pieces(&self, blob: &BlobName, range: Range<u64>) -> Result<Vec<Bytes>, Error> {
        let mut pieces = Vec::new();
        self.receive_all(blob, range, |chunk| pieces.push(chunk)).await?;
        Ok(pieces)
    }

    /// Gives exactly the bytes `range` of a blob, in their order, and asks as often as it takes.
    async fn receive_all(
        &self,
        blob: &BlobName,
        mut range: Range<u64>,
        mut take: impl FnMut(Bytes) + Send,
    ) -> Result<(), Error> {
        let client = self.service.blob_client(&blob.container, &blob.name);
        let what = format!("blob {blob}");
        let mut trial = Trial::new(&self.policy, &what);
        while !range.is_empty() {
            let from = range.start;
            let Err(broken) = self.receive(&client, blob, &mut range, &mut take).await else { break };
            if range.start > from {
                trial.progressed();
            }
            let (verdict, error) = match broken {
                Broken::Answer(verdict, error) => (verdict, error),
                Broken::Body(source) => {
                    let what = format!("{what} at byte {}", range.start);
                    (Verdict::Transient(None), Error::Interrupted { what, attempt_count: 1, source })
                }
            };
            self.wait(&mut trial, verdict, error).await?;
        }
        Ok(())
    }

    /// Asks once for `range`, gives what comes of it, and takes that off the range.
    async fn receive(
        &self,
        client: &BlobClient,
        blob: &BlobName,
        range: &mut Range<u64>,
        take: &mut (impl FnMut(Bytes) + Send),
    ) -> Result<(), Broken> {
        // One partition as large as the range, so that one request goes out for it.
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let options = BlobClientDownloadOptions {
            range: Some(range.clone().into()),
            parallel: NonZeroUsize::new(1),
            partition_size: NonZeroUsize::new(length),
            ..BlobClientDownloadOptions::default()
        };
        let (pass, answer) = self
            .send(client.download(Some(options)))
            .await
            .map_err(|error| Broken::Answer(Verdict::of(&error), self.read_failure(error, blob, range)))?;
        self.check_answer(&answer.headers, blob, range).map_err(|error| Broken::Answer(Verdict::Final, error))?;
        let mut body = answer.body;
        while !range.is_empty() {
            let stall_max = self.policy.stall_max;
            let mut chunk = match tokio::time::timeout(stall_max, body.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(Broken::Body(Cause::innermost(&error))),
                Ok(None) => return Err(Broken::Body(Cause::new("the body ended early"))),
                Err(_) => {
                    return Err(Broken::Body(Cause::new(format!("no byte within {} s", stall_max.as_secs_f32()))));
                }
            };
            // Where the whole blob was sent instead of the range.
            chunk.truncate(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
            self.counters.count_bytes(chunk.len());
            range.start += chunk.len() as u64;
            take(chunk);
        }
        pass.succeeded();
        Ok(())
    }

    /// Whether an answer holds the range that was asked for, and all of it.
    fn check_answer(&self, headers: &Headers, blob: &BlobName, range: &Range<u64>) -> Result<(), Error> {
        let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
        let shrank = |bytes| Error::Shrank { blob: blob.clone(), from: range.start, to: range.end, bytes: Some(bytes) };
        let what = || format!("blob {blob}");
        let Some(content_range) = header("content-range") else {
            // The whole blob, which is as good where the range begins with it. An empty blob is
            // answered so, because no range of it can be satisfied.
            return match header("content-length").and_then(|length| length.parse::<u64>().ok()) {
                Some(length) if length < range.end => Err(shrank(length)),
                _ if range.start == 0 => Ok(()),
                _ => Err(self.nonsense(&what(), "the range that was asked for is ignored")),
            };
        };
        let Some((first, length)) = parse_content_range(content_range) else {
            return Err(self.nonsense(&what(), &format!("content-range is {content_range}")));
        };
        // Where only the range is short, so is the body, and the rest is asked for.
        if let Some(length) = length.filter(|length| *length < range.end) {
            return Err(shrank(length));
        }
        if first != range.start {
            return Err(self.nonsense(&what(), &format!("content-range is {content_range}, not from {}", range.start)));
        }
        Ok(())
    }
}

/// `bytes 0-99/1234` as first byte and length of the whole; `*` is a length that is not told.
fn parse_content_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let length = if length == "*" { None } else { Some(length.trim().parse().ok()?) };
    Some((first.trim().parse().ok()?, length))
}
