//! Which hours of the archive a run lists: all of them now and then, otherwise those that can have
//! changed.
//!
//! A page of a listing holds 5,000 blobs, so that most archives are listed whole in a few requests,
//! and are. An archive of years is not: a run lists the hours from two days before the last run that
//! left nothing undone, which leaps over the rest. Azure may append to a blob later than that, but
//! hardly ever does; once a week the whole archive is listed, and what came so late is found then.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};
use whocalled_fetch::Archive;
use whocalled_types::{Hour, HourSpan};

use crate::plan::{Listing, Selection};

/// How late after its hour a blob's growth is seen at once; what is later waits for the next listing
/// of the whole archive.
const LATE_MAX: TimeDelta = TimeDelta::hours(48);
/// How often the whole archive is listed.
const WHOLE_EVERY: TimeDelta = TimeDelta::days(7);
/// How many requests the listing of the whole archive may take to be made by every run.
const WHOLE_REQUEST_COUNT_MAX: u64 = 30;
/// How far the archive's clock may be ahead of ours.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::hours(1);

/// A half-open range of hours, held against the hour in a blob's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HourRange {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
}

impl HourRange {
    /// The hour folders that the range touches.
    pub fn span(&self) -> HourSpan {
        let hour = |it: DateTime<Utc>| -> Hour {
            let of = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
            (u16::try_from(it.year()).unwrap_or(0), of(it.month()), of(it.day()), of(it.hour()))
        };
        HourSpan { from: hour(self.from), until: hour(self.to + TimeDelta::hours(1) - TimeDelta::nanoseconds(1)) }
    }
}

/// What earlier runs have seen of an archive. Receipts carry it from run to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When the last run began that left nothing undone which another run could do.
    pub settled_at: Option<DateTime<Utc>>,
    /// When the last such run began that listed the whole archive.
    pub listed_whole_at: Option<DateTime<Utc>>,
    /// How many requests that took.
    #[serde(default)]
    pub listed_whole_request_count: u64,
}

impl Seen {
    /// The hours that a run is to list; `None` for all of them.
    pub(crate) fn hours(&self, archive: &Archive, selection: &Selection, now: DateTime<Utc>) -> Option<HourRange> {
        if selection.hours.is_some() {
            return selection.hours;
        }
        // Into a directory old hours may be copied at any time, and listing it costs no request.
        if selection.listing == Listing::All || archive.is_directory() {
            return None;
        }
        let settled_at = self.settled_at?;
        let fresh = self.listed_whole_at.is_some_and(|at| now - at < WHOLE_EVERY);
        let saves = self.listed_whole_request_count > WHOLE_REQUEST_COUNT_MAX;
        (selection.listing == Listing::Recent || fresh && saves)
            .then(|| HourRange { from: settled_at - LATE_MAX, to: now + CLOCK_SKEW_MAX })
    }

    /// What is known after a run that began at `started_at` and left nothing undone. `whole` is how many
    /// requests it took to list all hours, if it did.
    #[must_use]
    pub(crate) fn after(&self, selection: &Selection, started_at: DateTime<Utc>, whole: Option<u64>) -> Self {
        let mut seen = self.clone();
        if selection.containers.is_empty() && selection.hours.is_none() {
            seen.settled_at = Some(started_at);
            if let Some(request_count) = whole {
                seen.listed_whole_at = Some(started_at);
                seen.listed_whole_request_count = request_count;
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_touches_the_hours_that_it_begins_and_ends_in() {
        let span = |from, to| HourRange { from: at(from), to: at(to) }.span();
        let exact = span("2026-11-01T13:00:00Z", "2026-11-02T00:00:00Z");
        assert_eq!((exact.from, exact.until), ((2026, 11, 1, 13), (2026, 11, 2, 0)));
        let inexact = span("2026-11-01T13:59:59Z", "2026-11-01T23:00:01Z");
        assert_eq!((inexact.from, inexact.until), ((2026, 11, 1, 13), (2026, 11, 2, 0)));
    }

    #[test]
    fn only_a_run_over_everything_moves_on() {
        let (first, second) = (at("2026-11-01T00:00:00Z"), at("2026-11-02T00:00:00Z"));
        let all = Selection::default();
        let seen = Seen::default().after(&all, first, Some(40));
        assert_eq!(
            seen,
            Seen { settled_at: Some(first), listed_whole_at: Some(first), listed_whole_request_count: 40 }
        );
        let one = Selection { containers: vec!["insights-logs-audit".to_owned()], ..Selection::default() };
        assert_eq!(seen.after(&one, second, Some(1)), seen);
        let recent = seen.after(&all, second, None);
        assert_eq!((recent.settled_at, recent.listed_whole_at), (Some(second), Some(first)));
    }

    #[tokio::test]
    async fn the_whole_archive_is_listed_while_that_is_cheap_and_once_a_week() {
        let account = "https://127.0.0.1/acct?sv=2022-11-02&sp=rl&sig=x";
        let opened = Archive::open(account, whocalled_fetch::Auth::default(), DateTime::UNIX_EPOCH).await;
        let archive = opened.unwrap();
        let first = at("2026-11-01T00:00:00Z");
        let hours = |requests, listing, now| {
            let selection = Selection { listing, ..Selection::default() };
            Seen::default().after(&selection, first, Some(requests)).hours(&archive, &selection, at(now))
        };
        let next_day = "2026-11-02T00:00:00Z";
        let recent = Some(HourRange { from: at("2026-10-30T00:00:00Z"), to: at("2026-11-02T01:00:00Z") });
        assert_eq!(hours(30, Listing::Auto, next_day), None);
        assert_eq!(hours(31, Listing::Auto, next_day), recent);
        assert_eq!(hours(31, Listing::Auto, "2026-11-08T00:00:00Z"), None);
        assert_eq!(hours(31, Listing::All, next_day), None);
        assert_eq!(hours(1, Listing::Recent, next_day), recent);
        let unknown = Seen::default();
        assert_eq!(
            unknown.hours(&archive, &Selection { listing: Listing::Recent, ..Selection::default() }, first),
            None
        );
    }
}
