//! The reference pages of views and reports, made from their headers.

use std::fmt::Write;

use crate::error::Error;
use crate::header::ColumnDoc;
use crate::{reports, views};

/// The page about the reports, in Markdown: for each its question, parameters, columns, and how to
/// read it.
///
/// # Errors
/// [`Error::Header`] when an embedded file is not in order.
pub fn reports_page() -> Result<String, Error> {
    let mut page = String::from(
        "# Reports\n\nEach report is one SQL file; `whocalled report NAME` runs it over a half-open range of time \
         `[from, to)`.\n",
    );
    for report in reports::all()? {
        section(&mut page, report.name, &report.question);
        page.push_str("| parameter | type | default | |\n| --- | --- | --- | --- |\n");
        for parameter in &report.parameters {
            let default = parameter.default.as_ref().map(|value| match value {
                crate::Value::Text(text) => text.clone(),
                crate::Value::Integer(number) => number.to_string(),
                crate::Value::Float(number) => number.to_string(),
                crate::Value::Time(at) => at.to_rfc3339(),
            });
            let default = default.unwrap_or_default();
            line(&mut page, &[&parameter.name, parameter.kind.name(), &default, &parameter.text]);
        }
        page.push('\n');
        columns(&mut page, &report.columns);
        line_of_text(&mut page, &report.reading);
    }
    Ok(page)
}

/// The page about the views, in Markdown: for each what a row is, its columns, and how it is built.
///
/// # Errors
/// [`Error::Header`] when an embedded file is not in order.
pub fn views_page() -> Result<String, Error> {
    let mut page = String::from(
        "# Views\n\nViews over the tables of the lake, in the order in which they build on each other. Queries can \
         name them like tables.\n",
    );
    for view in views::all()? {
        section(&mut page, view.name, &view.header.summary);
        columns(&mut page, &view.header.columns);
        line_of_text(&mut page, &view.header.notes);
    }
    Ok(page)
}

fn section(page: &mut String, name: &str, summary: &str) {
    page.extend(["\n## ", name, "\n\n", summary, "\n\n"]);
}

fn columns(page: &mut String, columns: &[ColumnDoc]) {
    page.push_str("| column | |\n| --- | --- |\n");
    for column in columns {
        line(page, &[&column.name, &column.text]);
    }
}

fn line(page: &mut String, cells: &[&str]) {
    page.push('|');
    for cell in cells {
        // Writing to a String cannot fail.
        let _ = write!(page, " {} |", cell.replace('|', "\\|"));
    }
    page.push('\n');
}

fn line_of_text(page: &mut String, text: &str) {
    if !text.is_empty() {
        page.extend(["\n", text, "\n"]);
    }
}
