//! The SQL shell: statements end in `;`, and a few words begin with a backslash.

use std::io::Write;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use whocalled_report::{Format, Parameters, Session};

use super::output::to_stdout;
use super::statements::statements;
use crate::context::Context;

const HELP: &str = "\
\\d         tables and views
\\d NAME    the columns of one
\\f FORMAT  how rows are shown: table, csv, json, ndjson, markdown
\\q         leave
A statement ends in `;` and may span lines.";

/// What a line that begins with a backslash asks for.
enum Next {
    GoOn,
    Leave,
}

pub(super) async fn run(context: &Context, session: &Session, mut format: Format) -> anyhow::Result<()> {
    let mut editor = DefaultEditor::new()?;
    context.say("\\? for help, \\d for tables and views, \\q to leave");
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() { "whocalled> " } else { "        -> " };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if statement.is_empty() && line.trim_start().starts_with('\\') {
            editor.add_history_entry(line.trim())?;
            match command(session, line.trim(), &mut format).await {
                Ok(Next::Leave) => return Ok(()),
                Ok(Next::GoOn) => {}
                Err(error) => context.say(format!("error: {error}")),
            }
            continue;
        }
        statement.push_str(&line);
        statement.push('\n');
        if !line.trim_end().ends_with(';') {
            continue;
        }
        editor.add_history_entry(statement.trim())?;
        for one in statements(&statement) {
            let shown = async { to_stdout(session.query(one, &Parameters::new()).await?, format).await };
            if let Err(error) = shown.await {
                context.say(format!("error: {error}"));
            }
        }
        statement.clear();
    }
}

async fn command(session: &Session, line: &str, format: &mut Format) -> anyhow::Result<Next> {
    let mut out = std::io::stdout();
    match line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest.trim())) {
        ("\\q", _) => return Ok(Next::Leave),
        ("\\d", "") => {
            for relation in session.relations() {
                writeln!(out, "{:18} {}", relation.name, relation.summary)?;
            }
        }
        ("\\d", name) => match session.relations().iter().find(|relation| relation.name == name) {
            None => anyhow::bail!("there is no table or view {name:?}"),
            Some(relation) => {
                writeln!(out, "{}", relation.summary)?;
                for field in session.schema(name).await?.fields() {
                    writeln!(out, "  {:24} {}", field.name(), field.data_type())?;
                }
            }
        },
        ("\\f", name) => *format = name.parse()?,
        _ => writeln!(out, "{HELP}")?,
    }
    Ok(Next::GoOn)
}
