//! Runs the `.slt` files beside it: every view and report, on small tables in memory.
//!
//! A file first fills tables with `INSERT INTO`, and then asks. Besides SQL it may say
//!
//! - `ACCOUNT(name)`, wherever a literal may be: the resource id of an account;
//! - `REPORT name from to [parameter=value ...]`: the rows of a report;
//! - `EXPLAIN CALL correlation-id`: what `whocalled explain` prints, a line a row;
//! - `RESET`: empty tables again. Views keep what they have read, so rows that are inserted after a
//!   question need one before them.
//!
//! Evidence weighs what `weights.toml` says, so that answers stay the same when the model is fitted anew.
//!
//! `SLT_COMPLETE=1 cargo test --test slt` writes the answers into the files instead of checking them.

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer, default_validator,
};
use whocalled_report::{Answer, Parameters, Session, SessionOptions, Value, Weights, explain, reports};
use whocalled_tests::schemas;

fn main() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&files)
        .expect("the directory of this file is there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    paths.sort();
    let trials = paths.into_iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || check(&path))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// The weights of the evidence in these tests.
const WEIGHTS: &str = include_str!("weights.toml");

/// How much stack a file runs on: planning recurses deeply in an unoptimised build.
const STACK_BYTES: usize = 32 << 20;

/// Runs one file on a thread of its own.
fn check(path: &Path) -> Result<(), Failed> {
    let path = path.to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(run(&path))
    });
    let thread = thread.map_err(|error| error.to_string())?;
    Ok(thread.join().map_err(|_| "the thread panicked".to_owned())??)
}

/// Checks the answers of one file, or rewrites them.
async fn run(path: &Path) -> Result<(), String> {
    let mut runner = Runner::new(Database::open);
    if std::env::var_os("SLT_COMPLETE").is_some() {
        let rewritten =
            runner.update_test_file(path, "\t", default_validator, default_normalizer, default_column_validator);
        rewritten.await.map_err(|error| error.to_string())
    } else {
        runner.run_file_async(path).await.map_err(|error| error.display(false).to_string())
    }
}

/// The tables of a file.
struct Database {
    session: Session,
}

/// An answer or an error, as the runner compares it.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

impl From<whocalled_report::Error> for Refused {
    fn from(error: whocalled_report::Error) -> Self {
        Self(error.to_string())
    }
}

impl Database {
    async fn open() -> Result<Self, Refused> {
        let weights = toml::from_str(WEIGHTS).map_err(|error| Refused(error.to_string()))?;
        let weights = Weights::with(&weights)?;
        let options = SessionOptions { threads: NonZeroUsize::MIN, memory_bytes_max: 1 << 30, weights };
        Ok(Self { session: Session::in_memory(&schemas::nullable(), &options)? })
    }

    async fn answer(&self, sql: &str) -> Result<Answer, Refused> {
        let Some(rest) = sql.strip_prefix("REPORT ") else {
            return Ok(self.session.query(sql, &Parameters::new()).await?);
        };
        let mut words = rest.split_whitespace();
        let mut word = || words.next().ok_or_else(|| Refused("REPORT name from to".to_owned()));
        let report = reports::find(word()?)?;
        let mut parameters = Parameters::between(instant(word()?)?, instant(word()?)?);
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let documented = report.parameters.iter().find(|parameter| parameter.name == name);
            let value = documented.map_or(Some(Value::Text(value.to_owned())), |it| it.kind.parse(value));
            parameters = parameters.with(name, value.ok_or_else(|| Refused(format!("bad value of {name}")))?);
        }
        Ok(self.session.report(&report, &parameters).await?)
    }
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let sql = with_accounts(sql);
        if sql == "RESET" {
            *self = Self::open().await?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if let Some(insert) = sql.strip_prefix("INSERT INTO ") {
            // The first line says into what, the others which rows.
            let (into, rows) = insert.split_once('\n').ok_or_else(|| Refused("INSERT INTO of one line".to_owned()))?;
            self.session.load(into, rows).await?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if let Some(id) = sql.strip_prefix("EXPLAIN CALL ") {
            let text = explain(&self.session, id).await?.to_string();
            let rows = text.lines().map(|line| vec![line.to_owned()]).collect();
            return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows });
        }
        let answer = self.answer(&sql).await?;
        let types = answer.schema.fields().iter().map(|field| column_type(field.data_type())).collect();
        let batches: Vec<RecordBatch> = answer.batches.try_collect().await?;
        let rows = batches.iter().map(cells).collect::<Result<Vec<_>, _>>().map_err(|it| Refused(it.to_string()))?;
        Ok(DBOutput::Rows { types, rows: rows.concat() })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "whocalled"
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, Refused> {
    text.parse().map_err(|_| Refused(format!("{text:?} is no instant")))
}

/// Replaces `ACCOUNT(name)` with the quoted resource id of an account.
fn with_accounts(sql: &str) -> String {
    let mut parts = sql.split("ACCOUNT(");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')').unwrap_or((part, ""));
        replaced.push_str("'/subscriptions/s1/resourcegroups/g1/providers/microsoft.cognitiveservices/accounts/");
        replaced.extend([name, "'", rest]);
    }
    replaced
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        it if it.is_integer() => DefaultColumnType::Integer,
        it if it.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Any,
    }
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, arrow::error::ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let cell = |row: usize, column: usize| {
        let text = columns[column].value(row).try_to_string()?;
        Ok(match text.parse::<f64>() {
            Ok(number) if batch.column(column).data_type().is_floating() => format!("{:.3}", number + 0.0),
            _ if text.is_empty() => "(empty)".to_owned(),
            _ => text,
        })
    };
    (0..batch.num_rows()).map(|row| (0..columns.len()).map(|column| cell(row, column)).collect()).collect()
}
