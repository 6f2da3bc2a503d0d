//! Progress through a blob, as algebra: a position and the half-open intervals that move it.

use std::fmt;

/// How many bytes before a position are hashed, at most, to recognise the committed prefix again.
pub const TAIL_BYTES_MAX: u64 = 4096;

/// How records are laid out in a blob, found by looking at its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Nothing but white space has been seen yet.
    #[default]
    Unknown,
    /// One record a line (JSON Lines), as Azure has written since November 2018.
    Lines,
    /// Records that span lines, one after the other, outside any array.
    Values,
    /// Inside the array of `{"records":[...]}`, `{"value":[...]}` or `[...]`.
    Array,
}

impl Framing {
    /// The name that the ledger stores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Lines => "lines",
            Self::Values => "values",
            Self::Array => "array",
        }
    }

    /// The framing of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unknown, Self::Lines, Self::Values, Self::Array].into_iter().find(|framing| framing.name() == name)
    }
}

/// How far one generation of a blob is committed, and what its last committed bytes were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Counts re-creations of the blob under the same name, from 0.
    pub generation: u32,
    /// How many bytes are committed.
    pub bytes: u64,
    /// How the next record is to be framed.
    pub framing: Framing,
    /// How many bytes before the position `tail_hash` covers: `min(bytes, TAIL_BYTES_MAX)`.
    pub tail_bytes: u64,
    /// SHA-256 of the last `tail_bytes` committed bytes, in lower-case hexadecimal.
    pub tail_hash: String,
}

/// A move of a blob's position over the half-open interval `(from, to.bytes]`.
///
/// | generation | from | outcome of [`Advance::apply`] |
/// |---|---|---|
/// | the same | equals the position | the position moves to `to` |
/// | the next | 0 | the position is replaced: the blob was re-created |
/// | anything else | | an error, and nothing changes: some of it was committed already, or a gap would be left |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Where the interval begins: the position that is moved.
    pub from: u64,
    /// The position afterwards.
    pub to: Position,
}

/// An advance does not fit the position it was applied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvanceError {
    /// The generation and bytes of the position.
    pub position: (u32, u64),
    /// The generation, begin and end of the advance.
    pub advance: (u32, u64, u64),
}

impl Advance {
    /// The position after this advance, or an error that leaves it as it was.
    pub fn apply(&self, position: Option<&Position>) -> Result<Position, AdvanceError> {
        let (generation, bytes) = position.map_or((0, 0), |it| (it.generation, it.bytes));
        let grows = self.to.generation == generation && self.from == bytes && self.to.bytes >= self.from;
        let replaces = position.is_some() && self.to.generation == generation + 1 && self.from == 0;
        if grows || replaces {
            Ok(self.to.clone())
        } else {
            Err(AdvanceError { position: (generation, bytes), advance: (self.to.generation, self.from, self.to.bytes) })
        }
    }
}

impl fmt::Display for AdvanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generation, from, to) = self.advance;
        write!(
            f,
            "advance ({from}, {to}] of generation {generation} does not follow position {} of generation {}",
            self.position.1, self.position.0
        )
    }
}

impl std::error::Error for AdvanceError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: u32, bytes: u64) -> Position {
        Position { generation, bytes, ..Position::default() }
    }

    #[test]
    fn growth_moves_the_position() {
        let advance = Advance { from: 10, to: at(0, 25) };
        assert_eq!(advance.apply(Some(&at(0, 10))), Ok(at(0, 25)));
        assert_eq!(Advance { from: 0, to: at(0, 5) }.apply(None), Ok(at(0, 5)));
    }

    #[test]
    fn re_creation_replaces_the_position() {
        assert_eq!(Advance { from: 0, to: at(1, 3) }.apply(Some(&at(0, 10))), Ok(at(1, 3)));
    }

    #[test]
    fn overlaps_gaps_and_skipped_generations_are_refused() {
        assert!(Advance { from: 5, to: at(0, 25) }.apply(Some(&at(0, 10))).is_err());
        assert!(Advance { from: 15, to: at(0, 25) }.apply(Some(&at(0, 10))).is_err());
        assert!(Advance { from: 0, to: at(2, 25) }.apply(Some(&at(0, 10))).is_err());
        assert!(Advance { from: 0, to: at(1, 25) }.apply(None).is_err());
    }
}
