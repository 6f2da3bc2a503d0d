//! Plan: which bytes of which blobs are new.

use std::collections::btree_map::Range;
use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_lake::BlobState;
use whocalled_types::{BlobFinding, BlobName, ErrorKind, Framing, Limits, Position};

use crate::Error;
use crate::scope::HourRange;

/// Which part of an archive a run is about.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The containers; all that diagnostic settings write to where it is empty.
    pub containers: Vec<String>,
    /// The hours in the blobs' names; all of them if `None`.
    pub hours: Option<HourRange>,
    /// How much of the archive is listed.
    pub listing: Listing,
}

/// How much of an archive a run lists, where its hours were not chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listing {
    /// Everything while that takes few requests, and once a week; otherwise what can have changed.
    #[default]
    Auto,
    /// Everything.
    All,
    /// The hours that can have changed since the last run.
    Recent,
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
    /// The blob grew after it had been quiet for so long that it was sealed.
    Reopened,
    /// The blob grew so, and its last record, which had no line break, goes on: it was taken back.
    TakenBack,
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
    /// Whether the blob has another time of creation than was committed, or had been gone, which is to
    /// be committed even if its bytes are the same.
    pub(crate) recreated: bool,
    /// What the ledger is to say of the range.
    pub(crate) finding: Option<BlobFinding>,
    /// Where this part ends; the blob's length unless it is read in parts.
    pub(crate) upto: u64,
    /// The position when the run was planned.
    pub(crate) planned_from: u64,
    /// How many times the usual length a part has, for records longer than a batch.
    pub(crate) part_factor: u64,
}

impl Read {
    /// The whole of a blob that is not in the lake.
    fn new(blob: ListedBlob, sealed: bool) -> Self {
        Self {
            upto: blob.bytes,
            blob,
            generation: 0,
            from: 0,
            framing: Framing::Unknown,
            tail: None,
            sealed,
            replaces: false,
            recreated: false,
            finding: None,
            planned_from: 0,
            part_factor: 1,
        }
    }

    /// How many bytes before the new ones are read again.
    pub(crate) fn tail_bytes(&self) -> u64 {
        self.tail.as_ref().map_or(0, |(bytes, _)| *bytes)
    }

    /// How many new bytes it is about.
    pub(crate) fn new_bytes(&self) -> u64 {
        self.blob.bytes - self.from
    }

    /// How many of them this part is about.
    pub(crate) fn part_bytes(&self) -> u64 {
        self.upto - self.from
    }

    /// How many bytes it takes to read it: the new ones and the tail before them.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.part_bytes() + self.tail_bytes()
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
        self.finding = None;
        self.upto = self.blob.bytes;
        self.part_factor = 1;
    }
}

/// What a run would do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many requests the listing took.
    pub request_count: u64,
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
    /// Committed blobs that the archive has no more.
    pub(crate) gone: Vec<(String, BlobState)>,
    pub(crate) reads: VecDeque<Read>,
}

impl Plan {
    /// How many committed blobs are not in the archive any more, of which that is not known yet.
    pub fn gone_count(&self) -> usize {
        self.gone.len()
    }

    /// How many blobs would be read.
    pub fn read_count(&self) -> usize {
        self.reads.len()
    }

    /// How many new bytes would be read.
    pub fn read_bytes(&self) -> u64 {
        self.reads.iter().map(Read::new_bytes).sum()
    }

    /// How many requests would read them.
    pub fn read_request_count(&self, limits: &Limits) -> u64 {
        let segment_bytes_max = limits.segment_bytes_max as u64;
        self.reads.iter().map(|read| (read.new_bytes() + read.tail_bytes()).div_ceil(segment_bytes_max).max(1)).sum()
    }
}

/// Compares listings with the positions in the lake.
pub(crate) struct Planner<'a> {
    pub(crate) states: &'a BTreeMap<String, BlobState>,
    pub(crate) seal_after: TimeDelta,
    pub(crate) limits: &'a Limits,
    pub(crate) now: DateTime<Utc>,
    /// The hours to list; `None` for all.
    pub(crate) hours: Option<HourRange>,
    pub(crate) plan: Plan,
}

