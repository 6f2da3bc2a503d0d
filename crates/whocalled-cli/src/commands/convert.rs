//! `whocalled convert`: archive to lake.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use chrono::TimeDelta;
use tokio::signal::unix::{SignalKind, signal};
use whocalled_fetch::Archive;
use whocalled_lake::Lake;
use whocalled_pipeline::{Options, Receipt, Selection};
use whocalled_types::Limits;

use super::output::json;
use super::progress::Display;
use crate::args::Convert;
use crate::context::{Context, clock, show_bytes};
use crate::exit::{Ended, Exit};
use crate::time::duration;

pub(super) async fn run(context: &Context, args: &Convert) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let hours = context.hours(args.selection.from.as_ref(), args.selection.to.as_ref())?;
    let containers = match args.selection.containers.as_slice() {
        [] => context.settings.containers.clone().unwrap_or_default(),
        given => given.to_vec(),
    };
    let selection = Selection { containers, hours };
    let seal_after = args.seal_after.as_ref().or(context.settings.seal_after.as_ref());
    let seal_after = seal_after.map_or(Ok(TimeDelta::hours(3)), |text| duration(text))?;
    if args.dry_run {
        return dry_run(context, args, &archive, selection, seal_after).await;
    }
    let mut lake = context.lake_for_writing(args.lake.lake.as_ref()).await?;
    let receipt = convert(context, &archive, &mut lake, selection, seal_after, args.threads).await?;
    let text = json(&receipt)?;
    if let Some(file) = &args.receipt {
        std::fs::write(file, &text).with_context(|| format!("cannot write receipt {}", file.display()))?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    conclude(&receipt)
}

/// Runs a conversion to its receipt, under progress and signals.
pub(super) async fn convert(
    context: &Context,
    archive: &Archive,
    lake: &mut Lake,
    selection: Selection,
    seal_after: TimeDelta,
    threads: Option<usize>,
) -> anyhow::Result<Receipt> {
    let display = Arc::new(Display::new(context));
    let told = Arc::clone(&display);
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options {
        progress: Arc::new(move |progress| told.converted(progress)),
        stop: Arc::clone(&stop),
        ..options(context, selection, seal_after, threads)
    };
    let receipt = interruptible(context, &stop, whocalled_pipeline::run(archive, lake, &options)).await;
    display.finish();
    let receipt = receipt?.map_err(anyhow::Error::from)?;
    summarise(context, &receipt);
    Ok(receipt)
}

fn options(context: &Context, selection: Selection, seal_after: TimeDelta, threads: Option<usize>) -> Options {
    Options {
        run_id: uuid::Uuid::new_v4().to_string(),
        selection,
        seal_after,
        limits: Limits::STANDARD,
        thread_count: context.threads(threads),
        clock: clock(),
        progress: Arc::new(|_| {}),
        stop: Arc::default(),
    }
}

/// Lets the work end its batch at the first signal, and abandons it at the second.
async fn interruptible<T>(context: &Context, stop: &AtomicBool, work: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.swap(true, Ordering::Relaxed) {
            context.say("abandoned; what was committed stays, and the next run goes on from there");
            return Err(Ended(Exit::Interrupted).into());
        }
        context.say("ending after the batch at hand; once more abandons it");
    }
}

fn summarise(context: &Context, receipt: &Receipt) {
    context.say(format!(
        "{} blobs listed, {} read: {} committed now, {} before, {} left",
        receipt.blobs_listed,
        receipt.blobs_read,
        show_bytes(receipt.bytes_committed),
        show_bytes(receipt.bytes_already_committed),
        show_bytes(receipt.bytes_left.total()),
    ));
    context.say(format!(
        "{} records: {} rows, {} rejects, in {} batches",
        receipt.records,
        receipt.rows,
        receipt.rejects,
        receipt.batches.len()
    ));
    if receipt.rejects > 0 {
        context.say("rejects: SELECT reason, count(*) FROM rejects GROUP BY reason");
    }
    for finding in &receipt.findings {
        context.say(format!("finding: blob {}: {}", finding.blob, finding.detail));
    }
    for failure in &receipt.failures {
        context.say(format!("failed: blob {} at byte {}: {}", failure.blob, failure.position, failure.reason));
    }
}

/// How a run with this receipt ends.
pub(super) fn conclude(receipt: &Receipt) -> anyhow::Result<()> {
    if receipt.interrupted {
        return Err(Ended(Exit::Interrupted).into());
    }
    if !receipt.failures.is_empty() {
        return Err(Ended(Exit::Incomplete).into());
    }
    Ok(())
}

async fn dry_run(
    context: &Context,
    args: &Convert,
    archive: &Archive,
    selection: Selection,
    seal_after: TimeDelta,
) -> anyhow::Result<()> {
    let lake = match context.lake(args.lake.lake.as_ref()).await {
        Ok(lake) => Some(lake),
        Err(error) if matches!(error.downcast_ref(), Some(whocalled_lake::Error::Missing { .. })) => None,
        Err(error) => return Err(error),
    };
    let options = options(context, selection, seal_after, args.threads);
    let plan = whocalled_pipeline::plan(archive, lake.as_ref(), &options).await?;
    let text = serde_json::json!({
        "blobs_listed": plan.blob_count,
        "bytes_listed": plan.listed_bytes,
        "bytes_already_committed": plan.committed_bytes,
        "blobs_to_read": plan.read_count(),
        "bytes_to_read": plan.read_bytes(),
        "list_requests": archive.traffic().request_count,
        "findings": plan.findings,
    });
    std::io::stdout().write_all(json(&text)?.as_bytes())?;
    Ok(())
}
