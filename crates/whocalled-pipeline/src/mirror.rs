//! A byte-exact local copy of an archive, brought up to date by what is new.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_types::{ErrorKind, Limits, TAIL_BYTES_MAX};

use crate::Error;
use crate::error::ends_run;
use crate::plan::{Selection, containers};
use crate::receipt::Failure;

/// What mirroring did. Every listed byte was there before, is written now, or is in a failed blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mirrored {
    /// How many blobs were listed.
    pub blobs_listed: u64,
    /// How many of them got new bytes.
    pub blobs_written: u64,
    /// How many bytes the listed blobs hold.
    pub bytes_listed: u64,
    /// How many were written now.
    pub bytes_written: u64,
    /// Blobs whose copy was no prefix of them any more, and was replaced.
    pub replaced: Vec<String>,
    /// Blobs that were deleted, cut or taken offline after they had been listed.
    pub gone: Vec<Failure>,
    /// Blobs that could not be read or written to their end.
    pub failures: Vec<Failure>,
}

/// Brings the copy in `directory` up to date with the archive.
///
/// A file is always a prefix of its blob: new bytes are appended, after the end of what is there was
/// compared, so that a run that is killed is continued by the next. A blob that was written anew is
/// fetched beside its copy, and takes its place at once. `progress` is told the bytes written.
///
/// # Errors
/// Whatever keeps the archive from being listed. A blob that fails ends no run.
pub async fn mirror(
    archive: &Archive,
    directory: &Path,
    selection: &Selection,
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Mirrored, Error> {
    let mut mirrored = Mirrored::default();
    for container in containers(archive, selection).await? {
        let mut pages = archive.list(&container, "");
        while let Some(page) = pages.try_next().await? {
            for blob in page.into_iter().filter(|blob| selection.holds(blob)) {
                mirrored.blobs_listed += 1;
                mirrored.bytes_listed += blob.bytes;
                if !blob.name.is_plain() {
                    let reason = "its name leads out of the directory".to_owned();
                    mirrored.failures.push(Failure { blob: blob.name.to_string(), position: 0, reason });
                    continue;
                }
                let path = directory.join(&container).join(&blob.name.name);
                // Beside the containers, so that it is never taken for a blob.
                let copy = Copy { archive, blob: &blob, path, staging: directory.join(".whocalled-part"), limits };
                if let Err((position, error)) = copy.update(&mut mirrored, progress).await {
                    let failure = Failure { blob: blob.name.to_string(), position, reason: error.to_string() };
                    match error {
                        Error::Archive(error) if ends_run(&error) => return Err(error.into()),
                        Error::Archive(error) if error.kind() == ErrorKind::Skip => mirrored.gone.push(failure),
                        _ => mirrored.failures.push(failure),
                    }
                }
            }
        }
    }
    Ok(mirrored)
}

struct Copy<'a> {
    archive: &'a Archive,
    blob: &'a ListedBlob,
    path: PathBuf,
    /// Where a blob that was written anew is fetched to.
    staging: PathBuf,
    limits: &'a Limits,
}

impl Copy<'_> {
    async fn update(&self, mirrored: &mut Mirrored, progress: &(dyn Fn(u64) + Sync)) -> Result<(), (u64, Error)> {
        let have = fs::metadata(&self.path).map_or(0, |it| it.len());
        if have == self.blob.bytes && self.has_time() || self.blob.bytes == 0 && self.path.is_dir() {
            return Ok(());
        }
        let mut at = have;
        let kept = have <= self.blob.bytes && self.is_prefix(have).await.map_err(|error| (have, error))?;
        let target = if kept { self.path.clone() } else { self.staging.clone() };
        if !kept {
            at = 0;
            if have > 0 {
                mirrored.replaced.push(self.blob.name.to_string());
            }
        }
        let mut file = self.open(&target, kept).map_err(|error| (at, error))?;
        while at < self.blob.bytes {
            let end = self.blob.bytes.min(at + self.limits.segment_bytes_max as u64);
            let bytes = self.archive.read(&self.blob.name, at..end).await.map_err(|error| (at, error.into()))?;
            file.write_all(&bytes).map_err(|source| (at, file_error(&target, source)))?;
            at = end;
            mirrored.bytes_written += bytes.len() as u64;
            progress(bytes.len() as u64);
        }
        let modified = self.blob.modified_at.map_or(Ok(()), |it| file.set_modified(it.into()));
        let placed = modified.and_then(|()| if kept { Ok(()) } else { fs::rename(&target, &self.path) });
        placed.map_err(|source| (at, file_error(&target, source)))?;
        mirrored.blobs_written += u64::from(at > have || !kept);
        Ok(())
    }

    /// Whether the copy was last written when the blob was. If not, its bytes are compared.
    fn has_time(&self) -> bool {
        let written = fs::metadata(&self.path).and_then(|it| it.modified()).ok().map(DateTime::<Utc>::from);
        self.blob.modified_at.is_none() || written == self.blob.modified_at
    }

    /// Whether the end of the copy is what the blob holds there.
    async fn is_prefix(&self, have: u64) -> Result<bool, Error> {
        let start = have.saturating_sub(TAIL_BYTES_MAX);
        let theirs = self.archive.read(&self.blob.name, start..have).await?;
        let mut ours = Vec::new();
        if have > 0 {
            let read = File::open(&self.path).and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.read_to_end(&mut ours)
            });
            read.map_err(|source| file_error(&self.path, source))?;
        }
        Ok(ours == theirs)
    }

    fn open(&self, target: &Path, append: bool) -> Result<File, Error> {
        let folder = target.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(target))
            .map_err(|source| file_error(target, source))
    }
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}
