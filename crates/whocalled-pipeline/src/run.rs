//! One run over an archive, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Semaphore, mpsc};
use whocalled_fetch::Archive;
use whocalled_lake::{BlobState, Lake, Writer, WrittenBatch};
use whocalled_types::Limits;

use crate::plan::{Plan, Planner, Selection};
use crate::prepare::{Outcome, Preparer};
use crate::receipt::{LeftBytes, Receipt, RunState};
use crate::scope::{HourRange, Seen};
use crate::tally::Tally;
use crate::{Error, kept};

/// How a run is to be done.
#[derive(Clone)]
pub struct Options {
    /// Names the run in the ledger and in its receipt.
    pub run_id: String,
    /// Which part of the archive.
    pub selection: Selection,
    /// How long a blob must be quiet until its last record is taken without a line break.
    pub seal_after: TimeDelta,
    /// What a run holds and accepts.
    pub limits: Limits,
    /// How many cores decode.
    pub thread_count: usize,
    /// What time it is.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Told how far the run is.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Set by the caller to stop after the batch at hand.
    pub stop: Arc<AtomicBool>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The archive is listed: so many blobs have so many new bytes.
    Planned {
        /// Blobs to be read.
        blob_count: u64,
        /// Their new bytes.
        bytes: u64,
    },
    /// A blob was read and decoded.
    Converted {
        /// Its new bytes.
        bytes: u64,
    },
    /// A batch was committed.
    Committed {
        /// Its number.
        batch: i64,
        /// Its rows, rejects included.
        row_count: u64,
    },
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// The account of it, also where it broke off.
    pub receipt: Receipt,
    /// Why it broke off.
    pub result: Result<(), Error>,
}

impl Run {
    /// Whether it came so far as to have listed the archive, so that there is something to account for.
    pub fn has_listed(&self) -> bool {
        self.result.is_ok() || self.receipt.blobs_listed > 0
    }

    /// The receipt of a run that did not break off.
    ///
    /// # Errors
    /// Why it did.
    pub fn finished(self) -> Result<Receipt, Error> {
        self.result.map(|()| self.receipt)
    }
}

/// What a run would do: lists the archive, and reads and commits nothing. Without a lake, every blob
/// is new.
///
/// # Errors
/// Whatever keeps the archive from being listed.
pub async fn plan(archive: &Archive, lake: Option<&Lake>, options: &Options) -> Result<Plan, Error> {
    let (none, now) = (BTreeMap::new(), (options.clock)());
    let seen = match lake {
        Some(lake) => kept::seen(lake, archive).await?,
        None => Seen::default(),
    };
    let hours = seen.hours(archive, &options.selection, now);
    let positions = match lake {
        Some(lake) => lake.positions().await?,
        None => &none,
    };
    list(archive, positions, options, hours).await
}

async fn list(
    archive: &Archive,
    states: &BTreeMap<String, BlobState>,
    options: &Options,
    hours: Option<HourRange>,
) -> Result<Plan, Error> {
    let (seal_after, limits, now) = (options.seal_after, &options.limits, (options.clock)());
    let planner = Planner { states, seal_after, limits, now, hours, plan: Plan::default() };
    planner.list(archive, &options.selection).await
}

/// Brings the lake up to date with the archive, and accounts for it. The receipt is kept in the lake,
/// from the run's first moment on.
///
/// A run breaks off where the archive cannot be listed or denies access, or where the lake cannot be
/// committed to; what was committed before stays. A blob that cannot be read breaks off no run: it
/// is a [`Failure`](crate::Failure) of the receipt.
pub async fn run(archive: &Archive, lake: &mut Lake, options: &Options) -> Run {
    let mut receipt = Receipt {
        run_id: options.run_id.clone(),
        archive: archive.display().to_owned(),
        credential: archive.credential().to_owned(),
        started_at: (options.clock)(),
        ..Receipt::default()
    };
    let mut result = attempt(archive, lake, options, &mut receipt).await;
    update(&mut receipt, archive, options);
    receipt.state = RunState::Finished;
    if result.is_ok() {
        result = receipt.check();
    }
    if let Err(error) = &result {
        receipt.state = RunState::Failed;
        receipt.error = Some(error.to_string());
        let accounted = receipt.bytes_already_committed + receipt.bytes_committed + receipt.bytes_left.total();
        receipt.bytes_left.not_reached += receipt.bytes_listed.saturating_sub(accounted);
    }
    let kept = kept::keep(lake, &receipt).await;
    Run { receipt, result: result.and(kept) }
}

