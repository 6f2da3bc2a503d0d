//! What an archive does to a blob although nobody should: logs that are only ever appended to
//! neither shrink nor vanish.

/// What a commit says about a blob beside the bytes that it commits. The ledger keeps it with the
/// range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobFinding {
    /// The blob grew after it had been quiet for so long that it was taken to be complete.
    Reopened,
    /// The blob is shorter than what was committed of it, and was read anew.
    Shrunk,
    /// The committed bytes are not there any more: the blob was read anew.
    Rewritten,
    /// The blob is not in the archive any more. Its rows stay.
    Gone,
    /// The blob was created again, by its time of creation.
    Recreated,
}

impl BlobFinding {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Reopened, Self::Shrunk, Self::Rewritten, Self::Gone, Self::Recreated];

    /// The name that the ledger stores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reopened => "reopened",
            Self::Shrunk => "shrunk",
            Self::Rewritten => "rewritten",
            Self::Gone => "gone",
            Self::Recreated => "recreated",
        }
    }

    /// The finding of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.name() == name)
    }
}
