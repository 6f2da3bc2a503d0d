//! `whocalled optimize`: fewer, larger, sorted files, and views that are computed beforehand.

use chrono::TimeDelta;
use whocalled_report::Materialization;

use crate::args::Optimize;
use crate::context::{Context, now, show_bytes};

pub(super) async fn run(context: &Context, args: &Optimize) -> anyhow::Result<()> {
    let mut lake = context.lake(args.lake.lake.as_ref()).await?;
    lake.recover(now()).await?;
    let run_id = uuid::Uuid::new_v4().to_string();
    let optimized = lake.optimize(&run_id, args.target_mib << 20, now()).await?;
    for (table, it) in &optimized {
        context.say(format!(
            "{table}: {} files ({}) became {} ({})",
            it.files_removed,
            show_bytes(it.bytes_removed),
            it.files_added,
            show_bytes(it.bytes_added)
        ));
    }
    if optimized.is_empty() {
        context.say("no files to compact");
    }
    let vacuumed = lake.vacuum(TimeDelta::days(args.retention_days.into()), now()).await?;
    context.say(format!("{} unused files deleted ({})", vacuumed.files, show_bytes(vacuumed.bytes)));
    // Last, so that a vacuum never takes what is up to date and others took the place of.
    let session = context.session(lake.snapshot(), &args.engine)?;
    context.say(match session.materialize(&run_id, args.views.view_records_max).await? {
        Materialization::Written { views, rows, bytes } => {
            format!("{views} views computed: {rows} rows ({})", show_bytes(bytes))
        }
        Materialization::UpToDate => "the views are up to date".to_owned(),
        Materialization::TooLarge { records } => {
            format!("no views computed for {records} records of calls: queries compute them; see --view-records-max")
        }
    });
    Ok(())
}
