//! `whocalled doctor`: what works, what does not, and what to do.
//!
//! Each check is a function that gives lines. None ends the others, whatever it comes upon.

mod account;
mod containers;
mod lake;
mod machine;

use std::fmt;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::output::json;
use crate::args::{Doctor, Shape};
use crate::context::Context;
use crate::exit::{Ended, Exit};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// How a terminal colours it.
    const fn colour(self) -> &'static str {
        match self {
            Self::Pass => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[31m",
        }
    }
}

/// What a check is about, which says with which code its failure ends the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Area {
    Settings,
    Archive,
    Lake,
    Machine,
}

impl Area {
    const fn exit(self) -> Exit {
        match self {
            Self::Settings => Exit::Usage,
            Self::Archive => Exit::Archive,
            Self::Lake => Exit::Lake,
            Self::Machine => Exit::Incomplete,
        }
    }
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
struct Line {
    verdict: Verdict,
    area: Area,
    /// What was checked, in a word or two.
    check: String,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// What only somebody who looks into it wants to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

impl Line {
    fn pass(area: Area, check: impl Into<String>, found: impl Into<String>) -> Self {
        let (check, found) = (check.into(), found.into());
        Self { verdict: Verdict::Pass, area, check, found, next: None, details: Vec::new() }
    }

    fn warn(area: Area, check: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, next: Some(next.into()), ..Self::pass(area, check, found) }
    }

    fn fail(area: Area, check: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, next: Some(next.into()), ..Self::pass(area, check, found) }
    }
}

/// An error with all its causes, in one line.
fn reason(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into()).lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A number of things by name: `1 blob`, `2 blobs`.
fn counted(count: u64, name: &str) -> impl fmt::Display {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

pub(super) async fn run(context: &Context, args: &Doctor) -> anyhow::Result<()> {
    let mut lines = vec![settings(context)];
    context.say("checking the archive");
    lines.extend(account::check(context, &args.archive).await);
    context.say("checking the lake");
    lines.extend(lake::check(context, args.lake.lake.as_ref()).await);
    lines.extend(machine::check(context));
    let text = match args.format {
        Shape::Table => table(&lines, std::io::stdout().is_terminal() && context.may_colour()),
        Shape::Json => json(&lines)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    context.say(format!("{} pass, {} warn, {} fail", count(Verdict::Pass), count(Verdict::Warn), count(Verdict::Fail)));
    match lines.iter().find(|line| line.verdict == Verdict::Fail) {
        Some(line) => Err(Ended(line.area.exit()).into()),
        None => Ok(()),
    }
}

fn settings(context: &Context) -> Line {
    let check = "settings";
    match (&context.settings_error, &context.settings.file) {
        (Some(error), _) => Line::fail(
            Area::Settings,
            check,
            format!("{error:#}; checked without it"),
            "correct the file; `whocalled init` writes one with every key",
        ),
        (None, Some(file)) => {
            let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            Line::pass(Area::Settings, check, format!("read from {}", path.display()))
        }
        (None, None) => {
            Line::pass(Area::Settings, check, "no whocalled.toml in this directory: flags and environment only")
        }
    }
}

/// The lines for people, in columns; what to do is below each finding.
fn table(lines: &[Line], colours: bool) -> String {
    let width = lines.iter().map(|line| line.check.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for line in lines {
        let (on, off) = if colours { (line.verdict.colour(), "\x1b[0m") } else { ("", "") };
        text.push_str(&format!("{on}{}{off}  {:width$}  {}\n", line.verdict.name(), line.check, line.found));
        if let Some(next) = &line.next {
            text.push_str(&format!("      {:width$}  -> {next}\n", ""));
        }
    }
    text
}
