//! `whocalled report`: saved questions.

use std::fs;
use std::io::Write;

use anyhow::Context as _;
use whocalled_report::{Format, Parameters, Report, Session, reports};

use super::output::{to_file, to_stdout};
use crate::args::Report as Args;
use crate::context::Context;
use crate::exit::Usage;

pub(super) async fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    if args.list {
        return list();
    }
    let chosen = match args.names.as_slice() {
        [] => reports::all()?,
        names => names.iter().map(|name| reports::find(name)).collect::<Result<_, _>>()?,
    };
    let default = if args.out.is_some() { Format::Csv } else { Format::Table };
    let format = context.format(args.format.as_ref(), default)?;
    let titled = matches!(format, Format::Table | Format::Markdown);
    if args.out.is_none() && chosen.len() > 1 && !titled {
        let message = format!("{} reports as {} need --out DIR, a file each", chosen.len(), format.name());
        return Err(Usage(message).into());
    }
    let snapshot = context.snapshot(args.lake.lake.as_ref()).await?;
    let (from, to) = context.range(&snapshot, &args.range).await?;
    let session = context.session(snapshot, &args.engine)?;
    if let Some(directory) = &args.out {
        fs::create_dir_all(directory).with_context(|| format!("cannot make directory {}", directory.display()))?;
    }
    for report in &chosen {
        let parameters = given(report, args, chosen.len() == 1, Parameters::between(from, to))?;
        let answer = session.report(report, &parameters).await?;
        match &args.out {
            Some(directory) => {
                let path = directory.join(report.name).with_extension(format.extension());
                let row_count = to_file(answer, format, &path).await?;
                context.say(format!("{}: {row_count} rows", path.display()));
            }
            None => {
                if chosen.len() > 1 {
                    writeln!(std::io::stdout(), "\n## {}: {}\n", report.name, report.question)?;
                }
                to_stdout(answer, format).await?;
            }
        }
    }
    Ok(())
}

/// The parameters of the command line that the report has. One that it has not is an error where it
/// is the only report.
fn given(report: &Report, args: &Args, alone: bool, mut parameters: Parameters) -> anyhow::Result<Parameters> {
    for text in &args.parameters {
        let (name, value) = text.split_once('=').ok_or_else(|| Usage(format!("--param {text:?} is not NAME=VALUE")))?;
        let Some(known) = report.parameters.iter().find(|it| it.name == name) else {
            if alone {
                let names = report.parameters.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Usage(format!("report {} has no parameter {name:?}; it has {names}", report.name)).into());
            }
            continue;
        };
        let value = known
            .kind
            .parse(value)
            .ok_or_else(|| Usage(format!("--param {name}: {value:?} is no {}", known.kind.name())))?;
        parameters = parameters.with(name, value);
    }
    Ok(parameters)
}

fn list() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let reports = reports::all()?;
    let width = reports.iter().map(|report| report.name.len()).max().unwrap_or(0);
    for report in reports {
        writeln!(out, "{:width$}  {}", report.name, report.question)?;
    }
    Ok(())
}

/// Writes every report of a range into a directory; how many rows each has.
pub(super) async fn write_all(
    session: &Session,
    parameters: &Parameters,
    format: Format,
    directory: &std::path::Path,
) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let mut counts = Vec::new();
    for report in reports::all()? {
        let path = directory.join(report.name).with_extension(format.extension());
        let answer = session.report(&report, parameters).await?;
        counts.push((report.name, to_file(answer, format, &path).await?));
    }
    Ok(counts)
}
