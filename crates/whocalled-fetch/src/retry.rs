//! How often, and for how long, a request is tried again: the one place that says.
//!
//! Three layers, from the inside: a [`Guard`] bounds the wait for one answer; the SDK's policy
//! repeats a request that was throttled or failed, backing off exponentially with jitter and
//! honouring `Retry-After`; [`Backoff`] paces the resumption of a body that broke off, which the SDK
//! leaves to its caller.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use azure_core::{
    error::ErrorKind,
    http::{
        ClientOptions, Context, ExponentialRetryOptions, Request, RetryOptions, UserAgentOptions,
        policies::{Policy, PolicyResult},
    },
    time,
};
use whocalled_types::BlobName;

use crate::Counters;

/// How long the first answer of an account is waited for: an account that cannot be reached has to
/// be reported while its user is still watching.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long any later answer's head is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long the next bytes of a body are waited for, before it is taken to have broken off.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(20);
/// How often a body is resumed without one more byte coming.
const RESUME_COUNT_MAX: u32 = 5;
const RESUME_DELAY: Duration = Duration::from_millis(200);

/// Options for every client of an account: retries, the guard, and who is asking.
pub(crate) fn client_options(guard: Arc<Guard>) -> ClientOptions {
    ClientOptions {
        per_try_policies: vec![guard],
        // Waits of about 0.4, 0.8, 1.6, 3.2 and 6.4 s: 12 s in all where a connection is refused.
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            initial_delay: time::Duration::milliseconds(200),
            max_retries: 5,
            max_total_elapsed: time::Duration::seconds(60),
            max_delay: time::Duration::seconds(30),
        }),
        user_agent: UserAgentOptions { application_id: Some("whocalled".to_owned()) },
        ..ClientOptions::default()
    }
}

/// Counts requests and bounds the wait for each one's answer.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    counters: Arc<Counters>,
    /// Whether the account has ever answered.
    answered: AtomicBool,
}

impl Guard {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, answered: AtomicBool::new(false) }
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait counts lifetimes as the SDK's trait writes them")]
#[async_trait::async_trait]
impl Policy for Guard {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((first, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "no transport policy follows"));
        };
        self.counters.count_request();
        let answered = self.has_answered();
        let limit = if answered { ANSWER_MAX } else { FIRST_ANSWER_MAX };
        match tokio::time::timeout(limit, first.send(ctx, request, rest)).await {
            Ok(result) => {
                if result.is_ok() {
                    self.answered.store(true, Ordering::Relaxed);
                }
                result
            }
            // The SDK tries an I/O error again, and no other kind: an account that never answered
            // would only be waited for as long again.
            Err(_) => {
                let kind = if answered { ErrorKind::Io } else { ErrorKind::Other };
                Err(azure_core::Error::new(kind, NoAnswer(limit)))
            }
        }
    }
}

/// No answer came in time.
#[derive(Debug)]
pub(crate) struct NoAnswer(Duration);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {} s", self.0.as_secs())
    }
}

impl std::error::Error for NoAnswer {}

/// Paces the resumption of one blob's body.
pub(crate) struct Backoff {
    seed: u64,
    attempt_count: u32,
}

impl Backoff {
    pub(crate) fn new(blob: &BlobName) -> Self {
        let mut hasher = DefaultHasher::new();
        blob.hash(&mut hasher);
        Self { seed: hasher.finish(), attempt_count: 0 }
    }

    /// How often the body broke off since the last byte came.
    pub(crate) fn attempt_count(&self) -> u32 {
        self.attempt_count
    }

    /// Notes that the body broke off, and how long to wait before it is resumed; `None` where it
    /// has been tried often enough. Bytes that came in between start the count anew.
    pub(crate) fn broke_off(&mut self, progressed: bool) -> Option<Duration> {
        self.attempt_count = if progressed { 1 } else { self.attempt_count + 1 };
        (self.attempt_count <= RESUME_COUNT_MAX).then(|| {
            let base = RESUME_DELAY * 2u32.pow(self.attempt_count - 1);
            // The jitter, of up to half the wait, comes from the blob's name: it is there to keep
            // the reads of different blobs apart, and a given run stays repeatable.
            let jitter = self.seed.rotate_left(self.attempt_count * 7) % 512;
            base + base.mul_f64(jitter as f64 / 1024.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(name: &str) -> Backoff {
        Backoff::new(&BlobName { container: "insights-logs-audit".to_owned(), name: name.to_owned() })
    }

    #[test]
    fn waits_grow_and_end() {
        let mut it = backoff("a");
        let waits: Vec<Duration> = std::iter::from_fn(|| it.broke_off(false)).collect();
        assert_eq!(waits.len(), 5);
        for (wait, shortest) in waits.iter().zip([200, 400, 800, 1600, 3200]) {
            let shortest = Duration::from_millis(shortest);
            assert!(*wait >= shortest && *wait < shortest.mul_f64(1.5), "{wait:?}");
        }
    }

    #[test]
    fn progress_starts_the_count_anew_and_blobs_differ() {
        let mut it = backoff("a");
        while it.broke_off(false).is_some() {}
        assert!(it.broke_off(true).is_some());
        assert_eq!(it.attempt_count(), 1);
        assert_ne!(backoff("a").broke_off(true), backoff("b").broke_off(true));
    }
}
