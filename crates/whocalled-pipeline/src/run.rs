//! One run over an archive, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use whocalled_fetch::Archive;
use whocalled_lake::{Batch, BlobAdvance, Lake};
use whocalled_types::{Advance, ErrorKind, Limits, Position};

use crate::Error;
use crate::plan::{Finding, FindingKind, Plan, Read, Selection};
use crate::prepare::{Outcome, Preparer, tail_hash};
use crate::receipt::{Failure, LeftBytes, Receipt};

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

/// What a run would do: lists the archive, and reads and commits nothing. Without a lake, every blob
/// is new.
///
/// # Errors
/// Whatever keeps the archive from being listed.
pub async fn plan(archive: &Archive, lake: Option<&Lake>, options: &Options) -> Result<Plan, Error> {
    let none = BTreeMap::new();
    let states = lake.map_or(&none, Lake::positions);
    let now = (options.clock)();
    Plan::make(archive, states, &options.selection, options.seal_after, &options.limits, now).await
}

/// Brings the lake up to date with the archive, and accounts for it.
///
/// # Errors
/// Whatever keeps the archive from being listed or the lake from being committed to; what was
/// committed before stays. A blob that cannot be read ends no run: it is a [`Failure`] of the
/// receipt.
pub async fn run(archive: &Archive, lake: &mut Lake, options: &Options) -> Result<Receipt, Error> {
    let mut receipt = Receipt {
        run_id: options.run_id.clone(),
        archive: archive.display().to_owned(),
        credential: archive.credential().to_owned(),
        started_at: (options.clock)(),
        ..Receipt::default()
    };
    check_archive(archive, lake)?;
    let mut plan = plan(archive, Some(lake), options).await?;
    receipt.blobs_listed = plan.blob_count;
    receipt.bytes_listed = plan.listed_bytes;
    receipt.bytes_already_committed = plan.committed_bytes;
    receipt.bytes_left = LeftBytes { torn: plan.torn_bytes, over_limit: plan.over_limit_bytes, ..LeftBytes::default() };
    receipt.findings.append(&mut plan.findings);
    (options.progress)(Progress::Planned { blob_count: plan.read_count() as u64, bytes: plan.read_bytes() });

    let preparer = Preparer::new(archive, &options.limits, options.thread_count.max(1));
    while !plan.reads.is_empty() {
        if options.stop.load(Ordering::Relaxed) {
            receipt.interrupted = true;
            receipt.bytes_left.not_reached = plan.read_bytes();
            break;
        }
        let reads = next_batch(&mut plan, options.limits.batch_bytes_max);
        let outcomes = preparer
            .prepare(reads, &|outcome| (options.progress)(Progress::Converted { bytes: outcome.read.part_bytes() }))
            .await?;
        let mut batch = Batch { run_id: options.run_id.clone(), archive: archive.identity(), ..Batch::default() };
        for outcome in outcomes {
            plan.reads.extend(account(outcome, &mut batch, &mut receipt));
        }
        for (table, rows) in preparer.rows()? {
            *receipt.rows_by_table.entry(table.name().to_owned()).or_default() += rows.num_rows() as u64;
            batch.push(table, rows);
        }
        if batch.is_empty() {
            continue;
        }
        let row_count = batch.row_count() as u64;
        let committed = lake.commit(batch, (options.clock)()).await?;
        receipt.batches.push(committed.batch);
        (options.progress)(Progress::Committed { batch: committed.batch, row_count });
    }
    let traffic = archive.traffic();
    receipt.requests = traffic.request_count;
    receipt.bytes_received = traffic.read_bytes;
    receipt.finished_at = (options.clock)();
    receipt.check()?;
    Ok(receipt)
}

/// One lake holds one archive, since another account's blobs may have the same names. A directory
/// may be a copy of any archive, and is taken for the one that the lake holds.
fn check_archive(archive: &Archive, lake: &Lake) -> Result<(), Error> {
    let given = archive.identity();
    let is_account = |identity: &str| identity.starts_with("http");
    match lake.archives().iter().find(|recorded| is_account(recorded) && **recorded != given) {
        Some(recorded) if is_account(&given) => Err(Error::OtherArchive { recorded: recorded.clone(), given }),
        _ => Ok(()),
    }
}

