//! What a table of the lake looks like, and how that is kept in its Delta metadata.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake::DeltaTable;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::{StructField, StructType};
use deltalake::operations::create::CreateBuilder;
use deltalake::table::state::DeltaTableState;
use whocalled_types::Table;

use crate::Error;
use crate::error::WRITTEN;

/// The partition column of every table.
pub(crate) const DATE: &str = "date";

/// Table properties of ours: columns, separated by commas.
const SORT_BY: &str = "whocalled.sortBy";
const BLOOM: &str = "whocalled.bloom";

/// How a table of a new lake is made.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// The table.
    pub table: Table,
    /// Its columns. The last is `date`, the partition column, which the Parquet files do not hold.
    pub schema: SchemaRef,
    /// The columns by which every file is sorted.
    pub sort_by: &'static [&'static str],
    /// The columns that get a Bloom filter: those that are looked up by value.
    pub bloom: &'static [&'static str],
}

/// How the files of a table are laid out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The table's name, for messages.
    pub(crate) table: String,
    pub(crate) schema: SchemaRef,
    pub(crate) sort_by: Vec<String>,
    pub(crate) bloom: Vec<String>,
}

impl From<&TableSpec> for Layout {
    fn from(spec: &TableSpec) -> Self {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        Self {
            table: spec.table.name().to_owned(),
            schema: Arc::clone(&spec.schema),
            sort_by: names(spec.sort_by),
            bloom: names(spec.bloom),
        }
    }
}

impl Layout {
    /// The layout that a loaded table says it has.
    pub(crate) fn of(table: Table, state: &DeltaTableState) -> Result<Self, Error> {
        let schema = arrow_schema(state).map_err(|error| Error::arrow(table, error))?;
        let property = |name: &str| -> Vec<String> {
            let value = state.metadata().configuration().get(name);
            value.into_iter().flat_map(|it| it.split(',')).filter(|it| !it.is_empty()).map(str::to_owned).collect()
        };
        Ok(Self { table: table.name().to_owned(), schema, sort_by: property(SORT_BY), bloom: property(BLOOM) })
    }

    /// Whether the table is partitioned by date.
    pub(crate) fn has_date(&self) -> bool {
        self.schema.column_with_name(DATE).is_some()
    }

    /// The columns that Parquet files hold: all but the partition column.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let fields: Vec<_> = self.schema.fields().iter().filter(|it| it.name() != DATE).map(Arc::clone).collect();
        Arc::new(Schema::new(fields))
    }

    /// Makes the Delta table, empty. Of two that do so at the same time, one makes it.
    pub(crate) async fn create(&self, delta: &DeltaTable, title: &str) -> Result<DeltaTable, Error> {
        let columns: StructType =
            self.schema.as_ref().try_into_kernel().map_err(|error| Error::arrow(&self.table, error))?;
        let columns: Vec<StructField> = columns.fields().cloned().collect();
        let partitions = if self.has_date() { vec![DATE] } else { Vec::new() };
        let created = CreateBuilder::new()
            .with_log_store(delta.log_store())
            .with_table_name(title)
            .with_columns(columns)
            .with_partition_columns(partitions)
            .with_raise_if_key_not_exists(false)
            .with_configuration([
                ("delta.checkpointInterval", Some("50".to_owned())),
                (SORT_BY, Some(self.sort_by.join(","))),
                (BLOOM, Some(self.bloom.join(","))),
            ])
            .with_commit_properties(deltalake::kernel::transaction::CommitProperties::default().with_max_retries(0))
            .await;
        match created {
            Ok(table) => Ok(table),
            Err(error) => {
                let mut delta = delta.clone();
                // Whoever was faster made the same table.
                delta.load().await.map_err(|_| Error::delta(&self.table, WRITTEN, error))?;
                Ok(delta)
            }
        }
    }

    /// Fails unless `other` has the same columns.
    pub(crate) fn check_schema(&self, other: &SchemaRef) -> Result<(), Error> {
        let differs = |reason: String| Err(Error::Schema { table: self.table.clone(), reason });
        for field in self.schema.fields() {
            match other.field_with_name(field.name()) {
                Err(_) => return differs(format!("column {} is missing in the lake", field.name())),
                Ok(it) if it.data_type() != field.data_type() => {
                    return differs(format!(
                        "column {} is {} in the lake, not {}",
                        field.name(),
                        it.data_type(),
                        field.data_type()
                    ));
                }
                Ok(_) => {}
            }
        }
        match other.fields().iter().find(|it| self.schema.field_with_name(it.name()).is_err()) {
            Some(extra) => differs(format!("the lake has a column {} that is not known", extra.name())),
            None => Ok(()),
        }
    }
}

/// The columns of a loaded table, as Arrow types.
pub(crate) fn arrow_schema(state: &DeltaTableState) -> Result<SchemaRef, arrow::error::ArrowError> {
    let schema: Schema = state.schema().as_ref().try_into_arrow()?;
    let plain = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), field.is_nullable());
    Ok(Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>())))
}

/// `TIMESTAMP(us, UTC)`, the type of every instant.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
