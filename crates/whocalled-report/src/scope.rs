//! What a question is about, where it is not about everything.

use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};

use crate::provider::ScanDates;

/// How many days more than its own a question reads of the tables that hold calls, on both sides.
/// One for re-deliveries and for observations up to a day off, one because a request is logged
/// after it was made.
const MARGIN_DAYS: u64 = 2;

/// For how many days before and after it an observation is evidence, as the view `presence` has it.
const PRESENCE_DAYS: u64 = 30;

/// The days of the calls in question, and where they were made, if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    dates: RangeInclusive<NaiveDate>,
    places: Option<Places>,
}

/// The accounts of some calls, and the address prefixes that they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) accounts: Vec<String>,
    pub(crate) prefixes: Vec<String>,
}

impl Scope {
    /// Any call of these days.
    pub(crate) fn of_days(dates: RangeInclusive<NaiveDate>) -> Self {
        Self { dates, places: None }
    }

    /// Only calls of these days to these accounts, from these prefixes.
    pub(crate) fn of_places(dates: RangeInclusive<NaiveDate>, places: Places) -> Self {
        Self { dates, places: Some(places) }
    }

    /// What is to be read of the tables that hold calls.
    pub(crate) fn scan_dates(&self) -> ScanDates {
        self.widened(MARGIN_DAYS)
    }

    /// The condition that a row is of a day that is read, or at most so many days from one.
    pub(crate) fn dates(&self, days_off_max: u64) -> String {
        let ScanDates { first, last } = self.widened(MARGIN_DAYS + days_off_max);
        format!("date BETWEEN DATE '{first}' AND DATE '{last}'")
    }

    /// The condition that an hour is of a day that is read.
    fn hours(&self) -> String {
        let ScanDates { first, last } = self.widened(MARGIN_DAYS);
        format!("hour BETWEEN {} AND {}", instant(&format!("{first}T00:00:00Z")), instant(&format!("{last}T23:00:00Z")))
    }

    fn widened(&self, days: u64) -> ScanDates {
        let margin = Days::new(days);
        ScanDates {
            first: self.dates.start().checked_sub_days(margin).unwrap_or(NaiveDate::MIN),
            last: self.dates.end().checked_add_days(margin).unwrap_or(NaiveDate::MAX),
        }
    }

    /// Which rows of a view have a part in weighing the calls, in SQL; `None` where all may. The others are where
    /// principals were on other days, who obtained the keys of other accounts, and who called them by key, unless
    /// from the same prefix. Calls that name who made them all count, because they show how many share an
    /// address, and whose it is.
    pub(crate) fn condition(&self, view: &str) -> Option<String> {
        match (view, &self.places) {
            ("observed_days", _) => Some(self.dates(PRESENCE_DAYS)),
            ("presence", _) => Some(self.dates(0)),
            ("slot_callers", Some(places)) => Some(format!("{} AND {}", self.hours(), places.accounts())),
            ("slots" | "slot_callers", _) => Some(self.hours()),
            ("key_requests" | "key_audits" | "deployment_days", Some(places)) => Some(places.accounts()),
            ("sightings", Some(places)) => {
                let mut condition = format!("{} OR object_id IS NOT NULL", places.accounts());
                if !places.prefixes.is_empty() {
                    condition += &format!(" OR ip_prefix IN ({})", literals(&places.prefixes));
                }
                Some(condition)
            }
            _ => None,
        }
    }
}

impl Places {
    fn accounts(&self) -> String {
        format!("account_id IN ({})", literals(&self.accounts))
    }
}

/// Texts as SQL has them, with commas between them.
pub(crate) fn literals(texts: &[String]) -> String {
    texts.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

/// An instant as SQL has it: to the microsecond, as columns are, since nanoseconds do not reach every year.
pub(crate) fn instant(text: &str) -> String {
    format!("CAST('{text}' AS TIMESTAMP(6) WITH TIME ZONE)")
}
