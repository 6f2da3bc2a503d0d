//! An archive's bytes in a local directory, byte for byte.

mod copy;
mod state;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_types::{ErrorKind, Limits};

use self::copy::{Copied, Copy, Failed};
use self::state::State;
use crate::Error;
use crate::error::ends_run;
use crate::plan::{Selection, blobs, containers};
use crate::prepare::tail_hash;
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
    /// Requests that were made of the archive.
    pub requests: u64,
    /// Blobs whose copy was no prefix of them any more, and was replaced.
    pub replaced: Vec<String>,
    /// Blobs that were deleted, cut or taken offline after they had been listed.
    pub gone: Vec<Failure>,
    /// Blobs that could not be read or written to their end.
    pub failures: Vec<Failure>,
    /// Whether the run was asked to stop before its end.
    pub interrupted: bool,
}

/// How a mirror is to be brought up to date.
pub struct MirrorOptions<'a> {
    /// Which part of the archive.
    pub selection: &'a Selection,
    /// What a run holds and accepts.
    pub limits: &'a Limits,
    /// Whether to wait for another run on the same directory to end.
    pub wait: bool,
    /// What time it is.
    pub now: DateTime<Utc>,
    /// Told the bytes written.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Set by the caller to begin no further blob.
    pub stop: &'a AtomicBool,
}

/// Brings the copy in `directory` up to date with the archive.
///
/// A file is always a prefix of its blob: new bytes are appended, after the end of what is there was
/// compared, so that a run that is killed is continued by the next. A blob that was written anew is
/// fetched beside its copy, and takes its place at once. One run at a time writes to a directory.
///
/// # Errors
/// Whatever keeps the archive from being listed, another run on the directory, or a directory that
/// mirrors another archive. A blob that fails ends no run.
pub async fn mirror(archive: &Archive, directory: &Path, options: &MirrorOptions<'_>) -> Result<Mirrored, Error> {
    let mut state = State::open(directory, &archive.identity(), options.wait)?;
    let hours = state.kept.seen.hours(archive, options.selection, options.now);
    let mut mirrored = Mirrored::default();
    let containers = containers(archive, options.selection).await?;
    let pages = containers.iter().map(|container| blobs(archive, container, hours));
    let listed = stream::select_all(pages).map_ok(|page| stream::iter(page).map(Ok::<_, Error>)).try_flatten();
    let outcomes = listed.map_ok(|blob| async move {
        let outcome = match options.stop.load(Ordering::Relaxed) {
            true => None,
            false => Some(update(archive, directory, &blob, options).await),
        };
        Ok((blob, outcome))
    });
    let mut outcomes = std::pin::pin!(outcomes.try_buffer_unordered(options.limits.concurrent_reads_max));
    while let Some((blob, outcome)) = outcomes.try_next().await? {
        mirrored.add(&blob, outcome)?;
    }
    mirrored.requests = archive.traffic().request_count;
    if mirrored.failures.is_empty() && !mirrored.interrupted {
        let whole = hours.is_none().then(|| archive.traffic().list_request_count);
        state.kept.seen = state.kept.seen.after(options.selection, options.now, whole);
    }
    state.save()?;
    Ok(mirrored)
}

async fn update(
    archive: &Archive,
    directory: &Path,
    blob: &ListedBlob,
    options: &MirrorOptions<'_>,
) -> Result<Copied, Failed> {
    if !blob.name.is_plain() {
        return Err((0, Error::Name { blob: blob.name.to_string() }));
    }
    let copy = Copy {
        archive,
        blob,
        path: directory.join(&blob.name.container).join(&blob.name.name),
        // Beside the containers, so that it is never taken for a blob.
        staging: directory.join(format!(".whocalled-{}.part", &tail_hash(blob.name.to_string().as_bytes())[..16])),
        segment_bytes_max: options.limits.segment_bytes_max as u64,
    };
    copy.update(options.progress).await
}

impl Mirrored {
    /// Takes in what became of a blob; `None` where it was not begun.
    fn add(&mut self, blob: &ListedBlob, outcome: Option<Result<Copied, Failed>>) -> Result<(), Error> {
        self.blobs_listed += 1;
        self.bytes_listed += blob.bytes;
        let name = blob.name.to_string();
        match outcome {
            None => self.interrupted = true,
            Some(Ok(copied)) => {
                self.blobs_written += u64::from(copied.written);
                self.bytes_written += copied.bytes;
                if copied.replaced {
                    self.replaced.push(name);
                }
            }
            Some(Err((position, error))) => {
                let failure = Failure { blob: name, position, reason: error.to_string() };
                match error {
                    Error::Archive(error) if ends_run(&error) => return Err(error.into()),
                    Error::Archive(error) if error.kind() == ErrorKind::Skip => self.gone.push(failure),
                    _ => self.failures.push(failure),
                }
            }
        }
        Ok(())
    }
}
