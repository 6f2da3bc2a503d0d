//! The lake's tables, as the converter defines them.

use whocalled_convert::DEFINITIONS;
use whocalled_lake::TableSpec;

/// Every data table with its schema and layout, for opening a lake. The ledger is the lake's own.
pub fn table_specs() -> Vec<TableSpec> {
    DEFINITIONS
        .iter()
        .map(|definition| TableSpec {
            table: definition.table,
            schema: definition.schema(),
            sort_by: definition.sort_by,
            bloom: definition.bloom,
        })
        .collect()
}
