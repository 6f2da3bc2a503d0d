//! What a mirror remembers beside its copies, and the lock that keeps a second run out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::copy::file_error;
use crate::Error;
use crate::scope::Seen;

/// Names that begin with a dot are never taken for containers or blobs.
const LOCK: &str = ".whocalled-mirror.lock";
const STATE: &str = ".whocalled-mirror.json";

/// A mirror that this run, and no other, writes to.
pub(super) struct State {
    path: PathBuf,
    pub(super) kept: Kept,
    /// Held until the run ends; the system lets go of it when the process dies.
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The archive that the copies are of.
    archive: String,
    #[serde(flatten)]
    pub(super) seen: Seen,
}

impl State {
    /// Locks a directory, which is made where there is none. Where another run has it, waits for that
    /// one to end, or fails.
    pub(super) fn open(directory: &Path, archive: &str, wait: bool) -> Result<Self, Error> {
        let lock = lock(directory, wait)?;
        let path = directory.join(STATE);
        let kept = match fs::read(&path) {
            // What cannot be read is as good as nothing: the whole archive is listed.
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the mirror's state is damaged, and is made anew");
                Kept::default()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(source) => return Err(file_error(&path, source)),
        };
        let mut state = Self { path, kept, _lock: lock };
        if state.kept.archive.is_empty() {
            archive.clone_into(&mut state.kept.archive);
        } else if state.kept.archive != archive {
            let recorded = state.kept.archive;
            return Err(Error::OtherMirror { path: directory.to_owned(), recorded, given: archive.to_owned() });
        }
        Ok(state)
    }

    /// Keeps what this run has seen.
    pub(super) fn save(&self) -> Result<(), Error> {
        let staging = self.path.with_extension("json.part");
        let json = serde_json::to_vec_pretty(&self.kept)
            .map_err(|error| file_error(&self.path, std::io::Error::other(error)))?;
        let written = fs::write(&staging, json).and_then(|()| fs::rename(&staging, &self.path));
        written.map_err(|source| file_error(&self.path, source))
    }
}

fn lock(directory: &Path, wait: bool) -> Result<File, Error> {
    let path = directory.join(LOCK);
    fs::create_dir_all(directory).map_err(|source| file_error(directory, source))?;
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| file_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) if wait => {
            file.lock().map_err(|source| file_error(&path, source))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(Error::MirrorBusy { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(file_error(&path, source)),
    }
}
