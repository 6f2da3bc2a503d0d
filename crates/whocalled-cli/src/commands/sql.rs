//! `whocalled sql`: a statement, a file of statements, or a shell.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::Context as _;
use whocalled_report::{Format, Parameters};

use super::output::to_stdout;
use super::shell;
use super::statements::statements;
use crate::args::Sql;
use crate::context::Context;

pub(super) async fn run(context: &Context, args: &Sql) -> anyhow::Result<()> {
    let format = context.format(args.format.as_ref(), Format::Table)?;
    let snapshot = context.snapshot(args.lake.lake.as_ref()).await?;
    let session = context.session(snapshot, &args.engine)?;
    let text = match (&args.command, &args.file) {
        (Some(command), _) => command.clone(),
        (None, Some(file)) => read(file)?,
        // A pipe is a file without a name.
        (None, None) if !std::io::stdin().is_terminal() => read(Path::new("-"))?,
        (None, None) => return shell::run(context, &session, format).await,
    };
    for statement in statements(&text) {
        to_stdout(session.query(statement, &Parameters::new()).await?, format).await?;
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
