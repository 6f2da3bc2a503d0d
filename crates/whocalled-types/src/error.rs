//! What a caller should do about an error.

/// The decision that an error asks of its caller. Every library error of the workspace has a
/// `kind()` that returns one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same request may succeed later: throttling, resets, a lost race for a commit.
    Retry,
    /// The thing asked for is not there any more, and the run can go on without it.
    Skip,
    /// The bytes are unusable: keep them aside with the reason, and go on.
    Quarantine,
    /// Going on would be wrong: bad arguments, denied access, a damaged lake.
    Abort,
}
