//! The header comment of an embedded SQL file: the one place that says what it answers.
//!
//! ```text
//! -- name: shadow-admin
//! -- question: Who changed files, fine-tunes and deployments through the data plane?
//! -- parameters:
//! --   from (timestamp): the beginning of the range, included
//! --   top (integer, default 20): how many rows
//! -- columns:
//! --   account: the resource that was changed
//! -- reading: What the numbers do and do not say. Goes on
//! --   for as many lines as it likes.
//! ```
//!
//! A report that compares its range with all that came before has `reads: everything` as well.
//!
//! A view has `row` (what a row of it is) where a report has `question`, and `how` (how it is built)
//! where a report has `reading`.

use crate::error::Error;
use crate::parameters::Value;

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) summary: String,
    pub(crate) parameters: Vec<ParameterDoc>,
    pub(crate) columns: Vec<ColumnDoc>,
    pub(crate) notes: String,
    pub(crate) reads_everything: bool,
}

/// The type of a report's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// An instant.
    Timestamp,
    /// A whole number.
    Integer,
    /// A real number.
    Number,
    /// Text.
    Text,
}

/// A parameter of a report, as its header has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterDoc {
    /// Its name, without the `$`.
    pub name: String,
    /// Its type.
    pub kind: ParameterKind,
    /// Its value when none is given; `None` when one must be.
    pub default: Option<Value>,
    /// What it is for.
    pub text: String,
}

/// A column of a report or view, as its header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl ParameterKind {
    /// The name that headers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "text",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Timestamp, Self::Integer, Self::Number, Self::Text].into_iter().find(|kind| kind.name() == name)
    }

    /// Reads a value of this kind; `None` when the text is not one. Instants are RFC 3339.
    pub fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Timestamp => {
                chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| Value::Time(at.with_timezone(&chrono::Utc)))
            }
            Self::Integer => text.parse().ok().map(Value::Integer),
            Self::Number => text.parse().ok().map(Value::Float),
            Self::Text => Some(Value::Text(text.to_owned())),
        }
    }

    /// Whether a value is of this kind; a whole number also is a number.
    pub(crate) fn admits(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Timestamp, Value::Time(_))
                | (Self::Integer, Value::Integer(_))
                | (Self::Number, Value::Float(_) | Value::Integer(_))
                | (Self::Text, Value::Text(_))
        )
    }
}

/// Takes the header off the beginning of an SQL file, and returns it with the statement.
pub(crate) fn parse(file: &'static str, text: &'static str) -> Result<(Header, &'static str), Error> {
    let wrong = |reason: String| Error::Header { file, reason };
    let mut header = Header {
        name: "",
        summary: String::new(),
        parameters: vec![],
        columns: vec![],
        notes: String::new(),
        reads_everything: false,
    };
    let mut section = "";
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        let Some(comment) = line.strip_prefix("--") else { break };
        rest = after;
        let (key, value) = match comment.strip_prefix("   ") {
            Some(continued) => (section, continued.trim()),
            None => comment.trim().split_once(':').ok_or_else(|| wrong(format!("{line:?} has no `key:`")))?,
        };
        section = key;
        let value = value.trim();
        match key {
            "name" => header.name = value,
            "row" | "question" => push_text(&mut header.summary, value),
            "how" | "reading" => push_text(&mut header.notes, value),
            "reads" if value == "everything" => header.reads_everything = true,
            "columns" | "parameters" if value.is_empty() => {}
            "columns" => column(&mut header.columns, value),
            "parameters" => header.parameters.push(parameter(value).map_err(wrong)?),
            other => return Err(wrong(format!("unknown key {other:?}"))),
        }
    }
    if header.name.is_empty() || header.summary.is_empty() || header.columns.is_empty() {
        return Err(wrong("name, question or row, and columns are all needed".to_owned()));
    }
    Ok((header, rest.trim().trim_end_matches(';')))
}

fn push_text(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

/// `name: text`, or the continuation of the column before.
fn column(columns: &mut Vec<ColumnDoc>, value: &str) {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_, ".contains(c));
    match value.split_once(": ") {
        Some((name, text)) if is_name(name) => {
            columns.push(ColumnDoc { name: name.to_owned(), text: text.to_owned() });
        }
        _ => {
            if let Some(last) = columns.last_mut() {
                push_text(&mut last.text, value);
            }
        }
    }
}

/// `name (kind): text` or `name (kind, default value): text`.
fn parameter(value: &str) -> Result<ParameterDoc, String> {
    let parts = || {
        let (name, rest) = value.split_once(" (")?;
        let (kind, text) = rest.split_once("): ")?;
        Some((name, kind, text))
    };
    let (name, kind, text) = parts().ok_or_else(|| format!("parameter {value:?} is not `name (kind): text`"))?;
    let (kind, default) = match kind.split_once(", default ") {
        Some((kind, default)) => (kind, Some(default)),
        None => (kind, None),
    };
    let kind = ParameterKind::from_name(kind).ok_or_else(|| format!("unknown kind {kind:?}"))?;
    let default = match default {
        Some(text) => Some(kind.parse(text).ok_or_else(|| format!("default {text:?} is no {}", kind.name()))?),
        None => None,
    };
    Ok(ParameterDoc { name: name.to_owned(), kind, default, text: text.to_owned() })
}
