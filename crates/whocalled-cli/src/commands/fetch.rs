//! `whocalled fetch`: a byte-exact local mirror.

use std::io::Write;

use whocalled_pipeline::{Selection, mirror};
use whocalled_types::Limits;

use super::output::json;
use super::progress::Display;
use crate::args::Fetch;
use crate::context::{Context, show_bytes};
use crate::exit::{Ended, Exit};

pub(super) async fn run(context: &Context, args: &Fetch) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let hours = context.hours(args.selection.from.as_ref(), args.selection.until.as_ref())?;
    let selection = Selection { containers: args.selection.containers.clone(), hours };
    let display = Display::new(context);
    let mirrored = mirror(&archive, &args.to, &selection, &Limits::STANDARD, &|bytes| display.advanced(bytes)).await;
    display.finish();
    let mirrored = mirrored?;
    context.say(format!(
        "{} blobs listed, {} written: {} in {}",
        mirrored.blobs_listed,
        mirrored.blobs_written,
        show_bytes(mirrored.bytes_written),
        args.to.display()
    ));
    std::io::stdout().write_all(json(&mirrored)?.as_bytes())?;
    if mirrored.failures.is_empty() { Ok(()) } else { Err(Ended(Exit::Incomplete).into()) }
}
