//! The reports, each an SQL file under `sql/reports` whose header says what it answers.

use crate::error::Error;
use crate::header::{self, ColumnDoc, ParameterDoc};
use crate::parameters::{Parameters, Value};

/// A saved question.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its name on the command line.
    pub name: &'static str,
    /// The question that it answers, in a sentence.
    pub question: String,
    /// Its parameters; `from` and `to` are always among them.
    pub parameters: Vec<ParameterDoc>,
    /// Its columns, in order.
    pub columns: Vec<ColumnDoc>,
    /// How to read it: what the numbers say, and what they do not.
    pub reading: String,
    /// Whether it compares the range with all that came before, so that all calls are read.
    pub reads_everything: bool,
    /// The statement, with `$name` placeholders.
    pub sql: &'static str,
}

const FILES: &[(&str, &str)] = &[
    ("summary.sql", include_str!("sql/reports/summary.sql")),
    ("attribution.sql", include_str!("sql/reports/attribution.sql")),
    ("key-access.sql", include_str!("sql/reports/key-access.sql")),
    ("shadow-admin.sql", include_str!("sql/reports/shadow-admin.sql")),
    ("unattributed.sql", include_str!("sql/reports/unattributed.sql")),
    ("leaked-key.sql", include_str!("sql/reports/leaked-key.sql")),
    ("key-exposure.sql", include_str!("sql/reports/key-exposure.sql")),
    ("rotation.sql", include_str!("sql/reports/rotation.sql")),
    ("new-addresses.sql", include_str!("sql/reports/new-addresses.sql")),
    ("local-auth.sql", include_str!("sql/reports/local-auth.sql")),
    ("usage.sql", include_str!("sql/reports/usage.sql")),
    ("failed.sql", include_str!("sql/reports/failed.sql")),
    ("latency.sql", include_str!("sql/reports/latency.sql")),
    ("trace.sql", include_str!("sql/reports/trace.sql")),
    ("coverage.sql", include_str!("sql/reports/coverage.sql")),
];

/// Every report, in the order in which a reader would want them.
///
/// # Errors
/// [`Error::Header`] when an embedded file is not in order.
pub fn all() -> Result<Vec<Report>, Error> {
    FILES
        .iter()
        .map(|(file, text)| {
            let (header, sql) = header::parse(file, text)?;
            Ok(Report {
                name: header.name,
                question: header.summary,
                parameters: header.parameters,
                columns: header.columns,
                reading: header.notes,
                reads_everything: header.reads_everything,
                sql,
            })
        })
        .collect()
}

/// The report of that name.
///
/// # Errors
/// [`Error::UnknownReport`] with the names there are.
pub fn find(name: &str) -> Result<Report, Error> {
    let reports = all()?;
    let known = reports.iter().map(|report| report.name).collect::<Vec<_>>().join(", ");
    let found = reports.into_iter().find(|report| report.name == name);
    found.ok_or_else(|| Error::UnknownReport { name: name.to_owned(), known })
}

impl Report {
    /// The given values, and the defaults of the others.
    pub(crate) fn complete(&self, given: &Parameters) -> Result<Parameters, Error> {
        let wrong = |name: &str, reason: String| Error::Parameter { name: name.to_owned(), reason };
        if let Some(unknown) = given.names().find(|name| self.parameters.iter().all(|it| it.name != *name)) {
            let known = self.parameters.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(wrong(unknown, format!("report {} has no such parameter; it has {known}", self.name)));
        }
        let mut complete = Parameters::new();
        for parameter in &self.parameters {
            let value = given.get(&parameter.name).or(parameter.default.as_ref()).cloned();
            let value = value.ok_or_else(|| wrong(&parameter.name, format!("report {} needs it", self.name)))?;
            if !parameter.kind.admits(&value) {
                return Err(wrong(&parameter.name, format!("a {} is expected, not {value:?}", parameter.kind.name())));
            }
            let value = match value {
                Value::Integer(number) if parameter.kind == header::ParameterKind::Number => {
                    // Past 2^53 the nearest real number is meant, as in SQL.
                    #[expect(clippy::cast_precision_loss, reason = "the nearest real number is what SQL takes too")]
                    Value::Float(number as f64)
                }
                other => other,
            };
            complete = complete.with(&parameter.name, value);
        }
        Ok(complete)
    }
}
