//! Writes rows as a Delta table outside the lake, or replaces some dates of one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::{Stream, StreamExt};

use crate::create::read_marker;
use crate::data_file::{convert, date_of, record_batch, remove, write_rows};
use crate::delta::{CommitOutcome, LakeTable};
use crate::error::{BoxError, Unfinished};
use crate::failpoint::{EXPORT_AFTER, EXPORT_FILE_WRITTEN};
use crate::layout::{DATE, Layout, arrow_schema, instant};
use crate::location::Storage;
use crate::{Error, LakeLocation, StorageOptions};

/// How many rows, and bytes in memory, are gathered to become a file per date.
const FLUSH_ROWS: usize = 1_000_000;
const FLUSH_BYTES: usize = 256 << 20;

/// A Delta table to be written outside the lake.
#[derive(Debug, Clone)]
pub struct DeltaExport<'a> {
    /// The directory of the table itself.
    pub location: &'a LakeLocation,
    /// How to reach it.
    pub options: &'a StorageOptions,
    /// The table's name in its metadata.
    pub name: &'a str,
    /// The columns of the rows. With a `date` column of type `Date32` the table is partitioned by it.
    pub schema: SchemaRef,
    /// The dates whose rows are replaced; all rows if `None`, or if there is no `date` column.
    pub dates: Option<RangeInclusive<NaiveDate>>,
}

/// What an export to Delta did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many rows were written.
    pub rows: u64,
    /// How many files were written.
    pub files_added: usize,
    /// How many files they replaced.
    pub files_removed: usize,
    /// The Delta version that shows them.
    pub version: u64,
}

/// Creates the table if there is none, and replaces the rows of the dates asked for with `rows`, in
/// one Delta commit: readers see all of it or nothing. Rows of other dates are refused. Types that
/// Delta does not have become the nearest that it has: unsigned integers become signed, every
/// instant a microsecond in UTC.
pub async fn write_delta(
    export: DeltaExport<'_>,
    rows: impl Stream<Item = Result<RecordBatch, BoxError>> + Unpin + Send,
    now: DateTime<Utc>,
) -> Result<Exported, Error> {
    write(export, rows, now).await.map_err(|error| error.leaving(Unfinished::Export))
}

async fn write(
    export: DeltaExport<'_>,
    mut rows: impl Stream<Item = Result<RecordBatch, BoxError>> + Unpin + Send,
    now: DateTime<Utc>,
) -> Result<Exported, Error> {
    let location = export.location;
    location.check_directory(true).await?;
    let storage = Storage::connect(location, export.options)?;
    if read_marker(location, storage.store()).await? {
        return Err(Error::Foreign { location: location.to_string(), found: "a lake of whocalled".to_owned() });
    }
    let layout = Layout {
        table: export.name.to_owned(),
        schema: delta_schema(export.name, &export.schema)?,
        sort_by: Vec::new(),
        bloom: Vec::new(),
    };
    let mut table = open_table(location, &storage, layout).await?;

    let mut writer = Writer {
        storage: &storage,
        layout: Arc::clone(&table.layout),
        options: export.options,
        now,
        held: Vec::new(),
        held_rows: 0,
        held_bytes: 0,
        actions: Vec::new(),
        exported: Exported::default(),
    };
    while let Some(rows) = rows.next().await {
        writer.push(&rows.map_err(|source| Error::Input { source })?).await?;
    }
    writer.flush().await?;
    let (mut actions, mut exported) = (writer.actions, writer.exported);

    let dates = export.dates.filter(|_| table.layout.has_date());
    let asked = |date: Option<NaiveDate>| dates.as_ref().is_none_or(|dates| date.is_some_and(|it| dates.contains(&it)));
    for action in &actions {
        if let Action::Add(add) = action
            && !asked(date_of(&add.partition_values))
        {
            return Err(Error::Rows {
                table: export.name.to_owned(),
                reason: format!("a row is of {:?}, which was not asked for", date_of(&add.partition_values)),
            });
        }
    }
    for add in table.adds()?.iter().filter(|add| asked(date_of(&add.partition_values))) {
        exported.files_removed += 1;
        actions.push(Action::Remove(remove(add, true, now)));
    }
    if !actions.is_empty() {
        let partition_by = table.layout.has_date().then(|| vec![DATE.to_owned()]);
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: None };
        if table.commit(actions, operation, None, now).await? == CommitOutcome::Moved {
            return Err(Error::Busy { location: location.to_string() });
        }
    }
    export.options.failpoints.hit(EXPORT_AFTER)?;
    exported.version = table.version();
    Ok(exported)
}

