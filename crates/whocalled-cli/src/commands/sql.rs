//! `whocalled sql`: a statement, a file of statements, or a shell.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::Context as _;
use whocalled_report::{Format, Parameters};

use super::output::to_stdout;
use super::shell;
use crate::args::Sql;
use crate::context::Context;

pub(super) async fn run(context: &Context, args: &Sql) -> anyhow::Result<()> {
    let format = context.format(args.format.as_ref(), Format::Table)?;
    let lake = context.lake(args.lake.lake.as_ref()).await?;
    let session = context.session(&lake, &args.engine).await?;
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

/// The statements of a text, cut at semicolons that are in no string, quoted name or comment.
pub(super) fn statements(text: &str) -> impl Iterator<Item = &str> {
    let mut cuts = Vec::new();
    let mut begin = 0;
    let mut end_of_quote: Option<&str> = None;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let width = rest.chars().next().map_or(1, char::len_utf8);
        match end_of_quote {
            Some(end) if rest.starts_with(end) => {
                at += end.len();
                end_of_quote = None;
                continue;
            }
            Some(_) => {}
            None if rest.starts_with('\'') => end_of_quote = Some("'"),
            None if rest.starts_with('"') => end_of_quote = Some("\""),
            None if rest.starts_with("--") => end_of_quote = Some("\n"),
            None if rest.starts_with("/*") => end_of_quote = Some("*/"),
            None if rest.starts_with(';') => {
                cuts.push((begin, at));
                begin = at + 1;
            }
            None => {}
        }
        at += width;
    }
    cuts.push((begin, text.len()));
    cuts.into_iter().map(|(begin, end)| text[begin..end].trim()).filter(|statement| !is_blank(statement))
}

/// Whether a statement is nothing but comments.
fn is_blank(statement: &str) -> bool {
    statement.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}
