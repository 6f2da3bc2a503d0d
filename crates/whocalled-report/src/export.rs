//! Copies of tables, views and reports for others to read: a file a date, or a Delta table.
//!
//! A reader of the destination sees, for every date, all of the old rows or all of the new ones.
//! Files are written under a staging name first, and put in place by a rename, which both a
//! directory and Azure Storage do as a whole; a Delta table changes in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, SchemaRef};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use url::Url;
use whocalled_lake::{BoxError, DeltaExport, Failpoints, LakeLocation, StorageOptions, write_delta};

use crate::error::Error;
use crate::parameters::Parameters;
use crate::provider::DATE;
use crate::render::{Encoder, Format};
use crate::reports::{self, Report};
use crate::scope::Scope;
use crate::session::{Answer, Session};

/// The file by which a lake of ours is recognised.
const LAKE_MARKER: &str = "whocalled-lake.json";

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// `NAME.parquet`, zstd.
    Parquet,
    /// `NAME.csv`, with a header line.
    Csv,
    /// `NAME.ndjson`, one object a line.
    Ndjson,
    /// A Delta table at the destination.
    Delta,
}

impl ExportFormat {
    /// Every format, in the order in which help lists them.
    pub const ALL: [Self; 4] = [Self::Parquet, Self::Csv, Self::Ndjson, Self::Delta];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Delta => "delta",
        }
    }
}

impl std::str::FromStr for ExportFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| Error::UnknownFormat { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

/// Where an export goes: a directory, or `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`.
#[derive(Debug)]
pub struct Destination {
    location: LakeLocation,
    options: BTreeMap<String, String>,
    failpoints: Failpoints,
    /// Rooted at the destination.
    store: Arc<dyn ObjectStore>,
}

impl Destination {
    /// Connects to a destination; a directory is created. `options` are those of the object store,
    /// such as `account_key`, and are never printed.
    ///
    /// # Errors
    /// [`Error::Lake`] for a location that cannot be one, [`Error::Destination`] for one that cannot
    /// be written to.
    pub fn open(text: &str, options: BTreeMap<String, String>) -> Result<Self, Error> {
        let location = LakeLocation::parse(text)?;
        let refused = |reason: String| Error::Destination { destination: location.to_string(), reason };
        let store: Arc<dyn ObjectStore> = if let Some(directory) = location.as_directory() {
            std::fs::create_dir_all(directory).map_err(|error| refused(error.to_string()))?;
            let store = LocalFileSystem::new_with_prefix(directory).map_err(|error| refused(error.to_string()))?;
            Arc::new(store.with_automatic_cleanup(true))
        } else {
            let url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
            let (store, path) =
                object_store::parse_url_opts(&url, &options).map_err(|error| refused(error.to_string()))?;
            Arc::new(PrefixStore::new(store, path))
        };
        Ok(Self { location, options, failpoints: Failpoints::default(), store })
    }

    /// Tells an export to Delta where a test wants it to end.
    #[must_use]
    pub fn with_failpoints(self, failpoints: Failpoints) -> Self {
        Self { failpoints, ..self }
    }

    fn failed(&self, source: object_store::Error) -> Error {
        Error::Store { destination: self.location.to_string(), source: Box::new(source) }
    }
}

/// What an export did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many rows were written.
    pub row_count: u64,
    /// How many files were put in place.
    pub file_count: usize,
    /// How many files of dates that have no rows any more, or that were replaced, were removed.
    pub removed_count: usize,
}

/// What is exported.
enum Source {
    Relation { name: String, schema: SchemaRef },
    Report(Box<Report>),
}

