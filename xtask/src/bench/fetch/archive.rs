//! An archive to fetch: blobs of one size, named as Azure names them, and kept as files.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

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
    /// Writes an archive of that shape into an empty directory; its newest hour is that of `now`.
    pub(super) fn write(directory: PathBuf, shape: Shape, now: Hour) -> Result<Self> {
        let mut archive = Self { directory, blobs: Vec::new() };
        for number in 0..shape.blobs {
            let name = now.before(number / RESOURCES).name(number % RESOURCES);
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

    /// Appends a line to one blob in a hundred: those of the newest hours, as in a real archive.
    pub(super) fn grow(&mut self) -> Result<Vec<Grown>> {
        let count = self.blobs.len().div_ceil(100);
        let mut grown = Vec::new();
        for (number, blob) in (0..).zip(&mut self.blobs[..count]) {
            let path = self.directory.join(&blob.name);
            let mut file = OpenOptions::new().append(true).open(&path)?;
            let line = u32::try_from(blob.bytes / LINE_BYTES as u64)?;
            append(&mut file, number, line, 1).with_context(|| format!("cannot append to {}", path.display()))?;
            grown.push(Grown { name: blob.name.clone(), from: blob.bytes });
            blob.bytes += LINE_BYTES as u64;
        }
        Ok(grown)
    }

    /// Takes back all growth.
    pub(super) fn shrink(&mut self, shape: Shape) -> Result<()> {
        let bytes = u64::from(shape.kibibytes) * LINE_BYTES as u64;
        for blob in self.blobs.iter_mut().filter(|it| it.bytes > bytes) {
            let path = self.directory.join(&blob.name);
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(bytes).with_context(|| format!("cannot shorten {}", path.display()))?;
            blob.bytes = bytes;
        }
        Ok(())
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

/// An hour, counted from the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hour(u64);

impl Hour {
    #[expect(clippy::disallowed_methods, reason = "whocalled looks for growth in the newest hours by its own clock")]
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(since.map_or(0, |it| it.as_secs() / 3600))
    }

    fn before(self, hours: u32) -> Self {
        Self(self.0.saturating_sub(hours.into()))
    }

    /// The name of that hour's blob for one of the resources.
    fn name(self, resource: u32) -> String {
        let (year, month, day) = date(self.0 / 24);
        let hour = self.0 % 24;
        format!(
            "resourceId=/SUBSCRIPTIONS/00000000-0000-4000-8000-000000000000/RESOURCEGROUPS/BENCH/PROVIDERS\
             /MICROSOFT.COGNITIVESERVICES/ACCOUNTS/ACCOUNT-{resource:02}\
             /y={year}/m={month:02}/d={day:02}/h={hour:02}/m=00/{LEAF}"
        )
    }
}

/// Year, month and day of a day since the beginning of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, each leap day ends its year, and 400 years repeat.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, in_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + in_next_year, month, day_of_month)
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
        let now = Hour(495_720);
        let mut archive = Archive::write(root.join("archive"), shape, now).unwrap();
        let copy = Archive::write(root.join("copy"), shape, now).unwrap();
        archive.compare(&copy.directory).unwrap();

        let grown = archive.grow().unwrap();
        assert_eq!(grown.iter().map(|it| it.from).collect::<Vec<_>>(), [2048, 2048]);
        let difference = archive.compare(&copy.directory).unwrap_err().to_string();
        assert!(difference.contains(&format!("differs from blob {}", grown[0].name)), "{difference}");
        for it in &grown {
            fs::copy(archive.directory.join(&it.name), copy.directory.join(&it.name)).unwrap();
        }
        archive.compare(&copy.directory).unwrap();
        archive.shrink(shape).unwrap();
        assert_eq!(archive.bytes(), 130 * 2048);
        assert!(archive.compare(&copy.directory).is_err(), "the copy has got longer");
        archive.grow().unwrap();

        fs::write(copy.directory.join("PT1H.json"), "").unwrap();
        assert!(archive.compare(&copy.directory).unwrap_err().to_string().contains("131 blobs, not 130"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn hours_go_back_over_the_ends_of_days_months_and_years() {
        let name = |hour: Hour| hour.name(7).split_once("/ACCOUNT-07/").unwrap().1.to_owned();
        assert_eq!(name(Hour(0)), "y=1970/m=01/d=01/h=00/m=00/PT1H.json");
        let hour = Hour(24 * 19_783);
        assert_eq!(name(hour), "y=2024/m=03/d=01/h=00/m=00/PT1H.json");
        assert_eq!(name(hour.before(1)), "y=2024/m=02/d=29/h=23/m=00/PT1H.json");
        assert_eq!(name(hour.before(60 * 24 + 1)), "y=2023/m=12/d=31/h=23/m=00/PT1H.json");
    }

    #[test]
    fn a_shape_is_read_and_shown() {
        assert_eq!("20x65536".parse::<Shape>().unwrap().words(), "20 of 64 MiB");
        assert_eq!("2000x256".parse::<Shape>().unwrap().words(), "2000 of 256 KiB");
        assert!("0x4".parse::<Shape>().is_err() && "4".parse::<Shape>().is_err());
    }
}
