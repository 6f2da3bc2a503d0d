//! What is simulated: sizes, the tenant's habits, and how the archive is spoilt.

use chrono::{DateTime, Datelike, Utc};
use serde::{Serialize, Serializer};

use crate::{Error, Habits};

/// Everything that a simulation depends on. The same options give the same bytes.
///
/// Shares are fractions from 0 to 1. Those of calls are expectations over the whole time; counts
/// are exact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// Begins every random sequence. Default 1.
    pub seed: u64,
    /// Azure OpenAI accounts, 1 to 1000. Default 4.
    pub account_count: usize,
    /// Hours with calls, from 1 to 100 000. Default 48.
    pub hour_count: u32,
    /// Distinct calls; there are more records, since some are delivered again or split. Default 20 000.
    pub call_count: u64,
    /// Users (70 %), service principals (20 %) and managed identities (10 %), from 1 to 16 000.
    /// Default 40.
    pub principal_count: usize,
    /// The first hour with calls; a whole hour. Default 2026-11-02T00:00:00Z, a Monday.
    #[serde(serialize_with = "as_rfc3339")]
    pub start: DateTime<Utc>,
    /// Entra tenants that share the accounts and principals out, from 1 to `account_count` and
    /// `principal_count`. Default 1.
    pub tenant_count: usize,
    /// Hours before `start` that the Activity Log, audit and sign-in logs reach back to, at most
    /// 10 000. Most grants happen in them. Default 24.
    pub lead_hours: u32,
    /// Calls that are authenticated with Entra tokens; the others use an API key. Default 0.3.
    pub entra_share: f64,
    /// Calls by strangers: with a leaked key, or with a guessed one that is refused. Default 0.01.
    pub stranger_share: f64,
    /// Hours that a user spends on a mobile network, away from home and office. Default 0.05.
    pub roaming_share: f64,
    /// Key users whose grant is in no log, since it is older than the logs. Default 0.03.
    pub unseen_grant_share: f64,
    /// Accounts whose blobs are `{"records":[...]}` documents as before November 2018, rounded up;
    /// one account at least is written as JSON Lines. Default 0.1.
    pub legacy_wrapper_share: f64,
    /// Whether all accounts spell their calls in the way that tools which know nothing of Azure's
    /// habits can read: JSON Lines of one shape, no wrapper whatever `legacy_wrapper_share` says, no
    /// byte order mark. The caller's address keeps both its names, and `properties` is an object in
    /// one blob of ten. Default false.
    pub plain: bool,
    /// How often keys are obtained, at least: what callers and visitors of the portal do not come to
    /// is spread evenly over accounts, principals and hours. At most 10 million. Default 0.
    pub grant_count_min: u64,
    /// Records that are delivered twice, with another envelope time. Default 0.02.
    pub redelivered_share: f64,
    /// Records that arrive minutes late, in the blob of the next hour. Default 0.004.
    pub late_share: f64,
    /// Damaged records, which must be rejected. One call at least must be in a blob before it can
    /// be damaged, so a very small archive may get fewer. Default 0.
    pub damaged_count: u64,
    /// Whether the last blob of the first account ends in the middle of a record. Default false.
    pub torn: bool,
    /// What is special about the tenant. Default nothing.
    pub habits: Habits,
}

impl Default for Options {
    fn default() -> Self {
        /// 2026-11-02T00:00:00Z.
        const START_SECONDS: i64 = 1_793_577_600;
        Self {
            seed: 1,
            account_count: 4,
            hour_count: 48,
            call_count: 20_000,
            principal_count: 40,
            start: DateTime::from_timestamp(START_SECONDS, 0).unwrap_or_default(),
            tenant_count: 1,
            lead_hours: 24,
            entra_share: 0.3,
            stranger_share: 0.01,
            roaming_share: 0.05,
            unseen_grant_share: 0.03,
            legacy_wrapper_share: 0.1,
            plain: false,
            grant_count_min: 0,
            redelivered_share: 0.02,
            late_share: 0.004,
            damaged_count: 0,
            torn: false,
            habits: Habits::default(),
        }
    }
}

impl Options {
    /// Refuses what cannot be simulated, naming the option and what it must be.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse =
            |option, value: &dyn ToString, must_be| Error::Option { option, value: value.to_string(), must_be };
        if !(1..=1_000).contains(&self.account_count) {
            return Err(refuse("account_count", &self.account_count, "from 1 to 1000"));
        }
        if !(1..=100_000).contains(&self.hour_count) {
            return Err(refuse("hour_count", &self.hour_count, "from 1 to 100000"));
        }
        if self.call_count > CALL_COUNT_MAX {
            return Err(refuse("call_count", &self.call_count, "at most 100000000000"));
        }
        if !(1..=16_000).contains(&self.principal_count) {
            return Err(refuse("principal_count", &self.principal_count, "from 1 to 16000"));
        }
        if !(1..=self.account_count.min(self.principal_count)).contains(&self.tenant_count) {
            return Err(refuse(
                "tenant_count",
                &self.tenant_count,
                "from 1 to the number of accounts and of principals",
            ));
        }
        if self.grant_count_min > GRANT_COUNT_MAX {
            return Err(refuse("grant_count_min", &self.grant_count_min, "at most 10000000"));
        }
        if self.habits.scans_per_day > 10_000 {
            return Err(refuse("scans_per_day", &self.habits.scans_per_day, "at most 10000"));
        }
        if self.lead_hours > 10_000 {
            return Err(refuse("lead_hours", &self.lead_hours, "at most 10000"));
        }
        let whole = self.start.timestamp().rem_euclid(3600) == 0 && self.start.timestamp_subsec_nanos() == 0;
        if !whole || !(2000..=9000).contains(&self.start.year()) {
            return Err(refuse("start", &self.start, "a whole hour of the years 2000 to 9000"));
        }
        if self.entra_share + self.stranger_share > 1.0 {
            let sum = self.entra_share + self.stranger_share;
            return Err(refuse("entra_share + stranger_share", &sum, "at most 1"));
        }
        self.shares()
            .into_iter()
            .find(|(_, share)| !(0.0..=1.0).contains(share))
            .map_or(Ok(()), |(option, share)| Err(refuse(option, &share, "from 0 to 1")))
    }

    fn shares(&self) -> [(&'static str, f64); 7] {
        [
            ("entra_share", self.entra_share),
            ("stranger_share", self.stranger_share),
            ("roaming_share", self.roaming_share),
            ("unseen_grant_share", self.unseen_grant_share),
            ("legacy_wrapper_share", self.legacy_wrapper_share),
            ("redelivered_share", self.redelivered_share),
            ("late_share", self.late_share),
        ]
    }
}

/// Keeps the products of counts and ticks within 64 bits.
const CALL_COUNT_MAX: u64 = 100_000_000_000;

/// Grants are planned in memory.
const GRANT_COUNT_MAX: u64 = 10_000_000;

/// A share as a whole number of millionths, for arithmetic that is the same everywhere.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is checked to be from 0 to 1")]
pub(crate) fn millionths(share: f64) -> u64 {
    (share * 1e6).round() as u64
}

fn as_rfc3339<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}
