//! One blob's copy: always a prefix of the blob.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_types::TAIL_BYTES_MAX;

use crate::Error;
use crate::prepare::split;

/// How much is written without handing it to another thread.
const WRITE_AT_ONCE_BYTES_MAX: u64 = 512 << 10;

/// A blob, and where its copy is.
pub(super) struct Copy<'a> {
    pub(super) archive: &'a Archive,
    pub(super) blob: &'a ListedBlob,
    pub(super) path: PathBuf,
    /// Where a blob that was written anew is fetched to, before it takes its copy's place.
    pub(super) staging: PathBuf,
    /// How many bytes are asked for at a time.
    pub(super) segment_bytes_max: u64,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    /// Whether the copy is another than before.
    pub(super) written: bool,
    /// Whether it was no prefix of the blob any more.
    pub(super) replaced: bool,
    /// How many bytes were written.
    pub(super) bytes: u64,
}

/// A failure, and how far the copy had come.
pub(super) type Failed = (u64, Error);

impl Copy<'_> {
    /// Brings the copy up to date. `progress` is told the bytes written.
    pub(super) async fn update(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Copied, Failed> {
        let metadata = fs::metadata(&self.path).ok();
        let have = metadata.as_ref().map_or(0, fs::Metadata::len);
        let modified_at = metadata.as_ref().and_then(|it| it.modified().ok()).map(DateTime::<Utc>::from);
        let is_current = have == self.blob.bytes && (self.blob.modified_at.is_none_or(|it| Some(it) == modified_at));
        // Object stores know blobs named like a folder; they are empty, and the folder stands for them.
        let is_folder = metadata.as_ref().is_some_and(fs::Metadata::is_dir) && self.blob.bytes == 0;
        if metadata.is_some() && (is_current || is_folder) {
            return Ok(Copied::default());
        }
        // What is there is compared where it ends, in the same request that brings what follows.
        let tail_bytes = if have <= self.blob.bytes { have.min(TAIL_BYTES_MAX) } else { 0 };
        let (tail, mut fresh) = if have <= self.blob.bytes {
            let both = self.segment(have - tail_bytes, 2 * TAIL_BYTES_MAX).await.map_err(|error| (have, error))?;
            split(&both, tail_bytes)
        } else {
            (Bytes::new(), Bytes::new())
        };
        let is_prefix = have <= self.blob.bytes
            && (tail.is_empty() || is_end(&self.path, have, &tail).map_err(|error| (have, error))?);
        if !is_prefix {
            fresh = self.segment(0, 0).await.map_err(|error| (have, error))?;
        }
        let from = if is_prefix { have } else { 0 };
        self.write(from, fresh, is_prefix, progress).await?;
        let bytes = self.blob.bytes - from;
        Ok(Copied { written: bytes > 0 || metadata.is_none(), replaced: !is_prefix, bytes })
    }

    /// Appends `fresh`, which begins at `at`, and all that follows it.
    async fn write(
        &self,
        mut at: u64,
        mut fresh: Bytes,
        is_prefix: bool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Failed> {
        let mut file = None;
        loop {
            let (path, staging) = (self.path.clone(), self.staging.clone());
            let modified_at = self.blob.modified_at;
            let (length, is_last) = (fresh.len() as u64, at + fresh.len() as u64 >= self.blob.bytes);
            let writing = move || {
                let target = if is_prefix { &path } else { &staging };
                let mut open = match file {
                    Some(open) => open,
                    None => open_copy(target, is_prefix)?,
                };
                open.write_all(&fresh).map_err(|source| file_error(target, source))?;
                if is_last {
                    let modified = modified_at.map_or(Ok(()), |it| open.set_modified(it.into()));
                    modified.map_err(|source| file_error(target, source))?;
                    if !is_prefix {
                        fs::rename(target, &path).map_err(|source| file_error(&path, source))?;
                    }
                }
                Ok(open)
            };
            // What is written to the page cache in a moment is not worth a thread's attention.
            let written = if length <= WRITE_AT_ONCE_BYTES_MAX { writing() } else { blocking(writing).await };
            file = Some(written.map_err(|error| (at, error))?);
            at += length;
            progress(length);
            if is_last {
                return Ok(());
            }
            fresh = self.segment(at, 0).await.map_err(|error| (at, error))?;
        }
    }

    /// The blob's bytes from `from` on, a segment of them, and no fewer than `bytes_min`.
    async fn segment(&self, from: u64, bytes_min: u64) -> Result<Bytes, Error> {
        let end = self.blob.bytes.min(from + self.segment_bytes_max.max(bytes_min));
        Ok(self.archive.read(&self.blob.name, from..end).await?)
    }
}

/// Whether the file, of `length` bytes, ends in `tail`.
fn is_end(path: &Path, length: u64, tail: &[u8]) -> Result<bool, Error> {
    let mut ours = vec![0; tail.len()];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(length - tail.len() as u64))?;
        file.read_exact(&mut ours)
    });
    read.map_err(|source| file_error(path, source))?;
    Ok(ours == tail)
}

fn open_copy(target: &Path, append: bool) -> Result<File, Error> {
    let open = || OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(target);
    let opened = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| open())
        }
        opened => opened,
    };
    opened.map_err(|source| file_error(target, source))
}

pub(super) fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::File { path: "the mirror".to_owned(), source: std::io::Error::other(error) }),
    }
}
