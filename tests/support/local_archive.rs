//! An archive in a local directory that grows and is written anew, and knows which rows a lake must
//! show of it at any position.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A generation and a length in bytes, for every blob.
pub type Positions = BTreeMap<String, (u32, u64)>;

const CATEGORIES: [&str; 3] = ["RequestResponse", "Audit", "Trace"];

/// The archive, and everything that its blobs ever held.
#[derive(Debug, Clone)]
pub struct LocalArchive {
    directory: PathBuf,
    /// The generations of every blob, the last one as it is now.
    blobs: BTreeMap<String, Vec<Vec<u8>>>,
    /// What is still to come of a line that was appended in part.
    torn: BTreeMap<String, Vec<u8>>,
    line_count: u32,
    growth_count: u32,
    /// How many hours take turns to grow.
    hour_count: u32,
}

impl LocalArchive {
    /// An empty archive, in which so many hours take turns to grow.
    ///
    /// # Panics
    /// If the directory cannot be made.
    pub fn new(directory: PathBuf, hour_count: u32) -> Self {
        fs::create_dir_all(&directory).expect("a directory");
        Self { directory, blobs: BTreeMap::new(), torn: BTreeMap::new(), line_count: 0, growth_count: 0, hour_count }
    }

    /// The archive as it is, of which there is a copy in another directory.
    pub fn at(&self, directory: PathBuf) -> Self {
        Self { directory, ..self.clone() }
    }

    /// Where it is, as a user would say.
    pub fn location(&self) -> &str {
        self.directory.to_str().expect("a path in UTF-8")
    }

    /// Appends to an hour a few records of each of three categories and on two dates, something that is no
    /// record, and the first half of a record, whose second half comes with the next growth.
    pub fn grow(&mut self) {
        self.growth_count += 1;
        for category in CATEGORIES {
            let blob = blob_name(category, self.growth_count % self.hour_count);
            let mut bytes = self.torn.remove(&blob).unwrap_or_default();
            bytes.extend_from_slice(self.line(category).as_bytes());
            bytes.extend_from_slice(self.line(category).as_bytes());
            if category == "Audit" {
                bytes.extend_from_slice(format!("no record {}\r\n", self.line_count).as_bytes());
            }
            let torn = self.line(category);
            // In the middle of a character of two bytes.
            let (begun, torn) = torn.as_bytes().split_at(torn.find('é').expect("such a character") + 1);
            bytes.extend_from_slice(begun);
            let torn = torn.to_vec();
            self.append(&blob, &bytes);
            self.torn.insert(blob, torn);
        }
    }

    /// Writes one blob anew, shorter than it was. The lake must have seen what it held.
    pub fn rewrite(&mut self) {
        let blob = blob_name("Trace", 1);
        if let Some(generations) = self.blobs.get(&blob) {
            let kept = generations.len() % 2;
            let bytes = (0..=kept).map(|_| self.line("Trace")).collect::<String>().into_bytes();
            fs::write(self.directory.join(&blob), &bytes).expect("a blob");
            self.torn.remove(&blob);
            self.blobs.entry(blob).or_default().push(bytes);
        }
    }

    /// Appends bytes to a blob.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn append(&mut self, blob: &str, bytes: &[u8]) {
        let path = self.directory.join(blob);
        fs::create_dir_all(path.parent().expect("an hour's folder")).expect("an hour's folder");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a blob");
        file.write_all(bytes).expect("an append");
        let generations = self.blobs.entry(blob.to_owned()).or_insert_with(|| vec![Vec::new()]);
        generations.last_mut().expect("a generation").extend_from_slice(bytes);
    }

    /// A line that no other is equal to.
    fn line(&mut self, category: &str) -> String {
        self.line_count += 1;
        let (id, day) = (self.line_count, 1 + self.line_count % 2);
        format!(
            "{{\"time\":\"2026-11-0{day}T13:00:00Z\",\"category\":\"{category}\",\"x\":\"é\",\"correlationId\":\"{id}\"}}\n"
        )
    }

    /// The rows up to these positions: blob, generation, offset, and what tells the record.
    ///
    /// # Panics
    /// If a position is beyond what a blob ever held.
    pub fn rows(&self, positions: &Positions) -> Vec<String> {
        let held = |blob: &str, generation: u32, length: u64| {
            &self.blobs[blob][generation as usize][..usize::try_from(length).expect("a small blob")]
        };
        let rows = positions
            .iter()
            .map(|(blob, (generation, length))| rows_of(blob, *generation, held(blob, *generation, *length)));
        let mut rows = rows.flatten().collect::<Vec<_>>();
        rows.sort();
        rows
    }

    /// The positions when every complete line of every blob is committed.
    pub fn end(&self) -> Positions {
        let end = |generations: &Vec<Vec<u8>>| {
            let held = generations.last().map_or(&[][..], Vec::as_slice);
            let length = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            (u32::try_from(generations.len() - 1).expect("few generations"), length as u64)
        };
        let ends = self.blobs.iter().map(|(blob, generations)| (blob.clone(), end(generations)));
        ends.filter(|(_, end)| *end != (0, 0)).collect()
    }

    /// Checks that every file of a mirror is a prefix of what its blob holds or held; of what it
    /// holds, and all of it, where the mirror is to be `complete`.
    ///
    /// # Panics
    /// If one is not.
    #[track_caller]
    pub fn assert_mirrored(&self, mirror: &Path, complete: bool, context: &str) {
        for (blob, generations) in &self.blobs {
            let copy = fs::read(mirror.join(blob)).unwrap_or_default();
            if complete {
                assert!(generations.last() == Some(&copy), "{context}: {blob} has {} bytes in the mirror", copy.len());
            } else {
                let is_prefix = generations.iter().any(|held| held.starts_with(&copy));
                assert!(is_prefix, "{context}: {blob} is {:?} in the mirror", String::from_utf8_lossy(&copy));
            }
        }
    }
}

/// The rows of a blob's lines, as [`Contents`](crate::contents::Contents) has them.
pub fn rows_of(blob: &str, generation: u32, lines: &[u8]) -> Vec<String> {
    let mut at = 0;
    let lines = lines.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let row = format!("{blob} {generation} {at} {}", record_id(line.trim_ascii_end()));
        at += line.len();
        row
    });
    lines.collect()
}

/// What tells a record: the id that it gives itself, or all of it where it is none.
pub fn record_id(record: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(record) {
        Ok(record) if record.is_object() => record["correlationId"].as_str().unwrap_or_default().to_owned(),
        _ => format!("reject {}", String::from_utf8_lossy(record)),
    }
}

/// The blob of an hour of a category.
pub fn blob_name(category: &str, hour: u32) -> String {
    let container = format!("insights-logs-{}", category.to_ascii_lowercase());
    let resource = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A";
    format!("{container}/{resource}/y=2026/m=11/d=01/h={hour:02}/m=00/PT1H.json")
}
