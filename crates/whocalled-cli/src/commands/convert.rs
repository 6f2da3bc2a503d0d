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
use whocalled_pipeline::{Error, HourRange, Options, Receipt, Run, Selection};

use super::output::json;
use super::progress::Display;
use crate::args::Convert;
use crate::context::{Context, clock, show, show_bytes};
use crate::exit::{Ended, Exit};

pub(super) async fn run(context: &Context, args: &Convert) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let hours = context.hours(args.selection.from.as_ref(), args.selection.to.as_ref())?;
    let containers = match args.selection.containers.as_slice() {
        [] => context.settings.containers.clone().unwrap_or_default(),
        given => given.to_vec(),
    };
    let selection = Selection { containers, hours, listing: args.selection.list.into() };
    let seal_after = context.seal_after(args.seal_after.as_ref())?;
    if args.dry_run {
        return dry_run(context, args, &archive, selection, seal_after).await;
    }
    let mut lake = context.lake_for_writing(args.lake.lake.as_ref()).await?;
    let task = Task { selection, seal_after, threads: args.threads, wait: args.wait };
    let run = convert(context, &archive, &mut lake, task).await?;
    if !run.has_listed() {
        return conclude(run);
    }
    let text = json(&run.receipt)?;
    if let Some(file) = &args.receipt {
        std::fs::write(file, &text).with_context(|| format!("cannot write receipt {}", file.display()))?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    conclude(run)
}

/// What to convert, and how.
pub(super) struct Task {
    pub(super) selection: Selection,
    pub(super) seal_after: TimeDelta,
    pub(super) threads: Option<usize>,
    /// Whether to wait for another run to end, instead of failing.
    pub(super) wait: bool,
}

/// Runs a conversion to its receipt, under progress and signals.
pub(super) async fn convert(context: &Context, archive: &Archive, lake: &mut Lake, task: Task) -> anyhow::Result<Run> {
    let display = Arc::new(Display::new(context));
    let told = Arc::clone(&display);
    let stop = Arc::new(AtomicBool::new(false));
    let wait = task.wait;
    let mut options = Options {
        progress: Arc::new(move |progress| told.converted(progress)),
        stop: Arc::clone(&stop),
        ..options(context, task)
    };
    let waits = |run_id: &str| context.say(format!("waiting for run {run_id} to end"));
    let work = async {
        loop {
            if wait {
                whocalled_pipeline::wait_for_others(lake, &options, &waits).await?;
            }
            let run = whocalled_pipeline::run(archive, lake, &options).await;
            if !(wait && matches!(run.result, Err(Error::Lake(whocalled_lake::Error::Conflict { .. })))) {
                return Ok::<_, anyhow::Error>(run);
            }
            // Another name, since the receipt of the attempt that lost stays.
            options.run_id = run_id();
        }
    };
    let run = interruptible(context, &stop, work).await;
    display.finish();
    let run = run??;
    if run.has_listed() {
        summarise(context, &run.receipt);
    }
    Ok(run)
}

fn run_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn options(context: &Context, task: Task) -> Options {
    Options {
        run_id: run_id(),
        selection: task.selection,
        seal_after: task.seal_after,
        limits: context.limits(),
        thread_count: context.threads(task.threads),
        clock: clock(),
        progress: Arc::new(|_| {}),
        stop: Arc::default(),
    }
}

/// Lets the work end its batch at the first signal, and abandons it at the second.
pub(super) async fn interruptible<T>(
    context: &Context,
    stop: &AtomicBool,
    work: impl Future<Output = T>,
) -> anyhow::Result<T> {
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
        context.say("ending with what has been begun; once more abandons it");
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
    context.say(format!(
        "{} requests, {} received; listed {}",
        receipt.requests,
        show_bytes(receipt.bytes_received),
        show_hours(receipt.hours)
    ));
    if receipt.blobs_gone > 0 {
        context.say(format!("{} blobs are not in the archive any more; their rows stay", receipt.blobs_gone));
    }
    if receipt.rejects > 0 {
        context.say("rejects: SELECT reason, count(*) FROM rejects GROUP BY reason");
    }
    for finding in &receipt.findings {
        context.say(format!("finding: blob {}: {}", finding.blob, finding.detail));
    }
    for failure in &receipt.failures {
        context.say(format!("failed: blob {} at byte {}: {}", failure.blob, failure.position, failure.reason));
    }
    if receipt.findings_unnamed + receipt.failures_unnamed > 0 {
        context
            .say(format!("and {} more findings, {} more failures", receipt.findings_unnamed, receipt.failures_unnamed));
    }
}

/// The hours that were listed, for people.
pub(super) fn show_hours(hours: Option<HourRange>) -> String {
    hours.map_or_else(
        || "the whole archive".to_owned(),
        |hours| format!("the hours from {} to {}", show(hours.from), show(hours.to)),
    )
}

/// How a run ends: well where everything was done.
pub(super) fn conclude(run: Run) -> anyhow::Result<()> {
    let receipt = run.finished()?;
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
    let options = options(context, Task { selection, seal_after, threads: args.threads, wait: false });
    let plan = whocalled_pipeline::plan(archive, lake.as_ref(), &options).await?;
    let text = serde_json::json!({
        "blobs_listed": plan.blob_count,
        "bytes_listed": plan.listed_bytes,
        "bytes_already_committed": plan.committed_bytes,
        "blobs_to_read": plan.read_count(),
        "bytes_to_read": plan.read_bytes(),
        "requests_to_list": archive.traffic().request_count,
        "requests_to_read": plan.read_request_count(&options.limits),
        "blobs_gone": plan.gone_count(),
        "findings": plan.findings,
    });
    std::io::stdout().write_all(json(&text)?.as_bytes())?;
    Ok(())
}
