//! The ledger's rows: what a batch committed, and the file actions that belong to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use deltalake::kernel::{Action, Add};
use futures::TryStreamExt;
use object_store::ObjectStore;
use whocalled_types::{BlobFinding, Table};

use crate::batch::BlobAdvance;
use crate::delta::LakeTable;
use crate::layout::{DATE, Layout, TableSpec, instant};
use crate::read::read_file;
use crate::{Error, statistics};

pub(crate) const RANGE: &str = "range";
const FILE: &str = "file";

/// How the ledger is made. Its rows are of two kinds: `range`, one per blob range of a batch, and
/// `file`, one per file action of a batch.
pub fn ledger_spec() -> TableSpec {
    let required = |name: &str, data_type| Field::new(name, data_type, false);
    let optional = |name: &str, data_type| Field::new(name, data_type, true);
    let fields = vec![
        required("batch", DataType::Int64),
        required("kind", DataType::Utf8),
        required("committed_at", instant()),
        required("run_id", DataType::Utf8),
        optional("archive", DataType::Utf8),
        optional("blob", DataType::Utf8),
        optional("generation", DataType::Int32),
        optional("from_bytes", DataType::Int64),
        optional("to_bytes", DataType::Int64),
        optional("listed_bytes", DataType::Int64),
        optional("framing", DataType::Utf8),
        optional("tail_bytes", DataType::Int64),
        optional("tail_hash", DataType::Utf8),
        optional("created_at", instant()),
        optional("modified_at", instant()),
        optional("record_count", DataType::Int64),
        optional("row_count", DataType::Int64),
        optional("reject_count", DataType::Int64),
        optional("finding", DataType::Utf8),
        optional("table_name", DataType::Utf8),
        optional("file_action", DataType::Utf8),
        optional("file", DataType::Utf8),
        required(DATE, DataType::Date32),
    ];
    TableSpec {
        table: Table::Ledger,
        schema: Arc::new(Schema::new(fields)),
        sort_by: &["batch", "kind", "blob", "to_bytes"],
        bloom: &["blob"],
    }
}

/// What one commit to the ledger says.
pub(crate) struct Entry<'a> {
    pub(crate) batch: i64,
    pub(crate) run_id: &'a str,
    pub(crate) archive: Option<&'a str>,
    pub(crate) committed_at: DateTime<Utc>,
    pub(crate) advances: &'a [BlobAdvance],
    pub(crate) actions: &'a BTreeMap<Table, Vec<Action>>,
}

/// A `file` row: its table, `add` or `remove`, and the action as JSON.
struct FileRow {
    table: &'static str,
    action: &'static str,
    json: String,
}

