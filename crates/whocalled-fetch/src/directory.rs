//! Archives in a local directory: containers are its subdirectories, blobs are the files below.

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use whocalled_types::{BlobName, HourSpan, is_log_container};

use self::walk::Walk;
use crate::buffers::Buffers;
use crate::{Counters, Error, ListedBlob};

/// How many blobs a page of a listing holds, at most.
const PAGE_BLOBS_MAX: usize = 1000;
/// Of how many parts of a walk the first page is read at a time.
const WALKS_AT_A_TIME: usize = 8;
/// The subdirectory that is taken for the archive where the directory itself holds no container: a
/// simulated archive has its truth beside it.
const ARCHIVE_SUBDIRECTORY: &str = "archive";

/// A directory laid out like the archive.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// The one container that was given, where a container's own directory was.
    container: Option<String>,
    counters: Arc<Counters>,
    buffers: Arc<Buffers>,
}

impl Directory {
    /// Finds the archive at `path`: the directory itself, its subdirectory `archive`, or, where
    /// `path` is a container's directory, the directory that holds it.
    pub(crate) async fn open(path: PathBuf, counters: Arc<Counters>) -> Result<Self, Error> {
        let buffers = Arc::default();
        blocking(path.clone(), move || {
            let root = fs::canonicalize(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::DirectoryMissing { path: path.clone() },
                _ => Error::File { path: path.clone(), source },
            })?;
            if !root.is_dir() {
                return Err(Error::NotADirectory { path });
            }
            let name = root.file_name().and_then(|name| name.to_str()).filter(|name| is_log_container(name));
            if let (Some(container), Some(parent)) = (name, root.parent()) {
                return Ok(Self { root: parent.to_owned(), container: Some(container.to_owned()), counters, buffers });
            }
            let nested = root.join(ARCHIVE_SUBDIRECTORY);
            let root = if containers_in(&root)?.is_empty() && nested.is_dir() { nested } else { root };
            Ok(Self { root, container: None, counters, buffers })
        })
        .await
    }

    pub(crate) async fn containers(&self) -> Result<Vec<String>, Error> {
        match &self.container {
            Some(container) => Ok(vec![container.clone()]),
            None => {
                let root = self.root.clone();
                blocking(root.clone(), move || containers_in(&root)).await
            }
        }
    }

    pub(crate) fn list(&self, container: &str, prefix: &str) -> BoxStream<'static, Result<Vec<ListedBlob>, Error>> {
        self.walk(container, prefix, None)
    }

    pub(crate) fn list_hours(
        &self,
        container: &str,
        hours: HourSpan,
    ) -> BoxStream<'static, Result<Vec<ListedBlob>, Error>> {
        self.walk(container, "", Some(hours))
    }

    fn walk(
        &self,
        container: &str,
        prefix: &str,
        hours: Option<HourSpan>,
    ) -> BoxStream<'static, Result<Vec<ListedBlob>, Error>> {
        if container.is_empty() || container.contains(['/', '\\', '\0']) || container == "." || container == ".." {
            let what = format!("container {container}");
            return stream::once(async { Err(Error::Gone { what }) }).boxed();
        }
        let root = self.root.join(container);
        let walk = Walk::new(root.clone(), container.to_owned(), prefix.to_owned(), hours);
        stream::once(blocking(root, move || walk.divide()))
            .map_ok(|parts| stream::iter(parts).map(Ok))
            .try_flatten()
            .map_ok(step)
            .try_buffered(WALKS_AT_A_TIME)
            .map_ok(|first| {
                stream::iter(first)
                    .flat_map(|(page, rest)| stream::once(async { Ok(page) }).chain(stream::try_unfold(rest, step)))
            })
            .try_flatten()
            // Parts are mostly smaller than a page.
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .try_chunks(PAGE_BLOBS_MAX)
            .map_err(|error| error.1)
            .boxed()
    }

    /// Reads a range of one file.
    pub(crate) async fn read(&self, blob: BlobName, range: Range<u64>) -> Result<Bytes, Error> {
        let read = self.read_all(vec![(blob, range)]).await?;
        // One range, one result.
        read.into_iter().next().unwrap_or_else(|| Ok(Bytes::new()))
    }

    /// Reads files one after the other, since to hand over a small one between threads takes as long as to read it.
    pub(crate) async fn read_all(
        &self,
        ranges: Vec<(BlobName, Range<u64>)>,
    ) -> Result<Vec<Result<Bytes, Error>>, Error> {
        let (root, counters, buffers) = (self.root.clone(), Arc::clone(&self.counters), Arc::clone(&self.buffers));
        blocking(root.clone(), move || {
            let length =
                |range: &Range<u64>| usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            let lengths: Vec<usize> = ranges.iter().map(|(_, range)| length(range)).collect();
            let total = lengths.iter().fold(0, |sum: usize, length| sum.saturating_add(*length));
            let mut failures = Vec::with_capacity(ranges.len());
            let mut buffer = buffers.lend(total);
            let mut rest = buffer.as_mut();
            for ((blob, range), length) in ranges.into_iter().zip(&lengths) {
                let (into, others) = rest.split_at_mut(*length);
                rest = others;
                counters.count_request();
                let failure = read_range(&root, blob, range, into).err();
                counters.count_bytes(if failure.is_none() { *length } else { 0 });
                failures.push(failure);
            }
            let mut rest = buffer.freeze();
            let parts = failures.into_iter().zip(lengths).map(|(failure, length)| {
                let part = rest.split_to(length);
                failure.map_or(Ok(part), Err)
            });
            Ok(parts.collect())
        })
        .await
    }
}

/// The next page and the walk that is left; none at the end.
async fn step(mut walk: Walk) -> Result<Option<(Vec<ListedBlob>, Walk)>, Error> {
    blocking(walk.root().to_owned(), move || {
        let page = walk.next_page(PAGE_BLOBS_MAX)?;
        Ok((!page.is_empty()).then_some((page, walk)))
    })
    .await
}

/// The log containers among a directory's subdirectories, sorted. Here a symbolic link to a
/// directory is followed, so that an archive can be put together from several places.
fn containers_in(root: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File { path: root.to_owned(), source };
    let mut containers = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_log_container(&name) && entry.path().is_dir() {
            containers.push(name);
        }
    }
    containers.sort_unstable();
    Ok(containers)
}

/// Fills `into` with the bytes `range` of a blob.
fn read_range(root: &Path, blob: BlobName, range: Range<u64>, into: &mut [u8]) -> Result<(), Error> {
    // Blob names also come back from a lake's rows, which anyone may have written.
    if !blob.is_plain() {
        return Err(Error::Gone { what: format!("blob {blob}") });
    }
    let path = root.join(&blob.container).join(&blob.name);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Gone { what: format!("blob {blob}") },
        _ => Error::File { path: path.clone(), source },
    };
    let shrank = |bytes| Error::Shrank { blob: blob.clone(), from: range.start, to: range.end, bytes };
    let file = fs::File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length < range.end {
        return Err(shrank(Some(length)));
    }
    file.read_exact_at(into, range.start).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => shrank(None),
        _ => failed(source),
    })
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::File { path, source: io::Error::other(error) }),
    }
}

mod walk;

#[cfg(test)]
mod tests;
