//! How far each blob is committed: what the ledger's `range` rows come to.
//!
//! The ledger grows with every batch, and what it comes to only with the number of blobs. So that
//! not all of it is read at every start, the sum is kept beside it now and then, in one file, and a
//! start reads that file and what the ledger has gained since. The kept file decides nothing: it is
//! made from the ledger, and where it is missing, damaged, or of another history than the ledger's,
//! the ledger is read from its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake::kernel::Add;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use tracing::warn;
use whocalled_types::{BlobFinding, Framing, Position, Table};

use crate::batch::BlobState;
use crate::data_file::{blocking, record_batch};
use crate::failpoint::{POSITIONS_AFTER, POSITIONS_BEFORE};
use crate::layout::Layout;
use crate::ledger::{RANGE, batch_max, column, instant_at, integers, ledger_spec, texts};
use crate::read::read_file;
use crate::{Error, Lake};

/// The columns that positions are made of.
const COLUMNS: [&str; 16] = [
    "batch",
    "kind",
    "committed_at",
    "archive",
    "blob",
    "generation",
    "to_bytes",
    "listed_bytes",
    "framing",
    "tail_bytes",
    "tail_hash",
    "created_at",
    "modified_at",
    "row_count",
    "reject_count",
    "finding",
];
/// The name of the kept file in the ledger's directory; Delta readers overlook it.
const KEPT: &str = "_positions.parquet";
/// The key in its footer under which [`Stamp`] is.
const STAMP: &str = "whocalled.positions";
/// Comes before every batch.
const BEFORE_ALL: (i64, DateTime<Utc>) = (0, DateTime::UNIX_EPOCH);
/// After how many files of the ledger that had to be read one by one the sum is kept again.
const FILES_MAX: usize = 32;

/// How far each blob is committed, as of a version of the ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    pub(crate) blobs: BTreeMap<String, BlobState>,
    /// Where blobs were read from.
    pub(crate) archives: BTreeSet<String>,
    /// The last batch in it, and when that was committed.
    last: (i64, DateTime<Utc>),
    /// The ledger's files that are in it.
    files: BTreeSet<String>,
    /// How many of them are not in the kept file.
    unkept_count: usize,
}

/// What the kept file says of itself.
#[derive(Serialize, Deserialize)]
struct Stamp {
    batch: i64,
    committed_at_us: i64,
    archives: BTreeSet<String>,
}

impl Positions {
    /// Reads what the ledger's files come to.
    pub(crate) async fn read(store: &Arc<dyn ObjectStore>, layout: &Layout, files: &[Add]) -> Result<Self, Error> {
        match Self::read_kept(store).await {
            Ok(Some(kept)) => {
                if let Some(positions) = kept.followed_by(store, layout, files).await? {
                    return Ok(positions);
                }
                warn!("the kept positions are not of this ledger: reading all of it");
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "the kept positions cannot be read: reading the whole ledger"),
        }
        let mut positions = Self::default();
        for file in files {
            positions.take_in(store, layout, file, BEFORE_ALL).await?;
        }
        Ok(positions)
    }

    /// Brings positions up to the ledger's files of a later version.
    pub(crate) async fn update(
        mut self,
        store: &Arc<dyn ObjectStore>,
        layout: &Layout,
        files: &[Add],
    ) -> Result<Self, Error> {
        let there: BTreeSet<&str> = files.iter().map(|it| it.path.as_str()).collect();
        if self.files.iter().any(|it| !there.contains(it.as_str())) {
            // Compacted by another run: the new files hold again what is known.
            return Self::read(store, layout, files).await;
        }
        for file in files {
            if !self.files.contains(&file.path) {
                self.take_in(store, layout, file, BEFORE_ALL).await?;
            }
        }
        Ok(self)
    }

    /// Adds a batch that this process has committed itself, and the ledger's files that say so.
    pub(crate) fn commit(
        &mut self,
        batch: (i64, DateTime<Utc>),
        blobs: BTreeMap<String, BlobState>,
        archive: Option<&str>,
        files: Vec<String>,
    ) {
        self.last = batch;
        self.blobs.extend(blobs);
        self.archives.extend(archive.map(str::to_owned));
        self.unkept_count += files.len();
        self.files.extend(files);
    }

