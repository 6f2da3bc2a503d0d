//! Where a blob is in its life, as far as its last commit tells.

use std::time::Duration;

/// How long a blob must be quiet to count as complete, unless the user says otherwise.
pub const SEAL_AFTER: Duration = Duration::from_secs(3 * 60 * 60);
/// How long a blob counts as being written to after it was modified. Azure appends every few minutes.
const OPEN_FOR: Duration = Duration::from_secs(15 * 60);

/// Where a blob is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlobPhase {
    /// It is being written to: its hour is not over, or it was modified a moment ago.
    Open,
    /// It is not being written to, and may still be: Azure delivers some records hours late.
    Quiet,
    /// It is taken to be complete, and there is nothing in it that is not committed. Should it grow
    /// nonetheless, that is read, and is a finding.
    Sealed,
    /// It is not in the archive any more. Its rows stay.
    Gone,
}

/// What the phase of a blob follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobFacts {
    /// Whether the archive does not have it any more.
    pub gone: bool,
    /// Whether the hour in its name is over; true for a name without an hour.
    pub hour_over: bool,
    /// Whether there is nothing left of it to commit: its last byte is committed, or what follows
    /// was looked at when it was quiet for long enough, and is no complete record.
    pub settled: bool,
    /// How long ago it was modified.
    pub quiet_for: Duration,
}

impl BlobPhase {
    /// The phase that follows, for a blob that is complete once quiet for `seal_after`. The first
    /// line that fits:
    ///
    /// | phase | when |
    /// |---|---|
    /// | gone | the archive does not have it any more |
    /// | open | its hour is not over, or it was modified less than 15 minutes ago |
    /// | sealed | nothing is left to commit, and it was not modified for `seal_after` |
    /// | quiet | otherwise |
    pub fn of(facts: BlobFacts, seal_after: Duration) -> Self {
        if facts.gone {
            Self::Gone
        } else if !facts.hour_over || facts.quiet_for < OPEN_FOR {
            Self::Open
        } else if facts.settled && facts.quiet_for >= seal_after {
            Self::Sealed
        } else {
            Self::Quiet
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: BlobFacts =
        BlobFacts { gone: false, hour_over: true, settled: true, quiet_for: Duration::from_secs(86_400) };

    fn phase(facts: BlobFacts) -> BlobPhase {
        BlobPhase::of(facts, SEAL_AFTER)
    }

    #[test]
    fn a_blob_is_open_then_quiet_then_sealed() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        for (quiet_for, expected) in [
            (minutes(0), BlobPhase::Open),
            (minutes(15) - Duration::from_nanos(1), BlobPhase::Open),
            (minutes(15), BlobPhase::Quiet),
            (minutes(180) - Duration::from_nanos(1), BlobPhase::Quiet),
            (minutes(180), BlobPhase::Sealed),
        ] {
            assert_eq!(phase(BlobFacts { quiet_for, ..COMPLETE }), expected, "{quiet_for:?}");
        }
    }

    #[test]
    fn bytes_that_are_left_keep_it_from_being_sealed() {
        assert_eq!(phase(BlobFacts { settled: false, ..COMPLETE }), BlobPhase::Quiet);
    }

    #[test]
    fn its_hour_keeps_it_open_however_quiet_it_is() {
        assert_eq!(phase(BlobFacts { hour_over: false, ..COMPLETE }), BlobPhase::Open);
        assert_eq!(BlobPhase::of(COMPLETE, Duration::ZERO), BlobPhase::Sealed);
        let just_now = BlobFacts { quiet_for: Duration::ZERO, ..COMPLETE };
        assert_eq!(BlobPhase::of(just_now, Duration::ZERO), BlobPhase::Open, "whatever seals it");
    }

    #[test]
    fn gone_is_gone() {
        let facts = BlobFacts { gone: true, hour_over: false, settled: false, quiet_for: Duration::ZERO };
        assert_eq!(phase(facts), BlobPhase::Gone);
    }
}
