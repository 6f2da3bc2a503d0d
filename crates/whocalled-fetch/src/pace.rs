//! What all requests of an account share: how many run at the same time, a pause that the account
//! asked for, and the budget of repetitions.
//!
//! The number of requests at a time follows the account's answers as TCP's window follows losses
//! (additive increase, multiplicative decrease): an answer that says "busy" halves it, at most once
//! for all requests that were under way by then, and each round of good answers adds one. As there,
//! only a request that made use of all that was allowed shows that more might be borne (RFC 7661),
//! and only one that was sent since the last halving.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// What a repetition costs, and a good answer gives back.
const REPETITION_COST: i64 = 2;

/// See the module.
pub(crate) struct Pace {
    state: Mutex<State>,
    left: Notify,
    /// Whether the account has ever answered.
    answered: AtomicBool,
    budget_max: i64,
}

struct State {
    in_flight: usize,
    /// How many may be, of which the whole part counts.
    allowed: f64,
    allowed_max: f64,
    /// Nothing is sent before this.
    not_before: Instant,
    /// When `allowed` was last halved.
    halved_at: Instant,
    budget: i64,
}

impl Pace {
    /// At most `in_flight_max` requests at a time, and `budget` repetitions.
    pub(crate) fn new(in_flight_max: usize, budget: u32) -> Self {
        let now = Instant::now();
        let budget_max = i64::from(budget) * REPETITION_COST;
        let allowed_max = in_flight_max.max(1) as f64;
        Self {
            state: Mutex::new(State {
                in_flight: 0,
                allowed: allowed_max,
                allowed_max,
                not_before: now,
                halved_at: now,
                budget: budget_max,
            }),
            left: Notify::new(),
            answered: AtomicBool::new(false),
            budget_max,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the account has ever answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Notes that there is somebody.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Waits until one more request may be sent.
    pub(crate) async fn enter(&self) -> Pass<'_> {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let until = {
                let mut state = self.state();
                let now = Instant::now();
                if state.not_before > now {
                    Some(state.not_before)
                } else if (state.in_flight as f64) < state.allowed.floor() {
                    state.in_flight += 1;
                    let fills = state.in_flight as f64 >= state.allowed.floor();
                    return Pass { pace: self, entered_at: now, fills };
                } else {
                    None
                }
            };
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => left.await,
            }
        }
    }

    /// Takes a repetition from the budget, where there is one left.
    pub(crate) fn repeat(&self) -> bool {
        let mut state = self.state();
        let enough = state.budget >= REPETITION_COST;
        if enough {
            state.budget -= REPETITION_COST;
        }
        enough
    }

    #[cfg(test)]
    fn allowed(&self) -> String {
        self.state().allowed.floor().to_string()
    }
}

/// One request that is under way.
pub(crate) struct Pass<'a> {
    pace: &'a Pace,
    entered_at: Instant,
    /// Whether it was the last that was allowed at the same time.
    fills: bool,
}

impl Pass<'_> {
    /// The request went well.
    pub(crate) fn succeeded(self) {
        let mut state = self.pace.state();
        if self.fills && self.entered_at >= state.halved_at {
            state.allowed = (state.allowed + 1.0 / state.allowed).min(state.allowed_max);
        }
        state.budget = (state.budget + 1).min(self.pace.budget_max);
    }

    /// The account is busy, and may want all requests to pause.
    pub(crate) fn throttled(self, pause: Option<Duration>) {
        let mut state = self.pace.state();
        if self.entered_at >= state.halved_at {
            state.allowed = (state.allowed / 2.0).max(1.0);
            state.halved_at = Instant::now();
            tracing::debug!(requests_max = state.allowed.floor(), "the account is busy: fewer requests at a time");
        }
        if let Some(pause) = pause {
            state.not_before = state.not_before.max(Instant::now() + pause);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.pace.state().in_flight -= 1;
        self.pace.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[tokio::test]
    async fn throttling_halves_once_a_round_and_success_adds_one() {
        let pace = Pace::new(16, 10);
        let first = pace.enter().await;
        let second = pace.enter().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        first.throttled(None);
        second.throttled(None);
        assert_eq!(pace.allowed(), "8", "both were under way together");
        for _ in 0..2 {
            let mut round = Vec::new();
            while round.len() < 8 {
                round.push(pace.enter().await);
            }
            for pass in round {
                pass.succeeded();
            }
        }
        assert_eq!(pace.allowed(), "8", "only the last of each eight filled what was allowed");
        let mut under_way = VecDeque::new();
        while under_way.len() < 8 {
            under_way.push_back(pace.enter().await);
        }
        for _ in 0..16 {
            under_way.pop_front().into_iter().for_each(Pass::succeeded);
            under_way.push_back(pace.enter().await);
        }
        assert_eq!(pace.allowed(), "9");
        drop(under_way);
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            pace.enter().await.throttled(None);
        }
        assert_eq!(pace.allowed(), "1", "one is always allowed");
    }

    #[tokio::test]
    async fn requests_from_before_a_halving_or_of_no_rush_allow_no_more() {
        let pace = Pace::new(4, 10);
        let mut before = Vec::new();
        while before.len() < 4 {
            before.push(pace.enter().await);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        before.remove(0).throttled(None);
        for pass in before {
            pass.succeeded();
        }
        for _ in 0..40 {
            pace.enter().await.succeeded();
        }
        assert_eq!(pace.allowed(), "2");
    }

    #[tokio::test]
    async fn no_more_than_allowed_run_and_a_pause_holds_for_all() {
        let pace = Pace::new(1, 10);
        let pass = pace.enter().await;
        assert!(tokio::time::timeout(Duration::from_millis(20), pace.enter()).await.is_err());
        let began_at = Instant::now();
        pass.throttled(Some(Duration::from_millis(70)));
        pace.enter().await.succeeded();
        assert!(began_at.elapsed() >= Duration::from_millis(70));
    }

    #[tokio::test]
    async fn the_budget_ends_and_good_answers_refill_it() {
        let pace = Pace::new(4, 3);
        assert!(pace.repeat() && pace.repeat() && pace.repeat() && !pace.repeat());
        pace.enter().await.succeeded();
        assert!(!pace.repeat());
        pace.enter().await.succeeded();
        assert!(pace.repeat());
    }
}