    /// Takes note that the same rows are in other files now.
    pub(crate) fn moved_to(&mut self, files: &[Add]) {
        self.files = files.iter().map(|it| it.path.clone()).collect();
    }

    /// Takes in the ranges of a ledger's file that are of batches after `known`; whether that one is
    /// there, too.
    async fn take_in(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        layout: &Layout,
        file: &Add,
        known: (i64, DateTime<Utc>),
    ) -> Result<bool, Error> {
        let mut is_there = false;
        let mut rows = read_file(store, layout, file, Some(&COLUMNS))?;
        while let Some(rows) = rows.try_next().await? {
            self.fold(&rows, known.0)?;
            let batches = integers(&rows, "batch")?;
            if let Some(row) = (0..rows.num_rows()).find(|row| batches.value(*row) == known.0) {
                is_there |= instant_at(&rows, "committed_at", row)? == Some(known.1);
            }
        }
        self.files.insert(file.path.clone());
        self.unkept_count += 1;
        Ok(is_there)
    }

    /// Takes in the rows of batches after `known`, in any order.
    fn fold(&mut self, rows: &RecordBatch, known: i64) -> Result<(), Error> {
        let (batches, kinds, archives) = (integers(rows, "batch")?, texts(rows, "kind")?, texts(rows, "archive")?);
        let ranges = Ranges::of(rows)?;
        for row in (0..rows.num_rows()).filter(|row| batches.value(*row) > known) {
            if batches.value(row) > self.last.0 {
                self.last = (batches.value(row), instant_at(rows, "committed_at", row)?.unwrap_or_default());
            }
            if kinds.value(row) != RANGE {
                continue;
            }
            if archives.is_valid(row) && !self.archives.contains(archives.value(row)) {
                self.archives.insert(archives.value(row).to_owned());
            }
            let state = ranges.state(row)?;
            match self.blobs.get_mut(ranges.blob.value(row)) {
                Some(known) => merge(known, &state),
                None => drop(self.blobs.insert(ranges.blob.value(row).to_owned(), state)),
            }
        }
        Ok(())
    }

    /// Kept positions with what the ledger has gained since; `None` if the ledger does not hold their
    /// last batch as they do, as after it was restored to an earlier version and went on from there.
    async fn followed_by(
        mut self,
        store: &Arc<dyn ObjectStore>,
        layout: &Layout,
        files: &[Add],
    ) -> Result<Option<Self>, Error> {
        let (known, mut is_there) = (self.last, false);
        for file in files {
            if batch_max(file).is_some_and(|it| it < known.0) {
                self.files.insert(file.path.clone());
            } else {
                is_there |= self.take_in(store, layout, file, known).await?;
            }
        }
        Ok(is_there.then_some(self))
    }

