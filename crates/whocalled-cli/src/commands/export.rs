//! `whocalled export`: a table, view or report to another place.

use std::io::Write;

use whocalled_report::{Destination, export};

use super::output::json;
use crate::args::{Export, RangeArgs};
use crate::context::{Context, now};
use crate::exit::Usage;
use crate::time::date;

pub(super) async fn run(context: &Context, args: &Export) -> anyhow::Result<()> {
    let format = args.format.parse()?;
    let snapshot = context.snapshot(args.lake.lake.as_ref()).await?;
    let is_report = whocalled_report::reports::find(&args.name).is_ok();
    // A report is asked for days, and answers nothing without; a relation has all its dates.
    let dates = if is_report || args.from.is_some() || args.until.is_some() {
        let (from, to) =
            context.range(&snapshot, &RangeArgs { from: args.from.clone(), to: args.until.clone() }).await?;
        let last = (to - chrono::TimeDelta::microseconds(1)).date_naive();
        if args.until.as_ref().is_some_and(|until| date(until, now()).is_err()) {
            return Err(Usage("an export is of whole days: give --until a date".to_owned()).into());
        }
        Some(from.date_naive()..=last)
    } else {
        None
    };
    let session = context.session(snapshot, &args.engine)?;
    let destination = Destination::open(&args.to, context.storage_values())?.with_failpoints(context.failpoints());
    let exported = export(&session, &args.name, &destination, format, dates, now()).await?;
    context.say(format!("{} rows in {} files at {}", exported.row_count, exported.file_count, args.to));
    let receipt = serde_json::json!({
        "name": args.name,
        "to": args.to,
        "format": format.name(),
        "rows": exported.row_count,
        "files": exported.file_count,
        "removed_files": exported.removed_count,
    });
    std::io::stdout().write_all(json(&receipt)?.as_bytes())?;
    Ok(())
}
