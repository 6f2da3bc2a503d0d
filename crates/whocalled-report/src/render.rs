//! Writing an answer: for people (`table`, `markdown`) or for programs.
//!
//! Programs get every digit, RFC 3339 instants, and NULL as `null` or as an empty field, batch by
//! batch. People get rounded probabilities, and see the whole of an answer up to a limit.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::Error;
use crate::session::Answer;

/// How many rows a table for people shows; it has to hold them all to align its columns.
pub const TABLE_ROWS_MAX: u64 = 100_000;

/// What an answer is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns, for a terminal.
    Table,
    /// RFC 4180 with a header line.
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// A table of GitHub's Markdown.
    Markdown,
    /// Apache Parquet, zstd.
    Parquet,
}

impl Format {
    /// Every format, in the order in which help lists them.
    pub const ALL: [Self; 6] = [Self::Table, Self::Csv, Self::Json, Self::Ndjson, Self::Markdown, Self::Parquet];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Markdown => "markdown",
            Self::Parquet => "parquet",
        }
    }

    /// What a file of this format is called after the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Table => "txt",
            Self::Markdown => "md",
            other => other.name(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| Error::UnknownFormat { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

/// Writes all rows of an answer, and returns how many there were. A table for people says so in its
/// last line when it ends before the answer, at [`TABLE_ROWS_MAX`] rows.
///
/// # Errors
/// Those of the rows, and those of writing them.
pub async fn render(answer: Answer, format: Format, out: &mut (dyn Write + Send)) -> Result<u64, Error> {
    match format {
        Format::Table | Format::Markdown => people(answer, format, out).await,
        _ => programs(answer, format, out).await,
    }
}

async fn programs(mut answer: Answer, format: Format, out: &mut (dyn Write + Send)) -> Result<u64, Error> {
    let mut encoder = Encoder::new(format, &answer.schema, &mut *out)?;
    let mut row_count = 0;
    while let Some(batch) = answer.batches.try_next().await? {
        row_count += batch.num_rows() as u64;
        encoder.write(&batch)?;
    }
    encoder.finish()?;
    out.flush().map_err(Error::Output)?;
    Ok(row_count)
}

/// Writes batches in a format for programs.
pub(crate) enum Encoder<W: Write + Send> {
    Csv(Box<arrow::csv::Writer<W>>),
    Json(arrow::json::Writer<W, arrow::json::writer::JsonArray>),
    Ndjson(arrow::json::Writer<W, arrow::json::writer::LineDelimited>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Encoder<W> {
    pub(crate) fn new(format: Format, schema: &SchemaRef, out: W) -> Result<Self, Error> {
        let json = || arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        Ok(match format {
            Format::Json => Self::Json(json().build(out)),
            Format::Ndjson => Self::Ndjson(json().build(out)),
            Format::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(encode("parquet"))?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                let writer = ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties));
                Self::Parquet(Box::new(writer.map_err(encode("parquet"))?))
            }
            // Formats for people never come here; CSV is what is left.
            Format::Csv | Format::Table | Format::Markdown => {
                let mut writer = arrow::csv::Writer::new(out);
                // An empty batch first, so that an answer without rows still has its header line.
                writer.write(&RecordBatch::new_empty(SchemaRef::clone(schema))).map_err(encode("csv"))?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match self {
            Self::Csv(writer) => writer.write(batch).map_err(encode("csv")),
            Self::Json(writer) => writer.write(batch).map_err(encode("json")),
            Self::Ndjson(writer) => writer.write(batch).map_err(encode("ndjson")),
            Self::Parquet(writer) => writer.write(batch).map_err(encode("parquet")),
        }
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Json(mut writer) => writer.finish().map_err(encode("json")),
            Self::Ndjson(mut writer) => writer.finish().map_err(encode("ndjson")),
            Self::Parquet(writer) => writer.close().map(|_| ()).map_err(encode("parquet")),
        }
    }
}

fn encode<E: std::error::Error + Send + Sync + 'static>(format: &'static str) -> impl Fn(E) -> Error {
    move |source| Error::Encode { format, source: Box::new(source) }
}

async fn people(mut answer: Answer, format: Format, out: &mut (dyn Write + Send)) -> Result<u64, Error> {
    let schema = SchemaRef::clone(&answer.schema);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut cut = false;
    while let Some(batch) = answer.batches.try_next().await? {
        let room = usize::try_from(TABLE_ROWS_MAX).unwrap_or(usize::MAX) - rows.len();
        cut = batch.num_rows() > room;
        append_cells(&batch.slice(0, batch.num_rows().min(room)), &mut rows).map_err(encode(format.name()))?;
        if cut {
            break;
        }
    }
    let text = match format {
        Format::Markdown => markdown(&schema, &rows),
        _ => aligned(&schema, &rows),
    };
    out.write_all(text.as_bytes()).map_err(Error::Output)?;
    if cut {
        writeln!(out, "\nOnly the first {TABLE_ROWS_MAX} rows are shown; --format csv writes them all.")
            .map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    Ok(rows.len() as u64)
}

fn append_cells(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let cell = |(column, formatter): (usize, &ArrayFormatter<'_>)| {
            let text = formatter.value(row).try_to_string()?;
            Ok(match (batch.column(column).data_type(), text.parse::<f64>()) {
                (DataType::Float64 | DataType::Float32, Ok(number)) => rounded(number),
                _ => text,
            })
        };
        rows.push(formatters.iter().enumerate().map(cell).collect::<Result<_, arrow::error::ArrowError>>()?);
    }
    Ok(())
}

/// A number for people, to three decimals. What is less than certain never reads as certain.
pub(crate) fn rounded(number: f64) -> String {
    if 0.999 < number && number < 1.0 { "0.999".to_owned() } else { format!("{number:.3}") }
}

/// Columns two spaces apart, numbers to the right, under a header with a rule. A cell of several
/// lines, such as a query plan, takes as many lines of the table.
fn aligned(schema: &SchemaRef, rows: &[Vec<String>]) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&names[column]]);
        cells.flat_map(|cell| cell.lines()).map(|line| line.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>, pad: char| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let padding = widths[column].saturating_sub(cell.chars().count());
            let padding: String = std::iter::repeat_n(pad, padding).collect();
            let gap = if column == 0 { "" } else { "  " };
            if schema.field(column).data_type().is_numeric() {
                line.extend([gap, &padding, cell]);
            } else {
                line.extend([gap, cell, &padding]);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut names.iter().map(String::as_str), ' ');
    line(&mut names.iter().map(|_| ""), '-');
    for row in rows {
        let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0).max(1);
        for n in 0..height {
            line(&mut row.iter().map(|cell| cell.lines().nth(n).unwrap_or_default()), ' ');
        }
    }
    text
}

fn markdown(schema: &SchemaRef, rows: &[Vec<String>]) -> String {
    let mut text = String::from("|");
    for field in schema.fields() {
        text.extend([" ", field.name(), " |"]);
    }
    text.push_str("\n|");
    for field in schema.fields() {
        text.push_str(if field.data_type().is_numeric() { " ---: |" } else { " --- |" });
    }
    text.push('\n');
    for row in rows {
        text.push('|');
        for cell in row {
            text.extend([" ", &cell.replace('|', "\\|").replace('\n', "<br>"), " |"]);
        }
        text.push('\n');
    }
    text
}