    async fn read_kept(store: &Arc<dyn ObjectStore>) -> Result<Option<Self>, Error> {
        let path = kept_path();
        let bytes = match store.get(&path).await {
            Ok(found) => found.bytes().await.map_err(|error| Error::storage(path.to_string(), error))?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage(path.to_string(), error)),
        };
        blocking(Table::Ledger.name(), move || Self::decode(bytes)).await.map(Some)
    }

    fn decode(bytes: Bytes) -> Result<Self, Error> {
        let failed = |source| Error::Parquet { path: kept_path().to_string(), source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(failed)?;
        let pairs = builder.metadata().file_metadata().key_value_metadata();
        let stamp = pairs.into_iter().flatten().find(|it| it.key == STAMP).and_then(|it| it.value.as_deref());
        let stamp: Stamp = serde_json::from_str(stamp.unwrap_or_default())
            .map_err(|error| Error::damaged(kept_path(), error.to_string()))?;
        let mut positions = Self::default();
        for rows in builder.build().map_err(failed)? {
            positions.fold(&rows.map_err(|error| Error::arrow(Table::Ledger, error))?, 0)?;
        }
        let at = DateTime::from_timestamp_micros(stamp.committed_at_us);
        positions.last = (stamp.batch, at.ok_or_else(|| Error::damaged(kept_path(), "its time is out of range"))?);
        positions.archives = stamp.archives;
        Ok(positions)
    }

    /// Costs CPU time: not for an async thread.
    fn encode(&self) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Parquet { path: kept_path().to_string(), source };
        let stamp = Stamp {
            batch: self.last.0,
            committed_at_us: self.last.1.timestamp_micros(),
            archives: self.archives.clone(),
        };
        let stamp = serde_json::to_string(&stamp).map_err(|it| Error::damaged(kept_path(), it.to_string()))?;
        let rows = self.rows()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(vec![KeyValue::new(STAMP.to_owned(), stamp)]))
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).map_err(failed)?;
        writer.write(&rows).map_err(failed)?;
        writer.close().map_err(failed)?;
        Ok(bytes)
    }

    /// A `range` row for each blob, as if it had been committed at once.
    fn rows(&self) -> Result<RecordBatch, Error> {
        let states = || self.blobs.values();
        let counts = |value: fn(&BlobState) -> u64| -> Result<ArrayRef, Error> {
            let counts = states().map(|it| i64::try_from(value(it)));
            let counts = counts.collect::<Result<Vec<_>, _>>();
            Ok(Arc::new(Int64Array::from(counts.map_err(|_| Error::damaged_ledger("a count is too large"))?)))
        };
        let text = |value: fn(&BlobState) -> Option<&str>| -> ArrayRef {
            Arc::new(states().map(value).collect::<StringArray>())
        };
        let instants = |value: fn(&BlobState) -> Option<DateTime<Utc>>| -> ArrayRef {
            let values = states().map(|it| value(it).map(|it| it.timestamp_micros()));
            Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let generations = states().map(|it| i32::try_from(it.position.generation)).collect::<Result<Vec<_>, _>>();
        let generations = generations.map_err(|_| Error::damaged_ledger("a generation is too large"))?;
        let finding = |it: &BlobState| match (it.gone, it.torn) {
            (true, _) => Some(BlobFinding::Gone.name()),
            (_, true) => Some(BlobFinding::Torn.name()),
            _ => None,
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(states().map(|it| it.last_batch))),
            text(|_| Some(RANGE)),
            instants(|it| Some(it.committed_at)),
            text(|_| None),
            Arc::new(StringArray::from_iter_values(self.blobs.keys())),
            Arc::new(Int32Array::from(generations)),
            counts(|it| it.position.bytes)?,
            counts(|it| it.listed_bytes)?,
            text(|it| Some(it.position.framing.name())),
            counts(|it| it.position.tail_bytes)?,
            text(|it| Some(it.position.tail_hash.as_str())),
            instants(|it| it.created_at),
            instants(|it| it.modified_at),
            counts(|it| it.row_count)?,
            counts(|it| it.reject_count)?,
            text(finding),
        ];
        let ledger = ledger_spec().schema;
        let fields: Vec<Field> = COLUMNS.iter().filter_map(|it| ledger.field_with_name(it).ok().cloned()).collect();
        record_batch(Table::Ledger.name(), Arc::new(Schema::new(fields)), columns, self.blobs.len())
    }
}

impl Lake {
    /// Keeps the positions beside the ledger if many files of it had to be read for them, or always.
    /// That this fails costs only time, later.
    pub(crate) async fn keep_positions(&mut self, always: bool) -> Result<(), Error> {
        let Some(positions) = self.positions.get() else { return Ok(()) };
        if positions.last.0 == 0 || !(always || positions.unkept_count >= FILES_MAX) {
            return Ok(());
        }
        self.failpoints.hit(POSITIONS_BEFORE)?;
        let taken = positions.clone();
        let bytes = blocking(Table::Ledger.name(), move || taken.encode()).await?;
        match self.storage.store().put(&kept_path(), bytes.into()).await {
            Ok(_) => {
                if let Some(positions) = self.positions.get_mut() {
                    positions.unkept_count = 0;
                }
            }
            Err(error) => warn!(%error, "the positions could not be kept beside the ledger"),
        }
        self.failpoints.hit(POSITIONS_AFTER)
    }
}