impl Entry<'_> {
    /// The rows of the entry: ranges first, then files.
    pub(crate) fn rows(&self) -> Result<RecordBatch, Error> {
        let files = self.file_rows()?;
        let count = self.advances.len() + files.len();
        let kinds = self.advances.iter().map(|_| RANGE).chain(files.iter().map(|_| FILE));
        let days = self.committed_at.date_naive().signed_duration_since(NaiveDate::default()).num_days();
        let days = i32::try_from(days).map_err(|_| Error::damaged_ledger("the clock is out of range"))?;
        let at = |it: DateTime<Utc>| it.timestamp_micros();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![self.batch; count])),
            Arc::new(StringArray::from_iter_values(kinds)),
            Arc::new(TimestampMicrosecondArray::from(vec![at(self.committed_at); count]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec![self.run_id; count])),
            Arc::new(StringArray::from(vec![self.archive; count])),
            self.text(&files, |it| Some(it.blob.as_str())),
            Arc::new(Int32Array::from(
                self.ranges(&files, |it| i32::try_from(it.advance.to.generation).map(Some).map_err(|_| ()))?,
            )),
            self.counts(&files, |it| it.advance.from)?,
            self.counts(&files, |it| it.advance.to.bytes)?,
            self.counts(&files, |it| it.listed_bytes)?,
            self.text(&files, |it| Some(it.advance.to.framing.name())),
            self.counts(&files, |it| it.advance.to.tail_bytes)?,
            self.text(&files, |it| Some(it.advance.to.tail_hash.as_str())),
            self.instants(&files, |it| it.created_at.map(at))?,
            self.instants(&files, |it| it.modified_at.map(at))?,
            self.counts(&files, |it| it.record_count)?,
            self.counts(&files, |it| it.row_count)?,
            self.counts(&files, |it| it.reject_count)?,
            self.text(&files, |it| it.finding.map(BlobFinding::name)),
            self.file_text(&files, |it| it.table),
            self.file_text(&files, |it| it.action),
            self.file_text(&files, |it| it.json.as_str()),
            Arc::new(Date32Array::from(vec![days; count])),
        ];
        crate::data_file::record_batch(Table::Ledger.name(), ledger_spec().schema, columns, count)
    }

    fn file_rows(&self) -> Result<Vec<FileRow>, Error> {
        let mut rows = Vec::new();
        for (table, actions) in self.actions {
            for action in actions {
                let json = serde_json::to_string(action)
                    .map_err(|error| Error::damaged(table, format!("a file action is not JSON: {error}")))?;
                let action = if matches!(action, Action::Remove(_)) { "remove" } else { "add" };
                rows.push(FileRow { table: table.name(), action, json });
            }
        }
        Ok(rows)
    }

    /// A column that only `range` rows have.
    fn ranges<T>(
        &self,
        files: &[FileRow],
        value: impl Fn(&BlobAdvance) -> Result<Option<T>, ()>,
    ) -> Result<Vec<Option<T>>, Error> {
        let ranges = self
            .advances
            .iter()
            .map(|it| value(it).map_err(|()| Error::damaged(&it.blob, "a count is larger than the ledger can hold")));
        ranges.chain(files.iter().map(|_| Ok(None))).collect()
    }

    fn counts(&self, files: &[FileRow], value: impl Fn(&BlobAdvance) -> u64) -> Result<ArrayRef, Error> {
        let values = self.ranges(files, |it| i64::try_from(value(it)).map(Some).map_err(|_| ()))?;
        Ok(Arc::new(Int64Array::from(values)))
    }

    fn instants(&self, files: &[FileRow], value: impl Fn(&BlobAdvance) -> Option<i64>) -> Result<ArrayRef, Error> {
        let values = self.ranges(files, |it| Ok(value(it)))?;
        Ok(Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")))
    }

    fn text<'b>(&'b self, files: &[FileRow], value: impl Fn(&'b BlobAdvance) -> Option<&'b str>) -> ArrayRef {
        Arc::new(self.advances.iter().map(value).chain(files.iter().map(|_| None)).collect::<StringArray>())
    }

    /// A column that only `file` rows have.
    fn file_text<'b>(&self, files: &'b [FileRow], value: impl Fn(&'b FileRow) -> &'b str) -> ArrayRef {
        let files = files.iter().map(|it| Some(value(it)));
        Arc::new(self.advances.iter().map(|_| None).chain(files).collect::<StringArray>())
    }
}

/// The last batch of a ledger: the only one that may not be in every table yet.
#[derive(Debug, Default)]
pub(crate) struct LastBatch {
    /// Its number; 0 before the first.
    pub(crate) batch: i64,
    /// The tables that it has file actions of.
    tables: BTreeSet<Table>,
    /// The files of the ledger that hold it; one, as far as we write them.
    files: Vec<Add>,
}

impl LastBatch {
    /// The last batch of a loaded ledger.
    pub(crate) async fn of(store: &Arc<dyn ObjectStore>, ledger: &LakeTable) -> Result<Self, Error> {
        let adds = ledger.adds()?;
        let (last, said) = tokio::try_join!(Self::read(store, &ledger.layout, &adds), ledger.last_batch())?;
        if said != last.batch {
            return Err(Error::damaged_ledger(format!(
                "its log ends with batch {said} and its rows with batch {}",
                last.batch
            )));
        }
        Ok(last)
    }

    /// What it has still to do, by table. `reached` are its tables, and the batch that each has.
    pub(crate) async fn pending(
        &self,
        store: &Arc<dyn ObjectStore>,
        ledger: &LakeTable,
        reached: Vec<(Table, i64)>,
    ) -> Result<BTreeMap<Table, Vec<Action>>, Error> {
        let mut unreached = BTreeSet::new();
        for (table, reached) in reached {
            if reached > self.batch {
                return Err(Error::damaged(table, format!("it has batch {reached}, the ledger only {}", self.batch)));
            }
            if reached < self.batch {
                unreached.insert(table);
            }
        }
        self.actions(store, &ledger.layout, &unreached).await
    }

