//! What reading through the lake's tables costs over DataFusion reading the same files:
//! `cargo bench --bench scan`.
//!
//! Both run each question in turn, on the same cores and in one process; the answers must be equal. Medians and
//! their ratio are printed.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use whocalled_fetch::{Archive, Auth};
use whocalled_lake::{Lake, LakeLocation, StorageOptions};
use whocalled_pipeline::{Options, Selection, run, table_specs};
use whocalled_report::{Parameters, Session, SessionOptions, Weights};
use whocalled_simulate::simulate;
use whocalled_types::Limits;

const CALLS: u64 = 1_000_000;
const RUNS: usize = 11;

const QUESTIONS: [(&str, &str); 3] = [
    (
        "numbers by account",
        "SELECT account, count(*), sum(duration_ms), max(status) FROM request_response GROUP BY account ORDER BY account",
    ),
    ("all of two texts", "SELECT sum(length(correlation_id)), sum(length(caller_ip)) FROM request_response"),
    (
        "one call in a million",
        "SELECT time, account, operation, caller_ip FROM request_response WHERE correlation_id = '{id}' ORDER BY time",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let directory = TempDir::new()?;
    let lake = runtime.block_on(lake(directory.path()))?;
    let threads = thread::available_parallelism()?;
    let contest = runtime.block_on(Contest::new(&lake, &directory.path().join("lake"), threads))?;
    let mut stdout = io::stdout().lock();
    writeln!(
        stdout,
        "| {CALLS} calls, {threads} threads | through the lake, ms | the files alone, ms | ratio |\n|---|---|---|---|"
    )?;
    for (name, sql) in QUESTIONS {
        let sql = sql.replace("{id}", &contest.id);
        let (ours, theirs) = runtime.block_on(contest.medians(&sql))?;
        let [ours, theirs] = [ours, theirs].map(|it| it.as_secs_f64() * 1e3);
        writeln!(stdout, "| {name} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs)?;
    }
    Ok(())
}

/// Our session and DataFusion alone, over the same files.
struct Contest {
    session: Session,
    files: SessionContext,
    /// Of a call in the lake.
    id: String,
}

impl Contest {
    async fn new(lake: &Lake, path: &Path, threads: NonZeroUsize) -> Result<Self, Box<dyn Error>> {
        let weights = Weights::with(&BTreeMap::new())?;
        let options = SessionOptions { threads, memory_bytes_max: 4 << 30, weights };
        let session = Session::open(lake.snapshot(), &options)?;
        let files = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads.get()));
        let table = path.join("request_response");
        files.register_parquet("request_response", &table.to_string_lossy(), ParquetReadOptions::default()).await?;
        let mut contest = Self { session, files, id: String::new() };
        let id = contest.theirs("SELECT min(correlation_id) AS id FROM request_response").await?;
        let id = arrow::compute::cast(id.first().ok_or("no answer")?.column(0), &arrow::datatypes::DataType::Utf8)?;
        contest.id = arrow::array::AsArray::as_string::<i32>(&id).value(0).to_owned();
        Ok(contest)
    }

    async fn ours(&self, sql: &str) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
        Ok(self.session.query(sql, &Parameters::default()).await?.batches.try_collect().await?)
    }

    async fn theirs(&self, sql: &str) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
        Ok(self.files.sql(sql).await?.collect().await?)
    }

    async fn medians(&self, sql: &str) -> Result<(Duration, Duration), Box<dyn Error>> {
        // The trial that warms both up is the one that is compared.
        let (ours, theirs) = (self.ours(sql).await?, self.theirs(sql).await?);
        let [ours, theirs] = [ours, theirs].map(|it| pretty_format_batches(&it).map(|it| it.to_string()));
        let (ours, theirs) = (ours?, theirs?);
        if ours != theirs {
            return Err(format!("the answers differ:\n{ours}\n{theirs}").into());
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let started = Instant::now();
            self.ours(sql).await?;
            ours.push(started.elapsed());
            let started = Instant::now();
            self.theirs(sql).await?;
            theirs.push(started.elapsed());
        }
        ours.sort_unstable();
        theirs.sort_unstable();
        Ok((ours[RUNS / 2], theirs[RUNS / 2]))
    }
}

/// A lake of calls, as one run leaves it.
async fn lake(directory: &Path) -> Result<Lake, Box<dyn Error>> {
    let simulated = directory.join("simulated");
    let options = whocalled_simulate::Options {
        account_count: 20,
        hour_count: 72,
        call_count: CALLS,
        plain: true,
        ..whocalled_simulate::Options::default()
    };
    simulate(&options, &simulated, &mut |_| {})?;
    let archive = Archive::open(&simulated.join("archive").to_string_lossy(), Auth::default(), now()).await?;
    let location = LakeLocation::parse(&directory.join("lake").to_string_lossy())?;
    let mut lake = Lake::open_or_create(location, StorageOptions::default(), &table_specs(), now()).await?;
    let options = Options {
        run_id: "bench".to_owned(),
        selection: Selection::default(),
        seal_after: TimeDelta::hours(3),
        limits: Limits::STANDARD,
        thread_count: thread::available_parallelism()?.get(),
        clock: Arc::new(now),
        progress: Arc::new(|_| {}),
        stop: Arc::default(),
    };
    run(&archive, &mut lake, &options).await.finished()?;
    Ok(lake)
}

/// When all that is simulated is over.
fn now() -> DateTime<Utc> {
    whocalled_simulate::Options::default().start + TimeDelta::days(30)
}
