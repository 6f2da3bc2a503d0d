//! `whocalled fetch`: a byte-exact local mirror.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use whocalled_pipeline::{MirrorOptions, Selection, mirror};

use super::convert::interruptible;
use super::output::json;
use super::progress::Display;
use crate::args::Fetch;
use crate::context::{Context, now, show_bytes};
use crate::exit::{Ended, Exit};

pub(super) async fn run(context: &Context, args: &Fetch) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let hours = context.hours(args.selection.from.as_ref(), args.selection.until.as_ref())?;
    let containers = args.selection.containers.clone();
    let selection = Selection { containers, hours, listing: args.selection.list.into() };
    let display = Display::new(context);
    let stop = AtomicBool::new(false);
    let options = MirrorOptions {
        selection: &selection,
        limits: &context.limits(),
        wait: args.selection.wait,
        now: now(),
        progress: &|bytes| display.advanced(bytes),
        stop: &stop,
    };
    let mirrored = interruptible(context, &stop, mirror(&archive, &args.to, &options)).await;
    display.finish();
    let mirrored = mirrored??;
    context.say(format!(
        "{} blobs listed, {} written: {} in {}; {} requests",
        mirrored.blobs_listed,
        mirrored.blobs_written,
        show_bytes(mirrored.bytes_written),
        args.to.display(),
        mirrored.requests,
    ));
    for failure in &mirrored.failures {
        context.say(format!("failed: blob {} at byte {}: {}", failure.blob, failure.position, failure.reason));
    }
    std::io::stdout().write_all(json(&mirrored)?.as_bytes())?;
    match &mirrored {
        it if it.interrupted => Err(Ended(Exit::Interrupted).into()),
        it if !it.failures.is_empty() => Err(Ended(Exit::Incomplete).into()),
        _ => Ok(()),
    }
}
