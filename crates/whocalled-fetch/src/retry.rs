//! How often, and for how long, a request is tried again: the one place that says.
//!
//! The SDK is told to try nothing again. Every request that fails is judged here: a [`Trial`] is what
//! one operation (a page of a listing, a range of a blob) may cost, and [`Pace`](crate::pace::Pace)
//! is what all operations of an account share: how many run at a time, a pause that the account
//! asked for, and the budget of repetitions.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use azure_core::{
    error::ErrorKind,
    http::{
        headers::{Headers, RETRY_AFTER},
        policies::get_retry_after,
    },
    time::OffsetDateTime,
};
use tokio::time::Instant;

/// How often an account that never answered is tried: its user is still watching.
const FIRST_ATTEMPT_COUNT_MAX: u32 = 5;
/// How long the first answer of an account is waited for.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);

/// How failed requests are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is tried in a row without one byte coming.
    pub attempt_count_max: u32,
    /// How long is waited before the first repetition, about; each further wait is twice as long.
    pub delay_initial: Duration,
    /// The longest wait, where the account names none.
    pub delay_max: Duration,
    /// The longest wait that the account may ask for with `Retry-After`; it is cut to this.
    pub retry_after_max: Duration,
    /// How long the head of an answer is waited for.
    pub answer_max: Duration,
    /// How long the next bytes of a body are waited for, before it is taken to have broken off.
    pub stall_max: Duration,
    /// How long one operation may take, all its attempts and waits included.
    pub operation_max: Duration,
    /// How many repetitions a run may make, over all its requests. Every two requests that go well
    /// give one back, so that only an account that keeps failing uses it up.
    pub budget: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempt_count_max: 8,
            delay_initial: Duration::from_millis(250),
            delay_max: Duration::from_secs(30),
            retry_after_max: Duration::from_mins(2),
            answer_max: Duration::from_secs(30),
            stall_max: Duration::from_secs(20),
            operation_max: Duration::from_mins(10),
            budget: 500,
        }
    }
}

impl RetryPolicy {
    /// How long the head of an answer is waited for, given whether the account ever answered.
    pub(crate) fn answer_max(&self, answered: bool) -> Duration {
        if answered { self.answer_max } else { self.answer_max.min(FIRST_ANSWER_MAX) }
    }
}

/// What a failed request says about trying it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would fail again.
    Final,
    /// The account is busy: it may say for how long, and wants fewer requests.
    Throttled(Option<Duration>),
    /// The account, or the way to it, failed this time.
    Transient(Option<Duration>),
}

impl Verdict {
    /// Judges the SDK's error.
    pub(crate) fn of(error: &azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, raw_response, .. } => {
                let after = raw_response.as_ref().and_then(|it| retry_after(it.headers()));
                match u16::from(*status) {
                    429 | 503 => Self::Throttled(after),
                    408 | 500 | 502 | 504 => Self::Transient(after),
                    _ => Self::Final,
                }
            }
            ErrorKind::Io | ErrorKind::Connection | ErrorKind::DataConversion => Self::Transient(None),
            _ => Self::Final,
        }
    }
}

/// How long the account asks to be left alone.
fn retry_after(headers: &Headers) -> Option<Duration> {
    let wait = get_retry_after(headers, OffsetDateTime::now_utc, &[RETRY_AFTER])?;
    Some(Duration::from_secs_f64(wait.as_seconds_f64().max(0.0)))
}

/// The attempts of one operation.
pub(crate) struct Trial<'a> {
    policy: &'a RetryPolicy,
    began_at: Instant,
    seed: u64,
    attempt_count: u32,
}

impl<'a> Trial<'a> {
    /// Before the first attempt. The jitter of the waits comes from `what`: it is there to keep
    /// operations apart, and a given run stays repeatable.
    pub(crate) fn new(policy: &'a RetryPolicy, what: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self { policy, began_at: Instant::now(), seed: hasher.finish(), attempt_count: 0 }
    }

    /// How often it failed since the last byte came.
    pub(crate) fn attempt_count(&self) -> u32 {
        self.attempt_count
    }

    /// Notes that bytes came: the count starts anew.
    pub(crate) fn progressed(&mut self) {
        self.attempt_count = 0;
    }

    /// Notes a failure, and says how long to wait before the next attempt; `None` where there is to
    /// be none. `answered` is whether the account ever answered.
    pub(crate) fn failed(&mut self, verdict: Verdict, answered: bool) -> Option<Duration> {
        self.attempt_count += 1;
        let after = match verdict {
            Verdict::Final => return None,
            Verdict::Throttled(after) | Verdict::Transient(after) => after,
        };
        let attempt_count_max = self.policy.attempt_count_max;
        let attempt_count_max =
            if answered { attempt_count_max } else { attempt_count_max.min(FIRST_ATTEMPT_COUNT_MAX) };
        if self.attempt_count >= attempt_count_max {
            return None;
        }
        let doubled = self.policy.delay_initial.saturating_mul(1 << (self.attempt_count - 1).min(20));
        let base = doubled.min(self.policy.delay_max);
        let jitter = self.seed.rotate_left(self.attempt_count * 7) % 512;
        let backoff = base / 2 + base.mul_f64(jitter as f64 / 512.0);
        let wait = backoff.max(after.unwrap_or_default().min(self.policy.retry_after_max));
        (self.began_at.elapsed() + wait < self.policy.operation_max).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: Verdict = Verdict::Transient(None);

    #[test]
    fn waits_grow_and_end() {
        let policy = RetryPolicy::default();
        let mut trial = Trial::new(&policy, "a");
        let waits: Vec<Duration> = std::iter::from_fn(|| trial.failed(TRANSIENT, true)).collect();
        assert_eq!(waits.len(), 7);
        for (wait, base) in waits.iter().zip([250, 500, 1000, 2000, 4000, 8000, 16000]) {
            let base = Duration::from_millis(base);
            assert!(*wait >= base / 2 && *wait < base.mul_f64(1.5), "{wait:?}");
        }
        assert_ne!(Trial::new(&policy, "b").failed(TRANSIENT, true), Trial::new(&policy, "c").failed(TRANSIENT, true));
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let policy = RetryPolicy::default();
        let mut trial = Trial::new(&policy, "a");
        while trial.failed(TRANSIENT, true).is_some() {}
        trial.progressed();
        assert!(trial.failed(TRANSIENT, true).is_some());
        assert_eq!(trial.attempt_count(), 1);
    }

    #[test]
    fn the_account_may_ask_for_a_longer_wait_up_to_a_limit() {
        let policy = RetryPolicy { delay_initial: Duration::from_millis(1), ..RetryPolicy::default() };
        let wait =
            |seconds| Trial::new(&policy, "a").failed(Verdict::Throttled(Some(Duration::from_secs(seconds))), true);
        assert_eq!(wait(3), Some(Duration::from_secs(3)));
        assert_eq!(wait(3600), Some(policy.retry_after_max));
        assert_eq!(Trial::new(&policy, "a").failed(Verdict::Final, true), None);
    }

    #[test]
    fn an_operation_has_a_deadline() {
        let policy = RetryPolicy { operation_max: Duration::from_secs(2), ..RetryPolicy::default() };
        let mut trial = Trial::new(&policy, "a");
        assert_eq!(trial.failed(Verdict::Throttled(Some(Duration::from_secs(5))), true), None);
    }
}