/// Writes a table, a view or a report to a destination.
///
/// A relation with a `date` column goes to `date=YYYY-MM-DD/NAME.EXTENSION`, a file a date, of which
/// those of `dates` are replaced, and removed where there are no rows any more; `None` means every
/// date that there is. Anything else is one file `NAME.EXTENSION`. A report is asked for the days of
/// `dates`, which it needs. `now` names the staging directory and dates the Delta commit.
///
/// # Errors
/// [`Error::UnknownRelation`], [`Error::Destination`] when a lake is there, and those of reading and
/// writing. Nothing is visible of what was not finished; dates that were, are.
pub async fn export(
    session: &Session,
    name: &str,
    destination: &Destination,
    format: ExportFormat,
    dates: Option<RangeInclusive<NaiveDate>>,
    now: DateTime<Utc>,
) -> Result<Exported, Error> {
    let source = find(session, name).await?;
    match destination.store.head(&Path::from(LAKE_MARKER)).await {
        Ok(_) => {
            let reason = "it is a lake of whocalled; export to another place".to_owned();
            return Err(Error::Destination { destination: destination.location.to_string(), reason });
        }
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(destination.failed(error)),
    }
    let files = match format {
        ExportFormat::Delta => return delta(session, &source, name, destination, dates, now).await,
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Ndjson => Format::Ndjson,
    };
    let staging = Path::from(format!("_staging-{}", now.format("%Y%m%dT%H%M%S%6fZ")));
    let run = Run { destination, format: files, staging, file: format!("{name}.{}", files.extension()) };
    let exported = match &source {
        Source::Relation { name, schema } if has_date(schema) => run.by_date(session, name, dates).await,
        _ => run.whole(answer(session, &source, dates).await?).await,
    };
    run.clean_up().await;
    exported
}

async fn find(session: &Session, name: &str) -> Result<Source, Error> {
    if session.relations().iter().any(|relation| relation.name == name) {
        return Ok(Source::Relation { name: name.to_owned(), schema: session.schema(name).await? });
    }
    let all = reports::all()?;
    let known = session.relations().iter().map(|it| it.name.as_str()).chain(all.iter().map(|it| it.name));
    let known = known.collect::<Vec<_>>().join(", ");
    let report = all.into_iter().find(|report| report.name == name);
    report
        .map(|report| Source::Report(Box::new(report)))
        .ok_or_else(|| Error::UnknownRelation { name: name.to_owned(), known })
}

fn has_date(schema: &SchemaRef) -> bool {
    schema.field_with_name(DATE).is_ok_and(|field| *field.data_type() == DataType::Date32)
}

/// All rows of a source, or those of some dates.
async fn answer(session: &Session, source: &Source, dates: Option<RangeInclusive<NaiveDate>>) -> Result<Answer, Error> {
    match (source, dates) {
        (Source::Report(report), None) => Err(Error::Parameter {
            name: "from".to_owned(),
            reason: format!("report {} needs the dates to cover; give --from and --to", report.name),
        }),
        (Source::Report(report), Some(dates)) => {
            let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
            let to = midnight(*dates.end()) + TimeDelta::days(1);
            session.report(report, &Parameters::between(midnight(*dates.start()), to)).await
        }
        (Source::Relation { name, schema }, Some(dates)) if has_date(schema) => {
            let sql =
                format!("SELECT * FROM {name} WHERE date BETWEEN DATE '{}' AND DATE '{}'", dates.start(), dates.end());
            session.query_within(&sql, &Parameters::new(), Scope::of_days(dates)).await
        }
        (Source::Relation { name, .. }, _) => session.query(&format!("SELECT * FROM {name}"), &Parameters::new()).await,
    }
}

async fn delta(
    session: &Session,
    source: &Source,
    name: &str,
    destination: &Destination,
    dates: Option<RangeInclusive<NaiveDate>>,
    now: DateTime<Utc>,
) -> Result<Exported, Error> {
    let answer = answer(session, source, dates.clone()).await?;
    let options = StorageOptions::from(destination.options.clone()).with_failpoints(destination.failpoints.clone());
    let export = DeltaExport {
        location: &destination.location,
        options: &options,
        name,
        dates: dates.filter(|_| has_date(&answer.schema)),
        schema: answer.schema,
    };
    let rows = answer.batches.map(|batch| batch.map_err(BoxError::from));
    let exported = write_delta(export, rows, now).await?;
    Ok(Exported { row_count: exported.rows, file_count: exported.files_added, removed_count: exported.files_removed })
}

/// One export to files.
struct Run<'a> {
    destination: &'a Destination,
    format: Format,
    /// Where files are written before they are put in place.
    staging: Path,
    /// What the file in each directory is called.
    file: String,
}