/// Loads the table, or makes it if nothing is there. Its columns are those of `layout`.
async fn open_table(location: &LakeLocation, storage: &Storage, layout: Layout) -> Result<LakeTable, Error> {
    let read = |error| Error::delta(location, "read", error);
    let mut delta = storage.table("")?;
    if delta.verify_deltatable_existence().await.map_err(read)? {
        delta.load().await.map_err(read)?;
    } else {
        let listed = storage.store().list_with_delimiter(None).await;
        let found = listed.map_err(|error| Error::storage(location.to_string(), error))?;
        let other = found.objects.first().map(|it| &it.location).or_else(|| found.common_prefixes.first());
        if let Some(other) = other {
            return Err(Error::Foreign { location: location.to_string(), found: other.to_string() });
        }
        delta = layout.create(&delta, &layout.table).await?;
    }
    let state = delta.snapshot().map_err(read)?;
    layout.check_schema(&arrow_schema(state).map_err(|error| Error::arrow(&layout.table, error))?)?;
    if state.metadata().partition_columns().iter().any(|it| it == DATE) != layout.has_date() {
        return Err(Error::Schema { table: layout.table, reason: "it is partitioned in another way".to_owned() });
    }
    Ok(LakeTable::new(delta, layout))
}

/// Gathers rows, and writes files that no version of the table names yet.
struct Writer<'a> {
    storage: &'a Storage,
    layout: Arc<Layout>,
    options: &'a StorageOptions,
    now: DateTime<Utc>,
    held: Vec<RecordBatch>,
    /// How many rows, and bytes in memory, are held.
    held_rows: usize,
    held_bytes: usize,
    actions: Vec<Action>,
    exported: Exported,
}

impl Writer<'_> {
    async fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let fields = self.layout.schema.fields();
        if rows.num_columns() != fields.len() {
            return Err(Error::Rows {
                table: self.layout.table.clone(),
                reason: format!("they have {} columns, not {}", rows.num_columns(), fields.len()),
            });
        }
        let table = &self.layout.table;
        let pairs = fields.iter().zip(rows.columns());
        let columns: Vec<ArrayRef> =
            pairs.map(|(field, column)| convert(table, column, field.data_type())).collect::<Result<_, _>>()?;
        let schema = Arc::clone(&self.layout.schema);
        let rows = record_batch(&self.layout.table, schema, columns, rows.num_rows())?;
        self.held_rows += rows.num_rows();
        self.held_bytes += rows.get_array_memory_size();
        self.held.push(rows);
        if self.held_rows >= FLUSH_ROWS || self.held_bytes >= FLUSH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let mut held = std::mem::take(&mut self.held);
        (self.held_rows, self.held_bytes) = (0, 0);
        held.retain(|rows| rows.num_rows() > 0);
        let hit = || self.options.failpoints.hit(EXPORT_FILE_WRITTEN);
        let written = write_rows(self.storage.store(), "", &self.layout, held, "export", self.now, hit).await?;
        for file in written {
            self.exported.rows += file.row_count;
            self.exported.files_added += 1;
            self.actions.push(Action::Add(file.add));
        }
        Ok(())
    }
}

/// The columns that Delta has for these, all of them optional.
fn delta_schema(name: &str, schema: &SchemaRef) -> Result<SchemaRef, Error> {
    let fields = schema.fields().iter().map(|field| match delta_type(field.data_type()) {
        DataType::Date32 if field.name() == DATE => Ok(Field::new(DATE, DataType::Date32, true)),
        other if field.name() == DATE => Err(Error::Schema {
            table: name.to_owned(),
            reason: format!("column date, by which it is partitioned, is {other} and not a date"),
        }),
        other => Ok(Field::new(field.name(), other, true)),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?)))
}

fn delta_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => delta_type(value),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(..) => instant(),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => DataType::Utf8,
        other => other.clone(),
    }
}
