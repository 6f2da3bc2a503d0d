//! Schemas for tables in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use whocalled_types::Table;

/// The tables' own schemas, with every column nullable, so that a test inserts only what it is about.
pub fn nullable() -> BTreeMap<Table, SchemaRef> {
    let nullable = |schema: &SchemaRef| {
        let field = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_nullable(true));
        Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
    };
    let data = whocalled_convert::DEFINITIONS.iter().map(|it| (it.table, nullable(&it.schema())));
    data.chain([(Table::Ledger, nullable(&whocalled_lake::ledger_spec().schema))]).collect()
}
