//! Plan: which bytes of which blobs are new.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_lake::BlobState;
use whocalled_types::{ErrorKind, Framing, Limits, Position};

use crate::Error;

/// Which part of an archive a run is about.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The containers; all that diagnostic settings write to where it is empty.
    pub containers: Vec<String>,
    /// The hours in the blobs' names; all of them if `None`.
    pub hours: Option<HourRange>,
}

/// A half-open range of hours, held against the hour in a blob's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRange {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
}

/// What a listing shows that an append-only archive should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The blob.
    pub blob: String,
    /// What was found.
    pub kind: FindingKind,
    /// In words, with the figures.
    pub detail: String,
}

/// The kinds of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The blob is shorter than what is committed of it: truncated, or created anew.
    Shrunk,
    /// The committed bytes are not there any more: the blob was written anew.
    Rewritten,
    /// The blob is larger than the limit, and is not read.
    OverLimit,
    /// The blob was listed, and could not be read as it was listed: deleted, or cut.
    Gone,
    /// The blob has been quiet for long, and does not end in a complete record.
    Torn,
}

/// A part of a blob to be read.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) blob: ListedBlob,
    pub(crate) generation: u32,
    /// The position: what is before it is committed.
    pub(crate) from: u64,
    pub(crate) framing: Framing,
    /// How many bytes before `from` are read again, to see that they are still the ones that were
    /// committed, and their hash.
    pub(crate) tail: Option<(u64, String)>,
    /// Whether a last record without a line break is taken.
    pub(crate) sealed: bool,
    /// Whether it begins a generation, so that the rows of the one before must go.
    pub(crate) replaces: bool,
    /// Whether the blob has another time of creation than was committed, which is to be committed
    /// even if its bytes are the same.
    pub(crate) recreated: bool,
    /// Where this part ends; the blob's length unless it is read in parts.
    pub(crate) upto: u64,
    /// The position when the run was planned.
    pub(crate) planned_from: u64,
    /// How many times the usual length a part has, for records longer than a batch.
    pub(crate) part_factor: u64,
}

impl Read {
    /// How many new bytes it is about.
    pub(crate) fn new_bytes(&self) -> u64 {
        self.blob.bytes - self.from
    }

    /// How many of them this part is about.
    pub(crate) fn part_bytes(&self) -> u64 {
        self.upto - self.from
    }

    /// The whole of a blob whose committed bytes are not there any more.
    pub(crate) fn anew(self) -> Self {
        Self { generation: self.generation + 1, from: 0, framing: Framing::Unknown, tail: None, replaces: true, ..self }
    }

    /// Makes this the read of what follows `position`.
    pub(crate) fn go_on(&mut self, position: Position) {
        self.from = position.bytes;
        self.framing = position.framing;
        self.tail = (position.tail_bytes > 0).then_some((position.tail_bytes, position.tail_hash));
        self.replaces = false;
        self.recreated = false;
        self.upto = self.blob.bytes;
        self.part_factor = 1;
    }
}

/// What a run would do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many blobs were listed.
    pub blob_count: u64,
    /// How many bytes they hold.
    pub listed_bytes: u64,
    /// How many of these are committed already.
    pub committed_bytes: u64,
    /// How many are in blobs over the limit.
    pub over_limit_bytes: u64,
    /// How many are not new since the last run, and are left again: torn ends.
    pub torn_bytes: u64,
    /// What the listing shows that it should not.
    pub findings: Vec<Finding>,
    pub(crate) reads: VecDeque<Read>,
}

impl Plan {
    /// How many blobs would be read.
    pub fn read_count(&self) -> usize {
        self.reads.len()
    }

    /// How many new bytes would be read.
    pub fn read_bytes(&self) -> u64 {
        self.reads.iter().map(Read::new_bytes).sum()
    }

