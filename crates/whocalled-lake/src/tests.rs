//! Tests of the protocol on a small archive of our own making.

mod commit;
mod crash;
mod export;
mod growth;
mod lossy;
mod maintenance;
mod place;
mod receipts;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use tempfile::TempDir;
use whocalled_types::{Advance, Framing, Position, Table};

use crate::layout::instant;
use crate::read::read_file;
use crate::{
    Batch, BlobAdvance, BlobState, Error, Failpoints, Lake, LakeLocation, Snapshot, StorageOptions, TableSpec,
};

/// The tables that records of the test archive go to, in turn.
const TABLES: [Table; 3] = [Table::RequestResponse, Table::Audit, Table::Rejects];
/// How many bytes each record has.
const RECORD_BYTES: u64 = 10;
/// 2026-11-01T00:00:00Z in days and in microseconds.
const DAY: i32 = 20_758;
const DAY_MICROSECONDS: i64 = DAY as i64 * 86_400_000_000;

/// A blob, a generation and an offset: what makes a row that row.
type Key = (String, i32, i64);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_793_500_000, 0).unwrap()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", instant(), false),
        Field::new("account", DataType::Utf8, true),
        Field::new("correlation_id", DataType::Utf8, true),
        Field::new("blob", DataType::Utf8, false),
        Field::new("generation", DataType::Int32, false),
        Field::new("blob_offset", DataType::Int64, false),
        Field::new("date", DataType::Date32, false),
    ]))
}

fn specs() -> Vec<TableSpec> {
    Table::data()
        .map(|table| TableSpec { table, schema: schema(), sort_by: &["account", "time"], bloom: &["correlation_id"] })
        .collect()
}

/// Stands for an archive: how many records each blob has, and its generation.
#[derive(Debug, Clone, Default)]
struct Archive(BTreeMap<String, (u32, u64)>);

impl Archive {
    fn of(blobs: &[(&str, u64)]) -> Self {
        Self(blobs.iter().map(|(blob, records)| ((*blob).to_owned(), (0, *records))).collect())
    }

    fn grow(&mut self, blob: &str, records: u64) {
        self.0.entry(blob.to_owned()).or_default().1 += records;
    }

    fn replace(&mut self, blob: &str, records: u64) {
        let it = self.0.get_mut(blob).unwrap();
        *it = (it.0 + 1, records);
    }

    /// What a lake has to hold, by table.
    fn keys(&self) -> BTreeMap<Table, Vec<Key>> {
        let mut keys: BTreeMap<Table, Vec<Key>> = TABLES.iter().map(|table| (*table, Vec::new())).collect();
        for (blob, (generation, records)) in &self.0 {
            for record in 0..*records {
                let key = (blob.clone(), i32::try_from(*generation).unwrap(), offset(record));
                keys.get_mut(&table_of(record)).unwrap().push(key);
            }
        }
        keys
    }

    /// Everything that is not committed yet, as one batch.
    fn batch(&self, lake: &Lake) -> Batch {
        let mut batch = Batch { run_id: "run-1".to_owned(), archive: "directory".to_owned(), ..Batch::default() };
        for (blob, (generation, records)) in &self.0 {
            let position = known(lake).get(blob).map(|state| &state.position);
            let from = position.filter(|it| it.generation == *generation).map_or(0, |it| it.bytes);
            let new: Vec<u64> = (from / RECORD_BYTES..*records).collect();
            if new.is_empty() && position.is_some_and(|it| it.generation == *generation) {
                continue;
            }
            for table in TABLES {
                let records: Vec<u64> = new.iter().copied().filter(|it| table_of(*it) == table).collect();
                batch.push(table, rows(blob, *generation, &records));
            }
            let rejects = new.iter().filter(|it| table_of(**it) == Table::Rejects).count() as u64;
            let to = Position {
                generation: *generation,
                bytes: records * RECORD_BYTES,
                framing: Framing::Lines,
                tail_bytes: RECORD_BYTES,
                tail_hash: format!("hash of {records}"),
            };
            batch.advances.push(BlobAdvance {
                blob: blob.clone(),
                advance: Advance { from, to },
                listed_bytes: records * RECORD_BYTES,
                created_at: Some(now()),
                modified_at: None,
                record_count: new.len() as u64,
                row_count: new.len() as u64 - rejects,
                reject_count: rejects,
                finding: None,
            });
        }
        batch
    }

    async fn convert(&self, lake: &mut Lake) -> Result<crate::Committed, Error> {
        lake.commit(self.batch(lake), now()).await
    }
}

fn table_of(record: u64) -> Table {
    TABLES[usize::try_from(record % 3).unwrap()]
}

fn offset(record: u64) -> i64 {
    i64::try_from(record * RECORD_BYTES).unwrap()
}

/// Rows as convert makes them: `blob` is dictionary-encoded, and they are of two days, unsorted.
fn rows(blob: &str, generation: u32, records: &[u64]) -> RecordBatch {
    let day = |record: &u64| i32::try_from(record / 3 % 2).unwrap();
    let time = |record: &u64| DAY_MICROSECONDS + i64::from(day(record)) * 86_400_000_000 + 1_000_000 - offset(*record);
    let blobs: DictionaryArray<Int32Type> = records.iter().map(|_| blob).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(records.iter().map(time)).with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(records.iter().map(|it| format!("account-{}", it % 4 / 2)))),
        Arc::new(StringArray::from_iter_values(records.iter().map(|it| format!("{blob}-{it}")))),
        Arc::new(blobs),
        Arc::new(Int32Array::from(vec![i32::try_from(generation).unwrap(); records.len()])),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|it| offset(*it)))),
        Arc::new(Date32Array::from_iter_values(records.iter().map(|it| DAY + day(it)))),
    ];
    let schema = schema();
    let fields = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

