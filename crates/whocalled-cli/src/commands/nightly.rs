//! `whocalled nightly`: convert, optimize, and a day's reports, for a scheduler.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use chrono::{NaiveTime, TimeDelta};
use whocalled_pipeline::{Listing, Run, Selection};
use whocalled_report::{Format, Parameters, Session, render, reports};

use super::convert::{Task, conclude, convert};
use super::output::json;
use super::report::write_all;
use crate::args::Nightly;
use crate::context::{Context, now, show};
use crate::exit::{Ended, Exit, Usage};
use crate::time::date;

/// The size that compaction brings files to.
const TARGET_BYTES: u64 = 128 << 20;
const RECEIPT: &str = "receipt.json";
const SUMMARY: &str = "summary.md";

pub(super) async fn run(context: &Context, args: &Nightly) -> anyhow::Result<()> {
    let out = args.out.as_ref().or(context.settings.out.as_ref());
    let out =
        out.ok_or_else(|| Usage("no directory for the reports: give --out DIR, or set WHOCALLED_OUT".to_owned()))?;
    let day = date(&args.date, now())?;
    let format = context.format(args.format.as_ref(), Format::Csv)?;
    for name in &args.fail_on {
        reports::find(name)?;
    }
    let seal_after = context.seal_after(args.seal_after.as_ref())?;

    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let mut lake = context.lake_for_writing(args.lake.lake.as_ref()).await?;
    let selection = Selection {
        containers: context.settings.containers.clone().unwrap_or_default(),
        hours: None,
        listing: Listing::Auto,
    };
    let task = Task { selection, seal_after, threads: args.engine.threads, wait: args.wait };
    let run = convert(context, &archive, &mut lake, task).await?;
    // A run that broke off has no day to report on; one that left blobs out has.
    run.result?;
    let receipt = run.receipt;
    let optimized = lake.optimize(&receipt.run_id, TARGET_BYTES, now()).await?;
    lake.vacuum(whocalled_lake::RETENTION, now()).await?;
    let session = context.session(lake.snapshot(), &args.engine)?;
    if let Err(error) = session.materialize(&receipt.run_id, args.views.view_records_max).await {
        // The reports do without.
        tracing::warn!(%error, "the views could not be computed beforehand: queries will take longer");
    }

    let (from, to) =
        (day.and_time(NaiveTime::MIN).and_utc(), (day + TimeDelta::days(1)).and_time(NaiveTime::MIN).and_utc());
    context.say(format!("reports from {} to {} (UTC)", show(from), show(to)));
    fs::create_dir_all(out).with_context(|| format!("cannot make directory {}", out.display()))?;
    let staging = out.join(format!(".{day}-{}", receipt.run_id));
    fs::create_dir(&staging).with_context(|| format!("cannot make directory {}", staging.display()))?;
    let session = context.session(lake.snapshot(), &args.engine)?;
    let parameters = Parameters::between(from, to);
    let written = async {
        let counts = write_all(&session, &parameters, format, &staging).await?;
        fs::write(staging.join(SUMMARY), summary(&session, &parameters, &day.to_string(), &counts).await?)?;
        Ok(counts)
    };
    let counts = match written.await {
        Ok(counts) => counts,
        Err(error) => {
            drop(fs::remove_dir_all(&staging));
            return Err(error);
        }
    };
    let account = serde_json::json!({
        "date": day.to_string(),
        "reports": counts.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "compacted_tables": optimized.keys().map(|table| table.name()).collect::<Vec<_>>(),
        "convert": receipt,
    });
    let text = json(&account)?;
    fs::write(staging.join(RECEIPT), &text)?;
    let target = out.join(day.to_string());
    let changed = publish(&staging, &target)?;
    context.say(format!(
        "{} reports in {}{}",
        counts.len(),
        target.display(),
        if changed { "" } else { ", unchanged" }
    ));
    std::io::stdout().write_all(text.as_bytes())?;
    conclude(Run { receipt, result: Ok(()) })?;
    let found = counts.iter().filter(|(name, rows)| *rows > 0 && args.fail_on.iter().any(|it| it == name));
    let found: Vec<String> = found.map(|(name, rows)| format!("{name} ({rows} rows)")).collect();
    if found.is_empty() {
        return Ok(());
    }
    context.say(format!("there is something in {}", found.join(", ")));
    Err(Ended(Exit::Found).into())
}

/// The day at a glance, in Markdown: the report `summary`, and how many rows each report has.
async fn summary(
    session: &Session,
    parameters: &Parameters,
    day: &str,
    counts: &[(&'static str, u64)],
) -> anyhow::Result<Vec<u8>> {
    let mut text = format!("# {day}\n\n").into_bytes();
    let answer = session.report(&reports::find("summary")?, parameters).await?;
    render(answer, Format::Markdown, &mut text).await?;
    writeln!(text, "\n| report | rows | question |\n|---|---:|---|")?;
    for report in reports::all()?.iter().filter(|report| report.name != "summary") {
        let rows = counts.iter().find(|(name, _)| *name == report.name).map_or(0, |(_, rows)| *rows);
        writeln!(text, "| {} | {rows} | {} |", report.name, report.question)?;
    }
    Ok(text)
}

/// Puts the reports in place of those of an earlier run, if they differ; whether they do.
fn publish(staging: &Path, target: &Path) -> anyhow::Result<bool> {
    if target.exists() {
        if same_reports(staging, target)? {
            fs::remove_dir_all(staging)?;
            return Ok(false);
        }
        // Two renames: for a moment there is no directory of that day, but never half of one.
        let old = staging.with_extension("old");
        fs::rename(target, &old)?;
        fs::rename(staging, target)?;
        fs::remove_dir_all(&old)?;
    } else {
        fs::rename(staging, target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(true)
}

/// Whether two directories hold the same reports. The receipts are of different runs.
fn same_reports(left: &Path, right: &Path) -> anyhow::Result<bool> {
    let names = |directory: &Path| -> anyhow::Result<Vec<std::ffi::OsString>> {
        let mut names = fs::read_dir(directory)?.map(|it| Ok(it?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let names_left = names(left)?;
    if names_left != names(right)? {
        return Ok(false);
    }
    for name in names_left.iter().filter(|name| *name != RECEIPT) {
        if fs::read(left.join(name))? != fs::read(right.join(name))? {
            return Ok(false);
        }
    }
    Ok(true)
}