    /// Lists the archive and compares it with the positions in the lake.
    pub(crate) async fn make(
        archive: &Archive,
        states: &BTreeMap<String, BlobState>,
        selection: &Selection,
        seal_after: TimeDelta,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let mut plan = Self::default();
        for container in containers(archive, selection).await? {
            let mut pages = archive.list(&container, "");
            loop {
                match pages.try_next().await {
                    Ok(Some(page)) => {
                        for blob in page.into_iter().filter(|blob| selection.holds(blob)) {
                            plan.add(blob, states, seal_after, limits, now);
                        }
                    }
                    Ok(None) => break,
                    // The container was there a moment ago: what is gone holds nothing to commit.
                    Err(error) if error.kind() == ErrorKind::Skip => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        blob: ListedBlob,
        states: &BTreeMap<String, BlobState>,
        seal_after: TimeDelta,
        limits: &Limits,
        now: DateTime<Utc>,
    ) {
        self.blob_count += 1;
        self.listed_bytes += blob.bytes;
        let name = blob.name.to_string();
        if blob.bytes > limits.blob_bytes_max {
            self.over_limit_bytes += blob.bytes;
            let detail = format!("{} bytes, over the limit of {}: not read", blob.bytes, limits.blob_bytes_max);
            self.findings.push(Finding { blob: name, kind: FindingKind::OverLimit, detail });
            return;
        }
        let sealed = blob.modified_at.is_some_and(|modified_at| now - modified_at >= seal_after);
        let upto = blob.bytes;
        let mut read = Read {
            blob,
            generation: 0,
            from: 0,
            framing: Framing::Unknown,
            tail: None,
            sealed,
            replaces: false,
            recreated: false,
            upto,
            planned_from: 0,
            part_factor: 1,
        };
        let Some(state) = states.get(&name) else {
            if upto > 0 {
                self.reads.push_back(read);
            }
            return;
        };
        let position = &state.position;
        read.generation = position.generation;
        if upto < position.bytes {
            let detail = format!("{upto} bytes, of which {} were committed", position.bytes);
            self.findings.push(Finding { blob: name, kind: FindingKind::Shrunk, detail });
            self.reads.push_back(read.anew());
            return;
        }
        self.committed_bytes += position.bytes;
        // A touch changes the time of modification and nothing else: it is no reason to read.
        let created = (read.blob.created_at, state.created_at);
        let recreated = matches!(created, (Some(now), Some(before)) if now != before);
        let torn_bytes = upto - position.bytes;
        if upto == state.listed_bytes && !recreated && (torn_bytes == 0 || !sealed) {
            self.torn_bytes += torn_bytes;
            return;
        }
        read.planned_from = position.bytes;
        read.go_on(position.clone());
        read.recreated = recreated;
        self.reads.push_back(read);
    }
}

impl Selection {
    pub(crate) fn holds(&self, blob: &ListedBlob) -> bool {
        let Some(range) = self.hours else { return true };
        // A name without an hour cannot be held against a range, and is not left out.
        let Some((year, month, day, hour)) = blob.name.hour() else { return true };
        let date = chrono::NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day));
        let begin = date.and_then(|it| it.and_hms_opt(u32::from(hour), 0, 0)).map(|it| it.and_utc());
        begin.is_none_or(|begin| begin + TimeDelta::hours(1) > range.from && begin < range.to)
    }
}

/// The containers to list, all of which the archive has.
pub(crate) async fn containers(archive: &Archive, selection: &Selection) -> Result<Vec<String>, Error> {
    let present = archive.containers().await?;
    if present.is_empty() {
        return Err(Error::Empty { archive: archive.display().to_owned() });
    }
    if selection.containers.is_empty() {
        return Ok(present);
    }
    for container in &selection.containers {
        if !present.contains(container) {
            return Err(Error::NoContainer {
                archive: archive.display().to_owned(),
                container: container.clone(),
                present,
            });
        }
    }
    // In the archive's order, and each once however often it was named.
    Ok(present.into_iter().filter(|container| selection.containers.contains(container)).collect())
}