fn kept_path() -> Path {
    Path::from_iter([Table::Ledger.name(), KEPT])
}

/// Joins what two ranges of one blob say: counts add up within a generation, and everything else
/// is as the furthest range has it. That a blob is gone, or stays torn, is said by an empty
/// range, which follows another of the same end.
fn merge(known: &mut BlobState, other: &BlobState) {
    let reach = |it: &BlobState| (it.position.generation, it.position.bytes, it.last_batch, it.gone, it.torn);
    let (mut last, first) = if reach(other) > reach(known) { (other.clone(), &*known) } else { (known.clone(), other) };
    if last.position.generation == first.position.generation {
        last.row_count += first.row_count;
        last.reject_count += first.reject_count;
    }
    *known = last;
}

/// The columns of `range` rows, found once for many rows.
struct Ranges<'a> {
    batch: &'a Int64Array,
    blob: &'a StringArray,
    generation: &'a Int32Array,
    to_bytes: &'a Int64Array,
    listed_bytes: &'a Int64Array,
    framing: &'a StringArray,
    tail_bytes: &'a Int64Array,
    tail_hash: &'a StringArray,
    row_count: &'a Int64Array,
    reject_count: &'a Int64Array,
    finding: &'a StringArray,
    rows: &'a RecordBatch,
}

impl<'a> Ranges<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, Error> {
        let generation = column(rows, "generation")?.as_primitive_opt::<Int32Type>();
        Ok(Self {
            batch: integers(rows, "batch")?,
            blob: texts(rows, "blob")?,
            generation: generation.ok_or_else(|| Error::damaged_ledger("column generation holds no integers"))?,
            to_bytes: integers(rows, "to_bytes")?,
            listed_bytes: integers(rows, "listed_bytes")?,
            framing: texts(rows, "framing")?,
            tail_bytes: integers(rows, "tail_bytes")?,
            tail_hash: texts(rows, "tail_hash")?,
            row_count: integers(rows, "row_count")?,
            reject_count: integers(rows, "reject_count")?,
            finding: texts(rows, "finding")?,
            rows,
        })
    }

    /// The state of a row's blob as of the row.
    fn state(&self, row: usize) -> Result<BlobState, Error> {
        let blob = self.blob.value(row);
        let count = |counts: &Int64Array| {
            let value = counts.value(row);
            u64::try_from(value).map_err(|_| Error::damaged_ledger(format!("a count of blob {blob} is negative")))
        };
        let generation = self.generation.is_valid(row).then(|| u32::try_from(self.generation.value(row)).ok());
        let framing = self.framing.value(row);
        let finding = self.finding.is_valid(row).then(|| self.finding.value(row));
        let position = Position {
            generation: generation
                .flatten()
                .ok_or_else(|| Error::damaged_ledger(format!("blob {blob} has no generation")))?,
            bytes: count(self.to_bytes)?,
            framing: Framing::from_name(framing)
                .ok_or_else(|| Error::damaged_ledger(format!("blob {blob} has an unknown framing `{framing}`")))?,
            tail_bytes: count(self.tail_bytes)?,
            tail_hash: self.tail_hash.value(row).to_owned(),
        };
        Ok(BlobState {
            position,
            created_at: instant_at(self.rows, "created_at", row)?,
            modified_at: instant_at(self.rows, "modified_at", row)?,
            listed_bytes: count(self.listed_bytes)?,
            row_count: count(self.row_count)?,
            reject_count: count(self.reject_count)?,
            gone: finding == Some(BlobFinding::Gone.name()),
            torn: finding == Some(BlobFinding::Torn.name()),
            last_batch: self.batch.value(row),
            committed_at: instant_at(self.rows, "committed_at", row)?.unwrap_or_default(),
        })
    }
}
