//! The rows of views, beside the tables that they follow from.
//!
//! The lake knows no views: who queries it computes them, and has their rows kept here. Below `_views` a set of
//! views is a directory that is named by a hash of all that they follow from, so that a set can be missing but not
//! be out of date. `views.json` is written last and names a file for each view; files have the name of the run that
//! wrote them in theirs, so that none changes while it is read.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Unfinished;
use crate::{DataFile, Error, Lake};

/// The directory in which each set of views has one of its own. Delta readers overlook names that begin with
/// an underscore.
pub(crate) const VIEWS_DIRECTORY: &str = "_views";
/// The file of a set that is written last, and without which it is none.
const VIEWS_CATALOG: &str = "views.json";
/// How long a set is kept when another has taken its place: for queries that have begun to read it.
pub const VIEWS_RETENTION: TimeDelta = TimeDelta::days(1);

/// How many rows a row group and a page have: a question about a day or a call reads few of them.
const GROUP_ROWS_MAX: usize = 64 << 10;
const PAGE_ROWS_MAX: usize = 4 << 10;

/// A set of views: where it is, or would be.
#[derive(Debug, Clone)]
pub struct ViewSet {
    store: Arc<dyn ObjectStore>,
    directory: Path,
}

/// The views of a set, by name.
pub type StoredViews = BTreeMap<String, StoredView>;

/// The rows of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredView {
    file: String,
    /// The columns that identify a row, one way or another, by their place in the schema.
    pub unique: Vec<Vec<usize>>,
    /// How many rows there are.
    pub rows: u64,
    /// How many bytes the file has.
    pub bytes: u64,
}

/// What `views.json` says.
#[derive(Serialize, Deserialize)]
struct Catalog {
    views: StoredViews,
}

impl ViewSet {
    /// The set of the views that follow from these texts.
    pub(crate) fn of(store: Arc<dyn ObjectStore>, texts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(text);
        }
        Self { store, directory: Path::from_iter([VIEWS_DIRECTORY, &format!("{:x}", hash.finalize())]) }
    }

    /// The views, if they are there.
    ///
    /// # Errors
    /// When the storage fails, or what is there is damaged.
    pub async fn read(&self) -> Result<Option<StoredViews>, Error> {
        let path = self.directory.clone().join(VIEWS_CATALOG);
        let failed = |error| Error::storage(path.to_string(), error);
        let json = match self.store.get(&path).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let catalog: Catalog =
            serde_json::from_slice(&json).map_err(|error| Error::damaged(path.to_string(), error.to_string()))?;
        Ok(Some(catalog.views))
    }

    /// The file of one of the views.
    pub fn file(&self, view: &StoredView) -> DataFile {
        DataFile {
            path: self.directory.clone().join(view.file.as_str()),
            bytes: view.bytes,
            row_count: Some(view.rows),
            date: None,
            // No other file ever has this name.
            modified_at: DateTime::UNIX_EPOCH,
            statistics: None,
        }
    }

    /// Writes the rows of a view, which are no part of anything before the set is [published](Self::publish).
    /// `run_id`, of letters, digits and hyphens, is new in each run. Holds a row group of 65,536 rows.
    ///
    /// # Errors
    /// Those of the rows, and when the storage fails.
    pub async fn write<E: From<Error>>(
        &self,
        name: &str,
        run_id: &str,
        unique: Vec<Vec<usize>>,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch, E>>,
    ) -> Result<StoredView, E> {
        let file = format!("{name}-{run_id}.parquet");
        let path = self.directory.clone().join(file.as_str());
        let failed = |error| Error::parquet_write(path.to_string(), error).leaving(Unfinished::Views);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
            .set_data_page_row_count_limit(PAGE_ROWS_MAX)
            .set_column_bloom_filter_max_ndv(ColumnPath::from("correlation_id"), GROUP_ROWS_MAX as u64)
            .build();
        let writer = BufWriter::new(Arc::clone(&self.store), path.clone());
        let mut writer = AsyncArrowWriter::try_new(writer, schema, Some(properties)).map_err(failed)?;
        let (mut batches, mut rows) = (pin!(batches), 0);
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
            writer.write(&batch).await.map_err(failed)?;
        }
        writer.finish().await.map_err(failed)?;
        Ok(StoredView { file, unique, rows, bytes: writer.bytes_written() as u64 })
    }

    /// Makes the views that were written those of the set.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn publish(&self, views: StoredViews) -> Result<(), Error> {
        let path = self.directory.clone().join(VIEWS_CATALOG);
        let damaged = |error: serde_json::Error| Error::damaged(path.to_string(), error.to_string());
        let json = serde_json::to_vec(&Catalog { views }).map_err(damaged)?;
        let put = self.store.put(&path, json.into()).await;
        put.map(drop).map_err(|error| Error::write(path.to_string(), error).leaving(Unfinished::Views))
    }
}

impl Lake {
    /// Deletes the sets of views that others took the place of before `since`, and what runs that ended early
    /// have left before then; how many files that was.
    pub(crate) async fn delete_views(&self, since: DateTime<Utc>) -> Result<usize, Error> {
        let directory = Path::from(VIEWS_DIRECTORY);
        let listing = self.storage.store().list(Some(&directory)).try_collect::<Vec<_>>().await;
        let listing = listing.map_err(|error| Error::storage(directory.to_string(), error))?;
        let mut count = 0;
        for file in unneeded(listing, since) {
            match self.storage.store().delete(&file).await {
                Ok(()) => count += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(Error::write(file.to_string(), error)),
            }
        }
        Ok(count)
    }
}

/// The files of sets that another took the place of before `since`; of a set without a catalog, if it was
/// written before then. The catalog of a set comes first, so that no set is left with half of its files.
fn unneeded(files: Vec<ObjectMeta>, since: DateTime<Utc>) -> Vec<Path> {
    let mut sets: BTreeMap<String, Vec<ObjectMeta>> = BTreeMap::new();
    for file in files {
        let set = file.location.parts().nth(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
        sets.entry(set).or_default().push(file);
    }
    let is_catalog = |file: &ObjectMeta| file.location.filename() == Some(VIEWS_CATALOG);
    let written_at = |set: &[ObjectMeta]| set.iter().find(|file| is_catalog(file)).map(|file| file.last_modified);
    let mut whole: Vec<DateTime<Utc>> = sets.values().filter_map(|set| written_at(set)).collect();
    whole.sort();
    let is_needed = |set: &[ObjectMeta]| match written_at(set) {
        Some(written) => whole.iter().find(|other| **other > written).is_none_or(|replaced| *replaced >= since),
        None => set.iter().any(|file| file.last_modified >= since),
    };
    let mut files: Vec<ObjectMeta> = sets.into_values().filter(|set| !is_needed(set)).flatten().collect();
    files.sort_by_key(|file| !is_catalog(file));
    files.into_iter().map(|file| file.location).collect()
}
