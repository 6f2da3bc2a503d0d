//! A walk through the directories of a container.
//!
//! Around every blob there are two directories that hold nothing else, at the end of a path of fourteen. A directory is
//! therefore opened from the one that it was found in, where that is still open, and a file looked at from its own: to
//! follow the path from the root each time would take half as long again.

use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use whocalled_types::{BlobName, HourSpan};

use crate::{Error, ListedBlob};

/// Into how many parts a walk is divided, about, so that several threads ask the file system, which is what takes long.
const WALK_PARTS: usize = 64;

/// A depth-first walk through a container, or a part of it, in the order of the blobs' names, which is the order in
/// which Azure lists them.
pub(super) struct Walk {
    root: PathBuf,
    container: String,
    prefix: String,
    hours: Option<HourSpan>,
    /// What is still to come, the next one last.
    pending: Vec<Entry>,
}

enum Entry {
    /// Its name ends in a slash, so that entries sort as the names of the blobs in them.
    Directory(String),
    Blob(ListedBlob),
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Directory(name) => name,
            Self::Blob(blob) => &blob.name.name,
        }
    }
}

impl Walk {
    /// All blobs of a container, whose directory is `root`, with names that begin with `prefix`, of some hours or of all.
    pub(super) fn new(root: PathBuf, container: String, prefix: String, hours: Option<HourSpan>) -> Self {
        Self { root, container, prefix, hours, pending: vec![Entry::Directory(String::new())] }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Walks that together are this one, in its order.
    pub(super) fn divide(mut self) -> Result<Vec<Self>, Error> {
        while self.pending.len() < WALK_PARTS && self.pending.iter().any(|it| matches!(it, Entry::Directory(_))) {
            for entry in std::mem::take(&mut self.pending) {
                match entry {
                    Entry::Directory(name) => self.descend(name)?,
                    blob @ Entry::Blob(_) => self.pending.push(blob),
                }
            }
        }
        let part_entries = self.pending.len().div_ceil(WALK_PARTS).max(1);
        let mut parts = Vec::new();
        while !self.pending.is_empty() {
            let rest = self.pending.len().saturating_sub(part_entries);
            let pending = self.pending.split_off(rest);
            let (root, container, prefix) = (self.root.clone(), self.container.clone(), self.prefix.clone());
            parts.push(Self { root, container, prefix, hours: self.hours, pending });
        }
        Ok(parts)
    }

    /// The next blobs; none at the end.
    pub(super) fn next_page(&mut self, blobs_max: usize) -> Result<Vec<ListedBlob>, Error> {
        let mut page = Vec::new();
        while page.len() < blobs_max {
            match self.pending.pop() {
                None => break,
                Some(Entry::Blob(blob)) => page.push(blob),
                Some(Entry::Directory(name)) => self.descend(name)?,
            }
        }
        Ok(page)
    }

    /// Puts what a directory holds before everything else; what that holds, where it is a directory and nothing else.
    fn descend(&mut self, mut name: String) -> Result<(), Error> {
        let mut parent = None;
        loop {
            let Some(mut directory) = self.open(parent.as_ref(), &name)? else { return Ok(()) };
            let mut entries = self.entries(&mut directory, &name)?;
            match entries.as_mut_slice() {
                [Entry::Directory(only)] => name = std::mem::take(only),
                _ => {
                    entries.sort_unstable_by(|left, right| right.name().cmp(left.name()));
                    self.pending.append(&mut entries);
                    return Ok(());
                }
            }
            parent = Some(directory);
        }
    }

    /// Opens a directory, of which `parent` is the one that it was found in; `None` for one that is gone meanwhile.
    fn open(&self, parent: Option<&Dir>, name: &str) -> Result<Option<Dir>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match parent {
            Some(parent) => {
                let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
                parent.fd().and_then(|parent| openat(parent, last, flags, Mode::empty()))
            }
            None => openat(CWD, self.root.join(name), flags, Mode::empty()),
        };
        match opened.and_then(Dir::new) {
            Ok(directory) => Ok(Some(directory)),
            // A directory below may go while its parent is walked; the container may not.
            Err(Errno::NOENT) if name.is_empty() => Err(Error::Gone { what: format!("container {}", self.container) }),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// What a directory holds that the walk is about. Names that begin with a dot are left out: file managers and
    /// downloaders leave such files behind, and no blob of a log begins so. A symbolic link to a
    /// file is followed; one to a directory is not, so that no walk goes round in circles.
    fn entries(&self, directory: &mut Dir, name: &str) -> Result<Vec<Entry>, Error> {
        let failed = |error| self.failed(name, error);
        let mut entries = Vec::new();
        while let Some(entry) = directory.read() {
            let entry = entry.map_err(failed)?;
            let file = entry.file_name();
            let file_name = file.to_str().map_err(|_| Error::FileName {
                directory: self.root.join(name),
                name: file.to_string_lossy().into_owned(),
            })?;
            if file_name.starts_with('.') {
                continue;
            }
            let stat = |flags| match directory.fd().and_then(|directory| statat(directory, file, flags)) {
                Err(Errno::NOENT) => Ok(None),
                stat => stat.map(Some).map_err(failed),
            };
            let file_type = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => match stat(AtFlags::SYMLINK_NOFOLLOW)? {
                    Some(stat) => FileType::from_raw_mode(stat.st_mode),
                    None => continue,
                },
                told => told,
            };
            if file_type == FileType::Directory {
                let below = format!("{name}{file_name}/");
                if (below.starts_with(&self.prefix) || self.prefix.starts_with(&below)) && self.may_be_below(&below) {
                    entries.push(Entry::Directory(below));
                }
                continue;
            }
            let blob = format!("{name}{file_name}");
            if !blob.starts_with(&self.prefix) || !self.may_be_below(&blob) {
                continue;
            }
            // What is gone meanwhile, and a link to nothing, is no blob.
            let Some(stat) = stat(AtFlags::empty())? else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => entries.push(Entry::Blob(ListedBlob {
                    name: BlobName { container: self.container.clone(), name: blob },
                    bytes: u64::try_from(stat.st_size).unwrap_or(0),
                    created_at: None,
                    modified_at: u32::try_from(stat.st_mtime_nsec)
                        .ok()
                        .and_then(|nanoseconds| DateTime::from_timestamp(stat.st_mtime, nanoseconds)),
                    etag: None,
                })),
                FileType::Directory => {
                    tracing::warn!(path = %self.root.join(blob).display(), "symbolic link to a directory is not followed");
                }
                _ => {}
            }
        }
        Ok(entries)
    }

    fn may_be_below(&self, name: &str) -> bool {
        self.hours.is_none_or(|hours| hours.may_be_below(name))
    }

    fn failed(&self, name: &str, error: Errno) -> Error {
        Error::File { path: self.root.join(name), source: io::Error::from(error) }
    }
}
