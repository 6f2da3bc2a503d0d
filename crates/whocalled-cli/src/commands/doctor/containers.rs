//! What is in the archive: its containers, how fresh they are, and whether their records decode.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::TryStreamExt;
use whocalled_convert::{BlobPart, Converter};
use whocalled_fetch::{Archive, Error, ListedBlob};
use whocalled_pipeline::HourRange;
use whocalled_types::{BlobName, Framing, Limits};

use super::Area::Archive as AREA;
use super::account::age;
use super::{Line, counted, reason};
use crate::context::{now, show, show_bytes};

/// How much of the newest blob is read to see whether its records decode.
const PROBE_BYTES: u64 = 256 << 10;
/// After how long without a new blob a container is worth a warning. Azure delivers within minutes, and
/// promises nothing firm.
const STALE: TimeDelta = TimeDelta::hours(3);
/// How many pages of a listing are looked at, at the most, for the newest blob and for all others.
const NEWEST_PAGES_MAX: usize = 200;
const SURVEY_PAGES_MAX: usize = 2;
/// How far back the newest blob is looked for, before everything is listed.
const SPANS: [TimeDelta; 3] = [TimeDelta::hours(6), TimeDelta::days(3), TimeDelta::days(62)];

/// What to do about what only its message explains.
const SEE: &str = "see docs/how-to/troubleshooting.md, section 3";

/// Containers that answers are missing without: which, how they come about, and what suffers.
const WANTED: [(&str, &str, &str); 3] = [
    (
        "insights-logs-requestresponse",
        "no calls: every report about them is empty (attribution, unattributed)",
        "turn on RequestResponse in the diagnostic settings of the Azure OpenAI accounts, archived to this account",
    ),
    (
        "insights-activity-logs",
        "nobody is seen obtaining keys: key-access and shadow-admin are empty, and no call has a key_holder",
        "add a diagnostic setting to the subscription's Activity Log (category Administrative), archived to this account",
    ),
    (
        "insights-logs-audit",
        "key listings are known from the Activity Log only: key-access is less sure",
        "turn on Audit in the diagnostic settings of the Azure OpenAI accounts, archived to this account",
    ),
];

/// All checks of what the archive holds. `probes` is whether to find out if the caller could write.
pub(super) async fn check(archive: &Archive, location: &str, probes: bool) -> Vec<Line> {
    let present = match archive.containers().await {
        Ok(present) => present,
        Err(error) => {
            return vec![Line::fail(AREA, "containers", reason(error), SEE)];
        }
    };
    let mut lines = vec![containers(&present)];
    let named = location.split('?').next().unwrap_or_default().trim_end_matches('/');
    let is_whole = !present.iter().any(|container| named.ends_with(container.as_str()));
    if is_whole && !present.is_empty() {
        lines.extend(missing(&present));
    }
    if let (true, Some(container)) = (probes, present.first()) {
        lines.extend(writing(archive, container).await);
    }
    for container in &present {
        lines.extend(container_lines(archive, container, now()).await);
    }
    lines
}

fn containers(present: &[String]) -> Line {
    if present.is_empty() {
        let next =
            "check the location; diagnostic settings make a container with the first record, which can take a day";
        return Line::fail(AREA, "containers", "none that diagnostic settings write to", next);
    }
    let count = counted(present.len() as u64, "container");
    Line { details: present.to_vec(), ..Line::pass(AREA, "containers", format!("{count} of diagnostic settings")) }
}

fn missing(present: &[String]) -> Vec<Line> {
    let absent = WANTED.iter().filter(|(wanted, ..)| !present.iter().any(|it| it == wanted));
    absent
        .map(|(wanted, found, next)| Line::warn(AREA, category(wanted), format!("no {wanted}: {found}"), *next))
        .collect()
}

/// Whether the caller could write to the archive, which it need not.
async fn writing(archive: &Archive, container: &str) -> Option<Line> {
    let check = "write access";
    let name = format!("whocalled-doctor/{}", uuid::Uuid::new_v4());
    Some(match archive.may_write(container, &name).await {
        Ok(None) => return None,
        Ok(Some(false)) => Line::pass(AREA, check, "denied, as it should be: the archive is only read"),
        Ok(Some(true)) => Line::warn(
            AREA,
            check,
            "allowed: whoever holds this credential could change the logs",
            "give it the role Storage Blob Data Reader and no other",
        ),
        Err(error) => Line::warn(AREA, check, format!("not known: {}", reason(error)), "check the role by hand"),
    })
}

/// How fresh a container is, whether its newest blob decodes, and whether its blobs can be read.
async fn container_lines(archive: &Archive, container: &str, now: DateTime<Utc>) -> Vec<Line> {
    let check = category(container);
    let unreadable = |error| vec![Line::fail(AREA, category(container), reason(error), SEE)];
    let newest = match newest(archive, container, now).await {
        Ok(newest) => newest,
        Err(error) => return unreadable(error),
    };
    let survey = match archive.survey(container, SURVEY_PAGES_MAX).await {
        Ok(survey) => survey,
        Err(error) => return unreadable(error),
    };
    let blobs = counted(survey.blob_count, "blob");
    let more = if survey.whole { "" } else { " and more" };
    let size = format!("{blobs}, {}{more}", show_bytes(survey.bytes));
    let mut lines = vec![match newest.blob {
        None => Line::warn(AREA, &check, size, "wait for the first record; it can take a day"),
        Some(blob) => {
            let mut line = freshness(&blob, &size, newest.bounded, now);
            let sampled = sample(archive, &blob).await;
            line.found.push_str(&format!("; {}", sampled.found));
            line.verdict = line.verdict.max(sampled.verdict);
            line.next = sampled.next.or(line.next);
            line
        }
    }];
    if survey.offline_count > 0 {
        let found = format!("{} of the first {blobs} are in the archive access tier", survey.offline_count);
        let next = "rehydrate them to the hot or cool tier, or leave their hours out with --from";
        lines.push(Line::warn(AREA, &check, found, next));
    }
    lines
}