/// The files of a table that a loaded lake shows, as Add actions, and their rows.
async fn read(lake: &Lake, table: Table) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for file in lake.files(table).unwrap() {
        let add = deltalake::kernel::Add {
            path: file.path.as_ref().split_once('/').unwrap().1.to_owned(),
            size: i64::try_from(file.bytes).unwrap(),
            partition_values: [("date".to_owned(), file.date.map(|it| it.to_string()))].into(),
            ..Default::default()
        };
        let rows = read_file(lake.storage.store(), &lake.table(table).unwrap().layout, &add, None).unwrap();
        let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(file.row_count, Some(rows.iter().map(|it| it.num_rows() as u64).sum()));
        all.extend(rows);
    }
    all
}

/// The keys of a table's rows in the order of its files.
async fn keys_of(lake: &Lake, table: Table) -> Vec<Key> {
    let mut keys = Vec::new();
    for rows in read(lake, table).await {
        let blobs = rows.column_by_name("blob").unwrap().as_string::<i32>();
        let generations = rows.column_by_name("generation").unwrap().as_primitive::<Int32Type>();
        let offsets = rows.column_by_name("blob_offset").unwrap().as_primitive::<Int64Type>();
        keys.extend(
            (0..rows.num_rows()).map(|row| (blobs.value(row).to_owned(), generations.value(row), offsets.value(row))),
        );
    }
    keys
}

/// The keys of every row that a loaded lake shows, sorted.
async fn keys(lake: &Lake) -> BTreeMap<Table, Vec<Key>> {
    let mut keys = BTreeMap::new();
    for table in TABLES {
        let mut of_table = keys_of(lake, table).await;
        of_table.sort();
        keys.insert(table, of_table);
    }
    keys
}

/// The lake holds every record of the archive once, and nothing else, and says so.
async fn assert_holds(lake: &Lake, archive: &Archive) {
    assert_eq!(keys(lake).await, archive.keys());
    let blobs: BTreeSet<&String> = known(lake).keys().collect();
    assert_eq!(blobs, archive.0.keys().collect());
    for (blob, (generation, records)) in &archive.0 {
        let state = &known(lake)[blob];
        assert_eq!((state.position.generation, state.position.bytes), (*generation, records * RECORD_BYTES), "{blob}");
        assert_eq!(state.row_count + state.reject_count, *records, "{blob}");
        assert_eq!(state.position.tail_hash, format!("hash of {records}"));
    }
}

/// The positions of a lake, where a test cannot wait for them.
fn known(lake: &Lake) -> &BTreeMap<String, BlobState> {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(lake.positions())).unwrap()
}

fn location(directory: &Path) -> LakeLocation {
    LakeLocation::parse(directory.to_str().unwrap()).unwrap()
}

async fn open_or_create(directory: &Path, failpoints: Failpoints) -> Result<Lake, Error> {
    let options = StorageOptions::default().with_failpoints(failpoints);
    Lake::open_or_create(location(directory), options, &specs(), now()).await
}

async fn lake(directory: &TempDir) -> Lake {
    open_or_create(&directory.path().join("lake"), Failpoints::default()).await.unwrap()
}

/// Opens as a reader does: without recovery.
/// Opens a lake, of which a snapshot must show the same.
async fn open(directory: &TempDir) -> Lake {
    let lake = Lake::open(location(&directory.path().join("lake")), StorageOptions::default()).await.unwrap();
    let snapshot = snapshot(directory).await;
    for table in Table::ALL {
        assert_eq!(snapshot.files(table).await.unwrap(), lake.files(table).unwrap(), "{table}");
        assert_eq!(snapshot.schema(table).await.unwrap(), lake.schema(table).unwrap(), "{table}");
    }
    assert_eq!(state(&snapshot), state(&lake.snapshot()));
    lake
}

async fn snapshot(directory: &TempDir) -> Snapshot {
    Snapshot::open(&location(&directory.path().join("lake")), &StorageOptions::default()).await.unwrap()
}

/// Where the views of a snapshot are.
fn state(snapshot: &Snapshot) -> String {
    format!("{:?}", snapshot.view_set(["a view"]))
}

/// Stops at one occurrence of one failpoint, once it is armed.
#[derive(Clone, Default)]
struct Bomb(Arc<Mutex<Option<(&'static str, usize)>>>);

impl Bomb {
    fn arm(&self, name: &'static str, occurrence: usize) {
        *self.0.lock().unwrap() = Some((name, occurrence));
    }

    /// Whether it has gone off, or was never armed.
    fn is_spent(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    fn failpoints(&self) -> Failpoints {
        let bomb = self.clone();
        Failpoints::new(move |reached| {
            let mut armed = bomb.0.lock().unwrap();
            match armed.as_mut() {
                Some((name, 0)) if *name == reached => {
                    *armed = None;
                    Err(Error::Interrupted { at: reached })
                }
                Some((name, occurrence)) if *name == reached => {
                    *occurrence -= 1;
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }
}

fn days(days: i64) -> TimeDelta {
    TimeDelta::days(days)
}