impl Planner<'_> {
    /// Lists the archive, all containers at a time.
    pub(crate) async fn list(mut self, archive: &Archive, selection: &Selection) -> Result<Plan, Error> {
        let requests_before = archive.traffic().request_count;
        let containers = containers(archive, selection).await?;
        let mut missing: Vec<Option<Missing<'_>>> =
            containers.iter().map(|it| (!archive.is_directory()).then(|| Missing::of(self.states, it))).collect();
        let listings = containers.iter().enumerate().map(|(index, container)| {
            // After a container's last page comes a `None`.
            let pages = blobs(archive, container, self.hours).map_ok(Some).chain(stream::iter([Ok(None)]));
            pages.map(move |page| (index, page)).boxed()
        });
        let mut pages = stream::select_all(listings.collect::<Vec<_>>());
        while let Some((index, page)) = pages.next().await {
            match page {
                Ok(Some(page)) => {
                    for blob in page {
                        if let Some(missing) = &mut missing[index] {
                            missing.listed(&blob.name.to_string());
                        }
                        self.add(blob);
                    }
                }
                Ok(None) => self.plan.gone.extend(missing[index].take().into_iter().flat_map(|it| it.rest(self.hours))),
                // The container was there a moment ago: what is gone holds nothing to commit.
                Err(error) if error.kind() == ErrorKind::Skip => missing[index] = None,
                Err(error) => return Err(error),
            }
        }
        self.plan.request_count = archive.traffic().request_count - requests_before;
        self.plan.reads.make_contiguous().sort_by(|left, right| left.blob.name.cmp(&right.blob.name));
        Ok(self.plan)
    }

    fn add(&mut self, blob: ListedBlob) {
        let plan = &mut self.plan;
        plan.blob_count += 1;
        plan.listed_bytes += blob.bytes;
        let name = blob.name.to_string();
        if blob.bytes > self.limits.blob_bytes_max {
            plan.over_limit_bytes += blob.bytes;
            let detail = format!("{} bytes, over the limit of {}: not read", blob.bytes, self.limits.blob_bytes_max);
            plan.findings.push(Finding { blob: name, kind: FindingKind::OverLimit, detail });
            return;
        }
        let sealed = blob.modified_at.is_some_and(|modified_at| self.now - modified_at >= self.seal_after);
        let upto = blob.bytes;
        let mut read = Read::new(blob, sealed);
        let Some(state) = self.states.get(&name) else {
            if upto > 0 {
                plan.reads.push_back(read);
            }
            return;
        };
        let position = &state.position;
        read.generation = position.generation;
        if upto < position.bytes {
            let detail = format!("{upto} bytes, of which {} were committed", position.bytes);
            plan.findings.push(Finding { blob: name, kind: FindingKind::Shrunk, detail });
            plan.reads.push_back(Read { finding: Some(BlobFinding::Shrunk), ..read.anew() });
            return;
        }
        plan.committed_bytes += position.bytes;
        // A touch changes the time of modification and nothing else: it is no reason to read.
        let created = (read.blob.created_at, state.created_at);
        let recreated = state.gone || matches!(created, (Some(now), Some(before)) if now != before);
        let torn_bytes = upto - position.bytes;
        if upto == state.listed_bytes && !recreated && (torn_bytes == 0 || !sealed || state.torn) {
            plan.torn_bytes += torn_bytes;
            return;
        }
        let quiet = quiet_before(&read.blob, state, self.seal_after);
        read.go_on(position.clone());
        read.planned_from = position.bytes;
        read.recreated = recreated;
        if recreated {
            read.finding = Some(BlobFinding::Recreated);
        } else if let Some(quiet) = quiet {
            let detail =
                format!("grew by {torn_bytes} bytes after {} h without growth: it was sealed", quiet.num_hours());
            plan.findings.push(Finding { blob: name, kind: FindingKind::Reopened, detail });
            read.finding = Some(BlobFinding::Reopened);
        }
        plan.reads.push_back(read);
    }
}

/// How long a blob that grew had been quiet, where that was long enough to seal it.
fn quiet_before(blob: &ListedBlob, state: &BlobState, seal_after: TimeDelta) -> Option<TimeDelta> {
    let quiet = blob.modified_at? - state.modified_at?;
    (blob.bytes > state.listed_bytes && quiet >= seal_after).then_some(quiet)
}

/// The committed blobs of a container that a listing, which is in the order of names, has not shown.
struct Missing<'a> {
    states: Peekable<Range<'a, String, BlobState>>,
    missing: Vec<(&'a String, &'a BlobState)>,
    last: String,
    /// Whether the listing was in order. If not, nothing can be taken for gone.
    in_order: bool,
}

impl<'a> Missing<'a> {
    fn of(states: &'a BTreeMap<String, BlobState>, container: &str) -> Self {
        // `0` is the character after the slash.
        let range = states.range(format!("{container}/")..format!("{container}0"));
        Self { states: range.peekable(), missing: Vec::new(), last: String::new(), in_order: true }
    }

    fn listed(&mut self, name: &str) {
        self.in_order &= name >= self.last.as_str();
        name.clone_into(&mut self.last);
        while let Some(missing) = self.states.next_if(|(blob, _)| blob.as_str() < name) {
            self.missing.push(missing);
        }
        self.states.next_if(|(blob, _)| *blob == name);
    }

    fn rest(self, hours: Option<HourRange>) -> Vec<(String, BlobState)> {
        if !self.in_order {
            return Vec::new();
        }
        let span = hours.map(|it| it.span());
        let in_question = |blob: &str| {
            let hour = BlobName::from_column(blob).and_then(|it| it.hour());
            span.is_none_or(|span| hour.is_some_and(|hour| span.contains(hour)))
        };
        let all = self.missing.into_iter().chain(self.states);
        let gone = all.filter(|(blob, state)| !state.gone && in_question(blob));
        gone.map(|(blob, state)| (blob.clone(), state.clone())).collect()
    }
}

/// The pages of a container's blobs, of all hours or of some. A name without an hour cannot be held
/// against a range, and is not left out.
pub(crate) fn blobs<'a>(
    archive: &'a Archive,
    container: &str,
    hours: Option<HourRange>,
) -> BoxStream<'a, Result<Vec<ListedBlob>, Error>> {
    let pages = match hours {
        Some(hours) => archive.list_hours(container, hours.span()),
        None => archive.list(container, ""),
    };
    pages.err_into().boxed()
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
