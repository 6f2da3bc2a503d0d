//! What can go wrong while a tenant is simulated.

use std::{io, path::PathBuf};

use whocalled_types::ErrorKind;

/// Why nothing, or not everything, was simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option has a value that no simulation can have.
    #[error("option `{option}` is {value}, but must be {must_be}")]
    Option {
        /// The option's name, as in [`Options`](crate::Options).
        option: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        must_be: &'static str,
    },
    /// The output directory holds something that a simulation did not write.
    #[error("directory {} is not empty and was not made by a simulation: choose another, or empty it first", path.display())]
    Occupied {
        /// The output directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a caller should do: nothing here gets better by itself.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Abort
    }

    /// For `map_err`: adds what was tried, and with which file.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
