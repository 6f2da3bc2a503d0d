//! What time it is in the course of a run: the `now` it began with, and the time that has passed.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// Goes on from the `now` that the caller gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began_at: DateTime<Utc>,
    began: Instant,
}

impl Clock {
    pub(super) fn starting_at(now: DateTime<Utc>) -> Self {
        Self { began_at: now, began: Instant::now() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.began_at + self.began.elapsed()
    }
}
