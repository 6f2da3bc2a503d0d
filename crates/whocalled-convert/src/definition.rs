//! What a table is made of: one definition per category drives its schema, its decoder and its
//! page of the reference.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use whocalled_types::Table;

use crate::decode::Row;

/// Separates the keys in the path of a field. It occurs in no key that Azure writes, while dots,
/// slashes and colons do (claims are named by URIs).
pub(crate) const PATH_SEPARATOR: char = '>';

/// A table: its columns in order, and what is known about it.
pub struct Definition {
    /// The table.
    pub table: Table,
    /// What a row is, and where the facts are from; a paragraph for the reference.
    pub about: &'static str,
    /// The columns that are particular to the table, in order, and fields that are read to derive
    /// others. Provenance columns follow them in every table.
    pub columns: &'static [Column],
    /// The columns by which rows are sorted within a file.
    pub sort_by: &'static [&'static str],
    /// The columns for which files carry bloom filters.
    pub bloom: &'static [&'static str],
    /// Paths whose values are kept whole in `extra`, even where columns are read from inside.
    pub(crate) keep: &'static [&'static str],
    /// Fields whose value is the same in every record of the table, and is dropped if it is.
    pub(crate) implied: &'static [(&'static str, &'static str)],
    /// What is left to do once the fields of a record are read.
    pub(crate) finish: Option<fn(&mut Row<'_>)>,
}

/// A column, or a field that is only read to derive columns from.
pub struct Column {
    /// The column's name.
    pub name: &'static str,
    /// How a field's value becomes the column's.
    pub kind: Kind,
    /// Where in a record the value may be; the first that the record holds wins, in the record's own
    /// order, and a second, different one goes to `extra`. Keys are separated by `>`, and matched whatever their case.
    pub from: &'static [&'static str],
    /// What it means, in which unit; one sentence for the reference. Empty for hidden fields.
    pub about: &'static str,
    /// Whether it is a column of the table.
    pub visible: bool,
}

impl Column {
    pub(crate) const fn new(
        name: &'static str,
        kind: Kind,
        from: &'static [&'static str],
        about: &'static str,
    ) -> Self {
        Self { name, kind, from, about, visible: true }
    }

    /// A field that is read for `finish` to use.
    pub(crate) const fn hidden(name: &'static str, kind: Kind, from: &'static [&'static str]) -> Self {
        Self { name, kind, from, about: "", visible: false }
    }

    /// A column that no field gives directly.
    pub(crate) const fn derived(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, from: &[], about, visible: true }
    }
}

/// How the value of a field becomes that of a column. A value that does not fit goes to `extra`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as logged; an empty string is NULL.
    Text,
    /// Text as logged, of which a table holds few values.
    Label,
    /// Text in lower case, of which a table holds few values.
    LowerLabel,
    /// A GUID in lower case with hyphens.
    Guid,
    /// A GUID of which a table holds few values.
    GuidLabel,
    /// An integer, also where it was written as a string or, of one element, as an array.
    Integer,
    /// An integer of 32 bits.
    SmallInteger,
    /// A number.
    Float,
    /// `true` or `false`; `Streaming` and `Non-Streaming`.
    Boolean,
    /// An instant in any textual form that is known.
    Time,
    /// An instant in .NET ticks.
    Ticks,
    /// The value's own JSON text, unescaped first where it was a string that holds JSON.
    Json,
    /// Bytes.
    Binary,
    /// A day in UTC.
    Date,
}

impl Kind {
    /// The Arrow type of the column, as the lake declares it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::Label | Self::LowerLabel | Self::Guid | Self::GuidLabel | Self::Json => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::SmallInteger => DataType::Int32,
            Self::Float => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Time | Self::Ticks => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
        }
    }
}

/// The columns with which every row says where it came from.
pub const PROVENANCE: &[Column] = &[
    Column::derived(
        "extra",
        Kind::Json,
        "Fields of the record that the table does not know, as a JSON object from path to value.",
    ),
    Column::derived("blob", Kind::Label, "The blob of the archive that holds the record, as `container/name`."),
    Column::derived(
        "generation",
        Kind::SmallInteger,
        "How often the blob had been re-created under its name when the record was read.",
    ),
    Column::derived("blob_offset", Kind::Integer, "The byte of the blob at which the record begins."),
    Column::derived("date", Kind::Date, "The UTC day of `time`; the partition column."),
];

/// Columns that are never NULL.
const REQUIRED: &[&str] = &["time", "reason", "record_bytes", "blob", "generation", "blob_offset", "date"];

impl Definition {
    /// The columns that a reader of the table sees, provenance included.
    pub fn visible_columns(&self) -> impl Iterator<Item = &'static Column> + use<> {
        let skipped = usize::from(self.table == Table::Rejects);
        self.columns.iter().filter(|column| column.visible).chain(&PROVENANCE[skipped..])
    }

    /// The table's schema, as the lake declares it.
    pub fn schema(&self) -> SchemaRef {
        let fields = self
            .visible_columns()
            .map(|column| Field::new(column.name, column.kind.data_type(), !REQUIRED.contains(&column.name)));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}