/// The run itself, which the receipt follows.
async fn attempt(archive: &Archive, lake: &mut Lake, options: &Options, receipt: &mut Receipt) -> Result<(), Error> {
    check_archive(archive, lake).await?;
    let seen = kept::seen(lake, archive).await?;
    receipt.seen = seen.clone();
    receipt.hours = seen.hours(archive, &options.selection, receipt.started_at);
    update(receipt, archive, options);
    kept::keep(lake, receipt).await?;

    let mut plan = list(archive, lake.positions().await?, options, receipt.hours).await?;
    receipt.blobs_listed = plan.blob_count;
    receipt.bytes_listed = plan.listed_bytes;
    receipt.bytes_already_committed = plan.committed_bytes;
    receipt.bytes_left = LeftBytes { torn: plan.torn_bytes, over_limit: plan.over_limit_bytes, ..LeftBytes::default() };
    std::mem::take(&mut plan.findings).into_iter().for_each(|it| receipt.found(it));
    (options.progress)(Progress::Planned { blob_count: plan.read_count() as u64, bytes: plan.read_bytes() });

    let (to_write, decoded_batches) = mpsc::channel(1);
    let (to_commit, written_batches) = mpsc::channel(1);
    // A single core decodes, writes or commits; where there are several, one batch is decoded while the one before is
    // written and the one before that committed.
    let cores = Semaphore::new(if options.thread_count > 1 { 3 } else { 1 });
    let writer = lake.writer();
    let decoding = Box::pin(decode(archive, &mut plan, options, receipt.clone(), to_write, &cores));
    let writing = Box::pin(write(writer, options, decoded_batches, to_commit, &cores));
    let committing = Box::pin(commit(archive, lake, options, receipt, written_batches, &cores));
    let (decoded, written, committed) = futures::join!(decoding, writing, committing);
    committed.and(written).and(decoded)?;
    if !plan.reads.is_empty() {
        receipt.interrupted = true;
        receipt.bytes_left.not_reached = plan.read_bytes();
    }
    if !receipt.interrupted && !receipt.unsettled {
        let whole = receipt.hours.is_none().then_some(plan.request_count);
        receipt.seen = seen.after(&options.selection, receipt.started_at, whole);
    }
    Ok(())
}