/// The newest blob of a container, as far as was looked.
struct Newest {
    blob: Option<ListedBlob>,
    /// Whether not everything that could be newer was looked at.
    bounded: bool,
}

/// Finds the newest blob by the hour in its name, without listing years of older ones.
async fn newest(archive: &Archive, container: &str, now: DateTime<Utc>) -> Result<Newest, Error> {
    for span in SPANS {
        let hours = HourRange { from: now - span, to: now + TimeDelta::hours(1) }.span();
        let found = newest_of(archive.list_hours(container, hours), |blob| blob.name.hour().is_some()).await?;
        if found.blob.is_some() || found.bounded {
            return Ok(found);
        }
    }
    newest_of(archive.list(container, ""), |_| true).await
}

async fn newest_of(
    mut pages: futures::stream::BoxStream<'_, Result<Vec<ListedBlob>, Error>>,
    counts: impl Fn(&ListedBlob) -> bool,
) -> Result<Newest, Error> {
    let mut newest: Option<ListedBlob> = None;
    for _ in 0..NEWEST_PAGES_MAX {
        let Some(page) = pages.try_next().await? else { return Ok(Newest { blob: newest, bounded: false }) };
        let page = page.into_iter().filter(&counts);
        newest = newest.into_iter().chain(page).max_by_key(|blob| (blob.name.hour(), blob.modified_at));
    }
    Ok(Newest { blob: newest, bounded: true })
}

/// Whether the newest blob is as new as it should be.
fn freshness(blob: &ListedBlob, size: &str, bounded: bool, now: DateTime<Utc>) -> Line {
    let check = blob.name.category();
    let ended_at = hour_end(&blob.name).or(blob.modified_at);
    let old = ended_at.map_or_else(TimeDelta::zero, |at| (now - at).max(TimeDelta::zero()));
    let hour = hour_end(&blob.name).map_or_else(String::new, |end| format!(" of {}", show(end - TimeDelta::hours(1))));
    let since = if old.is_zero() { "still open".to_owned() } else { format!("{} old", age(old)) };
    let looked = if bounded { " of those looked at" } else { "" };
    let found = format!("{size}; newest{looked}{hour}, {since}");
    if old > STALE {
        let next = "still turned on in the diagnostic settings, or nothing to log? Azure delivers within minutes, rarely hours";
        Line::warn(AREA, check, found, next)
    } else {
        Line::pass(AREA, check, found)
    }
}

/// Reads the beginning of a blob, and decodes it as a run would.
async fn sample(archive: &Archive, blob: &ListedBlob) -> Line {
    let check = blob.name.category();
    let bytes = match archive.read(&blob.name, 0..blob.bytes.min(PROBE_BYTES)).await {
        Ok(bytes) => bytes,
        Err(error) => return Line::fail(AREA, check, format!("cannot be read: {}", reason(error)), SEE),
    };
    let mut converter = Converter::new(Limits::STANDARD);
    let part =
        BlobPart { name: blob.name.clone(), generation: 0, from: 0, framing: Framing::Unknown, tail: Vec::new() };
    let mut reading = converter.begin(part);
    reading.feed(&bytes);
    let converted = reading.finish(bytes.len() as u64 == blob.bytes);
    let rows = match converter.finish() {
        Ok(rows) => rows,
        Err(error) => return Line::fail(AREA, check, reason(error), "a defect: please report it"),
    };
    if converted.record_count == 0 {
        let found = format!("no complete record in its first {}", show_bytes(bytes.len() as u64));
        return Line::warn(AREA, check, found, "nothing, if it is only being begun: run doctor again later");
    }
    let records = counted(converted.record_count, "record");
    if converted.reject_count > 0 {
        let found = format!("{} of its first {records} cannot be decoded", converted.reject_count);
        return Line::warn(AREA, check, found, "`convert` keeps them in the table rejects, with the reason of each");
    }
    let tables: Vec<&str> = rows.iter().map(|(table, _)| table.name()).collect();
    let framing = match converted.framing {
        Framing::Lines => "one a line",
        Framing::Values => "one after the other",
        Framing::Array | Framing::Unknown => "in an array",
    };
    Line::pass(AREA, check, format!("its first {records}, {framing}: {}", tables.join(", ")))
}

/// When the hour in a blob's name ends.
fn hour_end(name: &BlobName) -> Option<DateTime<Utc>> {
    let (year, month, day, hour) = name.hour()?;
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
    Some(date.and_hms_opt(hour.into(), 0, 0)?.and_utc() + TimeDelta::hours(1))
}

/// The category in a container's name.
fn category(container: &str) -> String {
    BlobName { container: container.to_owned(), name: String::new() }.category().to_owned()
}
