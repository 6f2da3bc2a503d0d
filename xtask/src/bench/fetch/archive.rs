//! An archive to fetch: blobs of one size, named as Azure names them, and kept as files.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The container that all blobs are in.
pub(super) const CONTAINER: &str = "insights-logs-requestresponse";

/// Every blob's last name.
const LEAF: &str = "PT1H.json";

/// Blobs consist of lines of this length, so that each size in KiB is whole lines.
const LINE_BYTES: usize = 1024;

/// The hours are spread over so many Azure OpenAI accounts.
const RESOURCES: u32 = 20;

/// How many blobs of which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) blobs: u32,
    pub(super) kibibytes: u32,
}

impl Shape {
    /// A busy account's, a few very busy hours, and what most archives consist of.
    pub(super) const STANDARD: [Self; 3] = [
        Self { blobs: 2_000, kibibytes: 256 },
        Self { blobs: 20, kibibytes: 64 * 1024 },
        Self { blobs: 20_000, kibibytes: 4 },
    ];

    /// For people: `2000 of 256 KiB`.
    pub(super) fn words(self) -> String {
        if self.kibibytes.is_multiple_of(1024) {
            format!("{} of {} MiB", self.blobs, self.kibibytes / 1024)
        } else {
            format!("{} of {} KiB", self.blobs, self.kibibytes)
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').and_then(|(blobs, size)| Some((blobs.parse().ok()?, size.parse().ok()?)));
        match numbers {
            Some((blobs, kibibytes)) if blobs > 0 && kibibytes > 0 => Ok(Self { blobs, kibibytes }),
            _ => Err("give COUNTxKIB, for instance 2000x256".to_owned()),
        }
    }
}

/// The files that a service serves, and that copies are compared with.
pub(super) struct Archive {
    /// Holds the container's blobs, each under its name.
    pub(super) directory: PathBuf,
    pub(super) blobs: Vec<Blob>,
}

/// One blob.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// A blob that has got longer.
pub(super) struct Grown {
    pub(super) name: String,
    /// How long it was.
    pub(super) from: u64,
}

impl Archive {
    /// Writes an archive of that shape into an empty directory.
    pub(super) fn write(directory: PathBuf, shape: Shape) -> Result<Self> {
        let mut archive = Self { directory, blobs: Vec::new() };
        for number in 0..shape.blobs {
            let name = name(number);
            let path = archive.directory.join(&name);
            let parent = path.parent().context("a blob's name has several parts")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            append(&mut file, number, 0, shape.kibibytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
            archive.blobs.push(Blob { name, bytes: u64::from(shape.kibibytes) * LINE_BYTES as u64 });
        }
        Ok(archive)
    }

    /// Appends a line to one blob in a hundred, other ones in each round.
    pub(super) fn grow(&mut self, round: u32) -> Result<Vec<Grown>> {
        let count = self.blobs.len();
        let step = count.min(100);
        let mut grown = Vec::new();
        for index in (round as usize % step..count).step_by(step) {
            let blob = &mut self.blobs[index];
            let path = self.directory.join(&blob.name);
            let mut file = OpenOptions::new().append(true).open(&path)?;
            let line = u32::try_from(blob.bytes / LINE_BYTES as u64)?;
            append(&mut file, u32::try_from(index)?, line, 1)
                .with_context(|| format!("cannot append to {}", path.display()))?;
            grown.push(Grown { name: blob.name.clone(), from: blob.bytes });
            blob.bytes += LINE_BYTES as u64;
        }
        Ok(grown)
    }

    /// How many bytes all blobs hold.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.iter().map(|it| it.bytes).sum()
    }