/// Makes batches of what the plan has to read, one after the other, until nothing is left, the run is to
/// stop, or nobody takes them any more. `receipt` is what it will be after the batches before.
async fn decode(
    archive: &Archive,
    plan: &mut Plan,
    options: &Options,
    mut receipt: Receipt,
    batches: mpsc::Sender<Tally>,
    cores: &Semaphore,
) -> Result<(), Error> {
    let mut preparer = Preparer::new(archive, &options.limits, options.thread_count.max(1));
    loop {
        // None is begun while another waits to be written, so that the rows of two are held at a time and not of three.
        let turn = async { (batches.reserve().await, cores.acquire().await) };
        let (place, _core) = tokio::select! {
            turn = turn => turn,
            never = preparer.receive() => match never {},
        };
        let Ok(place) = place else { break };
        let outcomes = prepare(&mut preparer, plan, options).await?;
        let is_stopped = options.stop.load(Ordering::Relaxed);
        if outcomes.is_empty() && (is_stopped || plan.reads.is_empty() && plan.gone.is_empty()) {
            break;
        }
        let tally = account(&preparer, outcomes, plan, options, &receipt)?;
        receipt = tally.receipt.clone();
        let is_last = tally.ending.is_some();
        place.send(tally);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// A batch whose rows are in data files.
struct Written {
    batch: WrittenBatch,
    /// The receipt as it is once the batch is committed.
    receipt: Receipt,
    ending: Option<whocalled_fetch::Error>,
}

/// Writes the rows of batches, one batch after the other.
async fn write(
    mut writer: Writer,
    options: &Options,
    mut batches: mpsc::Receiver<Tally>,
    written: mpsc::Sender<Written>,
    cores: &Semaphore,
) -> Result<(), Error> {
    while let Some(Tally { batch, receipt, ending }) = batches.recv().await {
        let batch = {
            let _core = cores.acquire().await;
            writer.write(batch, (options.clock)()).await?
        };
        if written.send(Written { batch, receipt, ending }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Commits batches in their order, and keeps the receipt after each.
async fn commit(
    archive: &Archive,
    lake: &mut Lake,
    options: &Options,
    receipt: &mut Receipt,
    mut written: mpsc::Receiver<Written>,
    cores: &Semaphore,
) -> Result<(), Error> {
    while let Some(Written { batch, receipt: after, ending }) = written.recv().await {
        let _core = cores.acquire().await;
        let mut batches = std::mem::replace(receipt, after).batches;
        if !batch.is_empty() {
            let row_count = batch.row_count();
            let batch = lake.commit_written(batch, (options.clock)()).await?.batch;
            batches.push(batch);
            (options.progress)(Progress::Committed { batch, row_count });
        }
        receipt.batches = batches;
        update(receipt, archive, options);
        kept::keep(lake, receipt).await?;
        if let Some(ending) = ending {
            return Err(ending.into());
        }
    }
    Ok(())
}

/// One lake holds one archive, since another account's blobs may have the same names. A directory
/// may be a copy of any archive, and is taken for the one that the lake holds.
async fn check_archive(archive: &Archive, lake: &Lake) -> Result<(), Error> {
    let given = archive.identity();
    let is_account = |identity: &str| identity.starts_with("http");
    match lake.archives().await?.iter().find(|recorded| is_account(recorded) && **recorded != given) {
        Some(recorded) if is_account(&given) => Err(Error::OtherArchive { recorded: recorded.clone(), given }),
        _ => Ok(()),
    }
}

/// Brings the receipt's figures of traffic and time up to now.
fn update(receipt: &mut Receipt, archive: &Archive, options: &Options) {
    let traffic = archive.traffic();
    receipt.requests = traffic.request_count;
    receipt.bytes_received = traffic.read_bytes;
    receipt.finished_at = (options.clock)();
}

/// Reads and decodes the next batch: as many reads as fit into it and its time; none once the run is
/// to stop.
async fn prepare(preparer: &mut Preparer<'_>, plan: &mut Plan, options: &Options) -> Result<Vec<Outcome>, Error> {
    let end = (options.clock)() + options.limits.batch_duration_max;
    let goes_on = || !options.stop.load(Ordering::Relaxed) && (options.clock)() < end;
    let done = |outcome: &Outcome| (options.progress)(Progress::Converted { bytes: outcome.read.part_bytes() });
    preparer.prepare(&mut plan.reads, &goes_on, &done).await
}

/// What a prepared batch comes to: the rows and ranges to commit, and the receipt once they are.
fn account(
    preparer: &Preparer<'_>,
    outcomes: Vec<Outcome>,
    plan: &mut Plan,
    options: &Options,
    receipt: &Receipt,
) -> Result<Tally, Error> {
    // Counted apart, since nothing of it is so until it is committed.
    let mut tally = Tally::new(receipt.clone(), options, preparer.archive().identity());
    for outcome in outcomes {
        plan.reads.extend(tally.account(outcome));
    }
    std::mem::take(&mut plan.gone).into_iter().for_each(|(blob, state)| tally.gone(blob, state));
    for (table, rows) in preparer.rows()? {
        tally.rows(table, rows);
    }
    Ok(tally)
}