    /// The paths of the ledger's files that hold it, which no other state of any lake has for its last.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Finds it in the files whose statistics say that it is there. Its actions are left, which are
    /// long and rarely needed.
    async fn read(store: &Arc<dyn ObjectStore>, layout: &Layout, files: &[Add]) -> Result<Self, Error> {
        let highest = files.iter().filter_map(batch_max).max();
        let files = files.iter().filter(|file| batch_max(file).is_none_or(|it| Some(it) == highest));
        let mut last = Self { files: files.cloned().collect(), ..Self::default() };
        for file in &last.files {
            let mut rows = read_file(store, layout, file, Some(&["batch", "kind", "table_name"]))?;
            while let Some(rows) = rows.try_next().await? {
                let highest = arrow::compute::max(integers(&rows, "batch")?).unwrap_or(0);
                if highest > last.batch {
                    (last.batch, last.tables) = (highest, BTreeSet::new());
                }
                let tables = file_rows(&rows, last.batch)?.map(|row| table_at(&rows, row));
                last.tables.extend(tables.collect::<Result<BTreeSet<_>, _>>()?);
            }
        }
        Ok(last)
    }

    /// The tables that it has file actions of.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Table> {
        self.tables.iter().copied()
    }

    /// Its actions of these tables.
    pub(crate) async fn actions(
        &self,
        store: &Arc<dyn ObjectStore>,
        layout: &Layout,
        tables: &BTreeSet<Table>,
    ) -> Result<BTreeMap<Table, Vec<Action>>, Error> {
        let mut actions: BTreeMap<Table, Vec<Action>> = BTreeMap::new();
        if tables.is_empty() {
            return Ok(actions);
        }
        for file in &self.files {
            let mut rows = read_file(store, layout, file, Some(&["batch", "kind", "table_name", "file"]))?;
            while let Some(rows) = rows.try_next().await? {
                let files = texts(&rows, "file")?;
                for row in file_rows(&rows, self.batch)? {
                    let table = table_at(&rows, row)?;
                    if !tables.contains(&table) {
                        continue;
                    }
                    let action = serde_json::from_str(files.value(row)).map_err(|error| {
                        Error::damaged_ledger(format!("a file action of batch {} cannot be read: {error}", self.batch))
                    })?;
                    actions.entry(table).or_default().push(action);
                }
            }
        }
        Ok(actions)
    }
}

/// The `file` rows of a batch.
fn file_rows(rows: &RecordBatch, batch: i64) -> Result<impl Iterator<Item = usize>, Error> {
    let (batches, kinds) = (integers(rows, "batch")?, texts(rows, "kind")?);
    Ok((0..rows.num_rows()).filter(move |row| batches.value(*row) == batch && kinds.value(*row) == FILE))
}

fn table_at(rows: &RecordBatch, row: usize) -> Result<Table, Error> {
    let name = texts(rows, "table_name")?.value(row);
    let batch = integers(rows, "batch")?.value(row);
    Table::from_name(name).ok_or_else(|| Error::damaged_ledger(format!("batch {batch} has files of a table `{name}`")))
}

/// The number of the last batch in a file of the ledger, if its statistics say so.
pub(crate) fn batch_max(file: &Add) -> Option<i64> {
    statistics::largest(file.stats.as_deref(), "batch")
}

pub(crate) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    rows.column_by_name(name).ok_or_else(|| Error::damaged_ledger(format!("it has no column {name}")))
}

pub(crate) fn integers<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, Error> {
    let array = column(rows, name)?.as_primitive_opt::<Int64Type>();
    array.ok_or_else(|| Error::damaged_ledger(format!("column {name} holds no integers")))
}

pub(crate) fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
    let array = column(rows, name)?.as_string_opt::<i32>();
    array.ok_or_else(|| Error::damaged_ledger(format!("column {name} holds no text")))
}

pub(crate) fn instant_at(rows: &RecordBatch, name: &str, row: usize) -> Result<Option<DateTime<Utc>>, Error> {
    let array = column(rows, name)?.as_primitive_opt::<TimestampMicrosecondType>();
    let array = array.ok_or_else(|| Error::damaged_ledger(format!("column {name} holds no instants")))?;
    Ok(array.is_valid(row).then(|| DateTime::from_timestamp_micros(array.value(row))).flatten())
}
