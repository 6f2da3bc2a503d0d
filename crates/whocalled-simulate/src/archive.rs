//! The archive: blobs under the names that diagnostic settings give them, written piece by piece,
//! with every record counted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use chrono::{Datelike, Timelike};

use crate::{Error, text::Ticks};

/// How much of a blob is held before it is written: little enough to stay in the processor's cache.
const PIECE_BYTES: usize = 128 << 10;

/// How a blob frames its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    /// `{"records":[...]}` around the records, instead of one a line.
    pub(crate) wrapper: bool,
    /// Lines of the wrapper's own, for records that are indented.
    pub(crate) indented: bool,
    /// Lines end with CR LF.
    pub(crate) carriage_returns: bool,
    pub(crate) byte_order_mark: bool,
}

impl Layout {
    /// The indentation of a record, in steps.
    pub(crate) const fn record_depth(self) -> usize {
        if self.indented { 2 } else { 0 }
    }

    const fn line_end(self) -> &'static [u8] {
        if self.carriage_returns { b"\r\n" } else { b"\n" }
    }
}

/// What an archive holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) bytes: u64,
    pub(crate) blob_count: u64,
    pub(crate) torn_bytes: u64,
    /// Sound records, by container and category.
    pub(crate) records: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Damaged records, by container.
    pub(crate) damaged: BTreeMap<String, u64>,
}

/// An archive that is being written.
pub(crate) struct Archive {
    root: PathBuf,
    pub(crate) contents: Contents,
}

impl Archive {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, contents: Contents::default() }
    }

    /// Begins the blob of a container, scope and hour. It exists once it has a record.
    pub(crate) fn blob(&self, container: &str, scope: &Scope<'_>, hour: Ticks, layout: Layout) -> Blob {
        let at = hour.to_utc();
        let folder = match scope {
            Scope::Resource(id) => format!("resourceId={}", id.to_ascii_uppercase()),
            Scope::Tenant(id) => format!("tenantId={id}"),
        };
        let hours = format!("y={:04}/m={:02}/d={:02}/h={:02}/m=00", at.year(), at.month(), at.day(), at.hour());
        Blob {
            container: container.to_owned(),
            path: self.root.join(container).join(folder).join(hours).join("PT1H.json"),
            layout,
            piece: Vec::new(),
            file: None,
            bytes: 0,
            torn_bytes: 0,
            record_count: 0,
            damaged_count: 0,
            records: BTreeMap::new(),
        }
    }

    /// Writes the rest of a blob, and counts what it holds.
    pub(crate) fn finish(&mut self, mut blob: Blob) -> Result<(), Error> {
        if blob.record_count + blob.torn_bytes == 0 {
            return Ok(());
        }
        blob.close_wrapper();
        blob.write_piece()?;
        self.contents.bytes += blob.bytes;
        self.contents.blob_count += 1;
        self.contents.torn_bytes += blob.torn_bytes;
        if blob.damaged_count > 0 {
            *self.contents.damaged.entry(blob.container.clone()).or_default() += blob.damaged_count;
        }
        let of_container = self.contents.records.entry(blob.container).or_default();
        for (category, count) in blob.records {
            *of_container.entry(category).or_default() += count;
        }
        Ok(())
    }
}

/// Whose logs a blob holds.
pub(crate) enum Scope<'a> {
    Resource(&'a str),
    Tenant(&'a str),
}

/// A blob that is being written.
pub(crate) struct Blob {
    container: String,
    path: PathBuf,
    pub(crate) layout: Layout,
    piece: Vec<u8>,
    file: Option<File>,
    bytes: u64,
    torn_bytes: u64,
    record_count: u64,
    damaged_count: u64,
    records: BTreeMap<&'static str, u64>,
}

impl Blob {
    /// Adds a record, which `write` appends.
    pub(crate) fn record(&mut self, category: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        *self.records.entry(category).or_default() += 1;
        self.framed(write)
    }

    /// Adds a line that is no record, but takes the place of one.
    pub(crate) fn damaged_record(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.damaged_count += 1;
        self.framed(|out| out.extend_from_slice(bytes))
    }

    /// Adds an empty line, which means nothing.
    pub(crate) fn blank_line(&mut self) {
        if self.record_count > 0 && !self.layout.wrapper {
            self.piece.extend_from_slice(self.layout.line_end());
        }
    }

    /// Ends the blob in the middle of a record, as if read during an append.
    pub(crate) fn tear(&mut self, bytes: &[u8]) {
        self.torn_bytes += bytes.len() as u64;
        self.piece.extend_from_slice(bytes);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    fn framed(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        if self.record_count == 0 && self.layout.byte_order_mark {
            self.piece.extend_from_slice("\u{feff}".as_bytes());
        }
        if self.layout.wrapper {
            let before: &[u8] = match (self.record_count, self.layout.indented) {
                (0, false) => b"{\"records\":[",
                (0, true) => b"{\n  \"records\": [\n    ",
                (_, false) => b",",
                (_, true) => b",\n    ",
            };
            self.piece.extend_from_slice(before);
            write(&mut self.piece);
        } else {
            write(&mut self.piece);
            self.piece.extend_from_slice(self.layout.line_end());
        }
        self.record_count += 1;
        if self.piece.len() >= PIECE_BYTES { self.write_piece() } else { Ok(()) }
    }

    fn close_wrapper(&mut self) {
        if self.layout.wrapper {
            let after: &[u8] = if self.layout.indented { b"\n  ]\n}\n" } else { b"]}" };
            self.piece.extend_from_slice(after);
        }
    }

    fn write_piece(&mut self) -> Result<(), Error> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        file.write_all(&self.piece).map_err(Error::io("write", &self.path))?;
        self.bytes += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

/// Records that were received too late for their blob, and wait for that of the next hour.
#[derive(Debug, Default)]
pub(crate) struct Late {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Late {
    /// Adds a record, which `write` appends in the form of the blob that it is for.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Moves the records into their blob.
    pub(crate) fn deliver(&mut self, category: &'static str, blob: &mut Blob) -> Result<(), Error> {
        let mut start = 0;
        for end in self.ends.drain(..) {
            let bytes = &self.bytes[start..end];
            blob.record(category, |out| out.extend_from_slice(bytes))?;
            start = end;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// Creates a file and the directories above it.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::io("create directory", directory))?;
    }
    File::create(path).map_err(Error::io("create", path))
}
