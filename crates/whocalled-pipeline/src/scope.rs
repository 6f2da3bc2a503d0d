//! Which hours of the archive a run lists: all of them now and then, otherwise those that can have
//! changed.
//!
//! Azure may append to a blob long after its hour, but hardly ever does. A run lists the hours from
//! two days before the last run that left nothing undone; once a week the whole archive is listed,
//! so that whatever came later still is found.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};
use whocalled_fetch::Archive;
use whocalled_types::{Hour, HourSpan};

use crate::plan::Selection;

/// How late after its hour a blob's growth is seen at once; what is later waits for the next listing
/// of the whole archive.
const LATE_MAX: TimeDelta = TimeDelta::hours(48);
/// How often the whole archive is listed.
const WHOLE_EVERY: TimeDelta = TimeDelta::days(7);
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
}

impl Seen {
    /// The hours that a run is to list; `None` for all of them.
    pub(crate) fn hours(&self, archive: &Archive, selection: &Selection, now: DateTime<Utc>) -> Option<HourRange> {
        if selection.hours.is_some() {
            return selection.hours;
        }
        // Into a directory old hours may be copied at any time, and listing it costs no request.
        if selection.list_all || archive.is_directory() {
            return None;
        }
        let settled_at = self.settled_at?;
        let fresh = self.listed_whole_at.is_some_and(|at| now - at < WHOLE_EVERY);
        fresh.then(|| HourRange { from: settled_at - LATE_MAX, to: now + CLOCK_SKEW_MAX })
    }

    /// What is known after a run that began at `started_at`. `whole` is whether it listed all hours,
    /// `settled` whether it left nothing undone.
    #[must_use]
    pub(crate) fn after(&self, selection: &Selection, started_at: DateTime<Utc>, whole: bool, settled: bool) -> Self {
        let mut seen = self.clone();
        if settled && selection.containers.is_empty() && selection.hours.is_none() {
            seen.settled_at = Some(started_at);
            if whole {
                seen.listed_whole_at = Some(started_at);
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
    fn only_a_settled_run_over_everything_moves_on() {
        let (first, second) = (at("2026-11-01T00:00:00Z"), at("2026-11-02T00:00:00Z"));
        let all = Selection::default();
        let seen = Seen::default().after(&all, first, true, true);
        assert_eq!(seen, Seen { settled_at: Some(first), listed_whole_at: Some(first) });
        assert_eq!(seen.after(&all, second, true, false), seen);
        let one = Selection { containers: vec!["insights-logs-audit".to_owned()], ..Selection::default() };
        assert_eq!(seen.after(&one, second, true, true), seen);
        assert_eq!(seen.after(&all, second, false, true).listed_whole_at, Some(first));
    }
}
