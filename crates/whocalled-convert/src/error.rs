//! What can fail in this crate: nothing that input causes, which becomes rejects instead.

use whocalled_types::{ErrorKind, Table};

/// A failure to build what was decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arrow refused the columns of a table.
    #[error("cannot build a record batch of table `{table}`")]
    Batch {
        /// The table.
        table: Table,
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Abort
    }
}
