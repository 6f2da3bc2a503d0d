//! Named places where a test stops the protocol, as a crash would.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// The names of all failpoints, in the order of the protocol.
///
/// Nothing is undone after a failpoint has fired: what is left behind is what a killed process
/// leaves behind.
pub const FAILPOINTS: &[&str] = &[
    CREATE_TABLE,
    CREATE_BEFORE_MARKER,
    PREPARE_BEFORE,
    PREPARE_FILE_WRITTEN,
    PREPARE_LEDGER_WRITTEN,
    DECIDE_BEFORE,
    DECIDE_AFTER,
    APPLY_BEFORE,
    APPLY_TABLE_COMMITTED,
    APPLY_AFTER,
    POSITIONS_BEFORE,
    POSITIONS_AFTER,
    OPTIMIZE_FILE_WRITTEN,
    OPTIMIZE_LEDGER_BEFORE,
    OPTIMIZE_LEDGER_AFTER,
    VACUUM_FILE_DELETED,
    EXPORT_FILE_WRITTEN,
    EXPORT_AFTER,
];

/// After each table that the creation of a lake makes.
pub(crate) const CREATE_TABLE: &str = "create.table";
/// Every table is made, and the marker that makes it a lake is not written.
pub(crate) const CREATE_BEFORE_MARKER: &str = "create.before_marker";
/// A batch was found to balance, and nothing is written.
pub(crate) const PREPARE_BEFORE: &str = "prepare.before";
/// After each Parquet file of rows.
pub(crate) const PREPARE_FILE_WRITTEN: &str = "prepare.file_written";
/// The ledger's Parquet file is written, and nothing names it.
pub(crate) const PREPARE_LEDGER_WRITTEN: &str = "prepare.ledger_written";
/// Before the commit to the ledger.
pub(crate) const DECIDE_BEFORE: &str = "decide.before";
/// After the commit to the ledger.
pub(crate) const DECIDE_AFTER: &str = "decide.after";
/// Before each table's commit.
pub(crate) const APPLY_BEFORE: &str = "apply.before";
/// After each table's commit.
pub(crate) const APPLY_TABLE_COMMITTED: &str = "apply.table_committed";
/// After the last table's commit.
pub(crate) const APPLY_AFTER: &str = "apply.after";
/// Before the positions are kept beside the ledger.
pub(crate) const POSITIONS_BEFORE: &str = "positions.before";
/// After the positions are kept beside the ledger.
pub(crate) const POSITIONS_AFTER: &str = "positions.after";
/// After each Parquet file that compaction writes.
pub(crate) const OPTIMIZE_FILE_WRITTEN: &str = "optimize.file_written";
/// Before the commit that compacts the ledger itself.
pub(crate) const OPTIMIZE_LEDGER_BEFORE: &str = "optimize.ledger_before";
/// After the commit that compacts the ledger itself.
pub(crate) const OPTIMIZE_LEDGER_AFTER: &str = "optimize.ledger_after";
/// After each file that vacuum deletes.
pub(crate) const VACUUM_FILE_DELETED: &str = "vacuum.file_deleted";
/// After each Parquet file of an export to Delta.
pub(crate) const EXPORT_FILE_WRITTEN: &str = "export.file_written";
/// After the commit of an export to Delta.
pub(crate) const EXPORT_AFTER: &str = "export.after";

type Hook = dyn Fn(&'static str) -> Result<(), Error> + Send + Sync;

/// What to do at failpoints: nothing, unless a test says otherwise.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Hook>>);

impl Failpoints {
    /// Calls `hook` with the name of every failpoint that is reached; an error stops there.
    pub fn new(hook: impl Fn(&'static str) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn hit(&self, name: &'static str) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(name))
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoints(set)" } else { "Failpoints(none)" })
    }
}