impl Run<'_> {
    async fn whole(&self, answer: Answer) -> Result<Exported, Error> {
        let row_count = self.put(answer, &Path::from(self.file.as_str())).await?;
        Ok(Exported { row_count, file_count: 1, removed_count: 0 })
    }

    /// A file a date, one after the other, so that no more than a batch is held.
    async fn by_date(
        &self,
        session: &Session,
        name: &str,
        dates: Option<RangeInclusive<NaiveDate>>,
    ) -> Result<Exported, Error> {
        let present = days(session, name, dates.as_ref()).await?;
        let mut exported = Exported::default();
        for date in &present {
            let sql = format!("SELECT * EXCLUDE (date) FROM {name} WHERE date = DATE '{date}'");
            let answer = session.query_within(&sql, &Parameters::new(), Scope::of_days(*date..=*date)).await?;
            let path = Path::from_iter([format!("{DATE}={date}"), self.file.clone()]);
            exported.row_count += self.put(answer, &path).await?;
            exported.file_count += 1;
        }
        exported.removed_count = self.remove_others(&present, dates.as_ref()).await?;
        Ok(exported)
    }

    /// Writes a file beside its place, and moves it there.
    async fn put(&self, mut answer: Answer, path: &Path) -> Result<u64, Error> {
        let failed = |source| self.destination.failed(source);
        let store = &self.destination.store;
        let staged: Path = self.staging.parts().chain(path.parts()).collect();
        let mut writer = BufWriter::new(Arc::clone(store), staged.clone());
        let encoded = Encoded::default();
        let mut encoder = Encoder::new(self.format, &answer.schema, encoded.clone())?;
        let written: Result<u64, Error> = async {
            let mut row_count = 0;
            while let Some(batch) = answer.batches.try_next().await? {
                row_count += batch.num_rows() as u64;
                encoder.write(&batch)?;
                writer.write_all(&encoded.take()).await.map_err(Error::Output)?;
            }
            encoder.finish()?;
            writer.write_all(&encoded.take()).await.map_err(Error::Output)?;
            writer.shutdown().await.map_err(Error::Output)?;
            Ok(row_count)
        }
        .await;
        if written.is_err() {
            // The first error is the one to report; an upload that cannot be given up is left behind.
            let _ignored = writer.abort().await;
        } else {
            store.rename(&staged, path).await.map_err(failed)?;
        }
        written
    }

    /// Removes the empty directories that staging leaves in a file system.
    async fn clean_up(&self) {
        if let Some(directory) = self.destination.location.as_directory() {
            let staging = directory.join(self.staging.as_ref());
            if let Err(error) = tokio::fs::remove_dir_all(&staging).await
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %staging.display(), %error, "staging directory not removed");
            }
        }
    }

    /// Removes this export's files of the dates asked for that have no rows any more.
    async fn remove_others(
        &self,
        present: &BTreeSet<NaiveDate>,
        dates: Option<&RangeInclusive<NaiveDate>>,
    ) -> Result<usize, Error> {
        let store = &self.destination.store;
        let directories = store.list_with_delimiter(None).await.map_err(|error| self.destination.failed(error))?;
        let mut removed_count = 0;
        for directory in directories.common_prefixes {
            let date = directory.filename().and_then(|it| it.strip_prefix("date=")?.parse::<NaiveDate>().ok());
            let Some(date) = date.filter(|date| dates.is_none_or(|dates| dates.contains(date))) else { continue };
            if present.contains(&date) {
                continue;
            }
            match store.delete(&directory.join(self.file.as_str())).await {
                Ok(()) => removed_count += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.destination.failed(error)),
            }
        }
        Ok(removed_count)
    }
}

/// What an encoder has written, and the upload has not taken yet.
#[derive(Clone, Default)]
struct Encoded(Arc<Mutex<Vec<u8>>>);

impl Encoded {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // Bytes that a panicking writer left are no less bytes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }
}

impl Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.lock(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The dates of a relation's rows, within those asked for.
async fn days(
    session: &Session,
    name: &str,
    dates: Option<&RangeInclusive<NaiveDate>>,
) -> Result<BTreeSet<NaiveDate>, Error> {
    let answer = match dates {
        Some(dates) => {
            let (first, last) = (dates.start(), dates.end());
            let sql = format!("SELECT DISTINCT date FROM {name} WHERE date BETWEEN DATE '{first}' AND DATE '{last}'");
            session.query_within(&sql, &Parameters::new(), Scope::of_days(dates.clone())).await?
        }
        None => session.query(&format!("SELECT DISTINCT date FROM {name}"), &Parameters::new()).await?,
    };
    let batches: Vec<RecordBatch> = answer.batches.try_collect().await?;
    let days = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Date32Type>().iter().flatten());
    Ok(days.filter_map(Date32Type::to_naive_date_opt).collect())
}