/// The reads of the next batch: as many as have about `bytes_max` new bytes. A blob that has more
/// is read in parts, over several batches.
fn next_batch(plan: &mut Plan, bytes_max: u64) -> Vec<Read> {
    let mut reads = Vec::new();
    let mut bytes = 0;
    while bytes < bytes_max {
        let Some(mut read) = plan.reads.pop_front() else { break };
        read.upto = read.blob.bytes.min(read.from.saturating_add(bytes_max.saturating_mul(read.part_factor)));
        bytes += read.part_bytes();
        reads.push(read);
    }
    reads
}

/// Turns what became of a read into a range of the batch and into figures of the receipt. Gives the
/// read of what is still to come of a blob that is read in parts.
fn account(outcome: Outcome, batch: &mut Batch, receipt: &mut Receipt) -> Option<Read> {
    let Outcome { mut read, rewritten, converted, failure } = outcome;
    let blob = read.blob.name.to_string();
    if rewritten {
        // Whether the plan or this run counted the earlier generation's bytes as committed.
        receipt.bytes_already_committed -= read.planned_from;
        receipt.bytes_committed -= read.from - read.planned_from;
        let detail = format!("the {} committed bytes are not there any more", read.from);
        receipt.findings.push(Finding { blob, kind: FindingKind::Rewritten, detail });
        return Some(read.anew());
    }
    let position = converted.as_ref().map_or(read.from, |it| it.position);
    let continues = failure.is_none() && read.upto < read.blob.bytes;
    if !continues {
        receipt.blobs_read += 1;
        let left = read.blob.bytes - position;
        match &failure {
            None => receipt.bytes_left.torn += left,
            Some(error) if is_gone(error) => receipt.bytes_left.gone += left,
            Some(_) => receipt.bytes_left.failed += left,
        }
    }
    let whole = failure.is_none() && read.upto == read.blob.bytes;
    if whole && read.sealed && position < read.blob.bytes {
        let detail = format!("its last {} bytes are no complete record", read.blob.bytes - position);
        receipt.findings.push(Finding { blob: blob.clone(), kind: FindingKind::Torn, detail });
    }
    match failure {
        // A lifecycle rule's doing, say: nothing that another run could mend.
        Some(error) if is_gone(&error) => {
            receipt.findings.push(Finding { blob: blob.clone(), kind: FindingKind::Gone, detail: error.to_string() });
        }
        Some(error) => receipt.failures.push(Failure { blob: blob.clone(), position, reason: error.to_string() }),
        None => {}
    }
    let converted = converted?;
    receipt.bytes_committed += position - read.from;
    receipt.records += converted.record_count;
    receipt.rows += converted.row_count;
    receipt.rejects += converted.reject_count;
    if position == read.from && !read.replaces && !read.recreated {
        // A part without the end of a record: the next is to be longer.
        read.part_factor *= 2;
        return continues.then_some(read);
    }
    let to = Position {
        generation: read.generation,
        bytes: position,
        framing: converted.framing,
        tail_bytes: converted.tail.len() as u64,
        tail_hash: tail_hash(&converted.tail),
    };
    batch.advances.push(BlobAdvance {
        blob,
        advance: Advance { from: read.from, to: to.clone() },
        // How far the blob was looked at: less than its length where the next run is to read on.
        listed_bytes: if whole { read.blob.bytes } else { position },
        created_at: read.blob.created_at,
        modified_at: read.blob.modified_at,
        record_count: converted.record_count,
        row_count: converted.row_count,
        reject_count: converted.reject_count,
        finding: None,
    });
    read.go_on(to);
    continues.then_some(read)
}

/// Whether a blob is not there as it was listed, so that no run can read it. One whose bytes are
/// offline is there, and can be rehydrated.
fn is_gone(error: &whocalled_fetch::Error) -> bool {
    error.kind() == ErrorKind::Skip && !matches!(error, whocalled_fetch::Error::Offline { .. })
}