    /// Fails unless the directory holds these blobs, byte for byte, and no others. Files of other
    /// names are its owner's affair.
    pub(super) fn compare(&self, copy: &Path) -> Result<()> {
        for blob in &self.blobs {
            if !is_same(&self.directory.join(&blob.name), &copy.join(&blob.name))? {
                bail!("{} differs from blob {}", copy.join(&blob.name).display(), blob.name);
            }
        }
        let copied = blobs_below(copy)?;
        if copied != self.blobs.len() {
            bail!("{} holds {copied} blobs, not {}", copy.display(), self.blobs.len());
        }
        Ok(())
    }
}

fn name(number: u32) -> String {
    let (resource, hours) = (number % RESOURCES, number / RESOURCES);
    // Months of 28 days: every date exists.
    let (hour, day, month) = (hours % 24, hours / 24 % 28, hours / 24 / 28);
    format!(
        "resourceId=/SUBSCRIPTIONS/00000000-0000-4000-8000-000000000000/RESOURCEGROUPS/BENCH/PROVIDERS\
         /MICROSOFT.COGNITIVESERVICES/ACCOUNTS/ACCOUNT-{resource:02}\
         /y={}/m={:02}/d={:02}/h={hour:02}/m=00/{LEAF}",
        2020 + month / 12,
        month % 12 + 1,
        day + 1,
    )
}

/// Lines that tell which blob and which place they are of, so that nothing can be mistaken for another.
fn append(file: &mut impl Write, blob: u32, from_line: u32, count: u32) -> Result<()> {
    let filler = "x".repeat(LINE_BYTES);
    for line in from_line..from_line + count {
        let head = format!("{{\"blob\":\"{blob:08}\",\"line\":\"{line:08}\",\"text\":\"");
        file.write_all(head.as_bytes())?;
        file.write_all(&filler.as_bytes()[..LINE_BYTES - head.len() - 3])?;
        file.write_all(b"\"}\n")?;
    }
    Ok(file.flush()?)
}

fn is_same(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("cannot read {}", path.display()));
    let (left, right) = (open(left)?, open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    const PIECE_BYTES: u64 = 1 << 20;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        (&left).take(PIECE_BYTES).read_to_end(&mut ours)?;
        (&right).take(PIECE_BYTES).read_to_end(&mut theirs)?;
        if ours != theirs || ours.is_empty() {
            return Ok(ours == theirs);
        }
    }
}

fn blobs_below(directory: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += blobs_below(&entry.path())?;
        } else if entry.file_name() == LEAF {
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_compared_byte_for_byte_after_growth_too() {
        let root = crate::cargo::root().join(format!("target/bench-test-{}", std::process::id()));
        let shape = Shape { blobs: 130, kibibytes: 2 };
        let mut archive = Archive::write(root.join("archive"), shape).unwrap();
        let copy = Archive::write(root.join("copy"), shape).unwrap();
        archive.compare(&copy.directory).unwrap();

        let grown = archive.grow(3).unwrap();
        assert_eq!(grown.iter().map(|it| it.from).collect::<Vec<_>>(), [2048, 2048]);
        let difference = archive.compare(&copy.directory).unwrap_err().to_string();
        assert!(difference.contains(&format!("differs from blob {}", grown[0].name)), "{difference}");
        for it in &grown {
            fs::copy(archive.directory.join(&it.name), copy.directory.join(&it.name)).unwrap();
        }
        archive.compare(&copy.directory).unwrap();

        fs::write(copy.directory.join("PT1H.json"), "").unwrap();
        assert!(archive.compare(&copy.directory).unwrap_err().to_string().contains("131 blobs, not 130"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn every_blob_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = (0..20_000).map(name).collect();
        assert_eq!(names.len(), 20_000);
        assert!(name(20 * 24 * 28).contains("/y=2020/m=02/d=01/h=00/m=00/PT1H.json"), "{}", name(20 * 24 * 28));
    }

    #[test]
    fn a_shape_is_read_and_shown() {
        assert_eq!("20x65536".parse::<Shape>().unwrap().words(), "20 of 64 MiB");
        assert_eq!("2000x256".parse::<Shape>().unwrap().words(), "2000 of 256 KiB");
        assert!("0x4".parse::<Shape>().is_err() && "4".parse::<Shape>().is_err());
    }
}
