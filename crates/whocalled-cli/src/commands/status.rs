//! `whocalled status`: what is committed, by container and resource; and how the last runs went.

use whocalled_report::{Format, runs, status};

use super::output::to_stdout;
use crate::args::Status;
use crate::context::{Context, now};

pub(super) async fn run(context: &Context, args: &Status) -> anyhow::Result<()> {
    let format = context.format(args.format.as_ref(), Format::Table)?;
    let seal_after = context.seal_after(args.seal_after.as_ref())?;
    let lake = context.lake(args.lake.lake.as_ref()).await?;
    let unapplied: Vec<&str> = lake.unapplied().map(|table| table.name()).collect();
    if !unapplied.is_empty() {
        context.say(format!(
            "batch {} is decided and not yet applied to {}: the next convert applies it",
            lake.last_batch(),
            unapplied.join(", ")
        ));
    }
    let answer = match args.runs {
        Some(count_max) => runs(&lake.receipts(count_max).await?, format)?,
        None => status(lake.positions().await?, seal_after, now(), format)?,
    };
    to_stdout(answer, format).await?;
    Ok(())
}
