//! Builders of Arrow columns from slots.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use whocalled_types::Table;

use crate::decode::{Row, Slot};
use crate::definition::{Definition, Kind, PROVENANCE};
use crate::label::LabelBuilder;

/// Where a row comes from; the same for every row of a blob but for the offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) blob: &'a str,
    pub(crate) generation: i32,
    pub(crate) offset: i64,
}

enum ColumnBuilder {
    Text(StringBuilder),
    Label(LabelBuilder),
    Integer(Int64Builder),
    SmallInteger(Int32Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Binary(BinaryBuilder),
}

impl ColumnBuilder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Guid | Kind::Json => Self::Text(StringBuilder::new()),
            Kind::Label | Kind::LowerLabel | Kind::GuidLabel => Self::Label(LabelBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::SmallInteger => Self::SmallInteger(Int32Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Time | Kind::Ticks => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
        }
    }

    fn append_text(&mut self, text: Option<&str>) {
        match self {
            Self::Text(builder) => builder.append_option(text),
            Self::Label(builder) => builder.append_option(text),
            _ => {}
        }
    }

    fn append(&mut self, slot: Slot, row: &Row<'_>) {
        let integer = if let Slot::Integer(value) = slot { Some(value) } else { None };
        match self {
            Self::Text(_) | Self::Label(_) => {
                self.append_text(if let Slot::Text(span) = slot { Some(row.resolve(span)) } else { None });
            }
            Self::Integer(builder) => builder.append_option(integer),
            // `Kind::SmallInteger` and dates are checked to fit when their slots are filled.
            Self::SmallInteger(builder) => builder.append_option(integer.and_then(|it| i32::try_from(it).ok())),
            Self::Date(builder) => builder.append_option(integer.and_then(|it| i32::try_from(it).ok())),
            Self::Time(builder) => builder.append_option(integer),
            Self::Float(builder) => {
                builder.append_option(if let Slot::Float(value) = slot { Some(value) } else { None });
            }
            Self::Boolean(builder) => {
                builder.append_option(if let Slot::Boolean(value) = slot { Some(value) } else { None });
            }
            Self::Binary(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Label(builder) => Arc::new(builder.finish()?),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::SmallInteger(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
        })
    }
}

/// Collects the rows of one table.
pub(crate) struct TableBuilder {
    definition: &'static Definition,
    /// One per visible column, with the slot it takes; provenance columns excluded.
    columns: Vec<(usize, ColumnBuilder)>,
    provenance: Vec<ColumnBuilder>,
    pub(crate) row_count: usize,
}

/// A record that is not decoded, as a row of `rejects`.
pub(crate) struct Reject<'a> {
    pub(crate) category: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) record_bytes: i64,
    pub(crate) record: &'a [u8],
    pub(crate) date: i32,
}

impl TableBuilder {
    pub(crate) fn new(definition: &'static Definition) -> Self {
        let visible = definition.columns.iter().enumerate().filter(|(_, column)| column.visible);
        let skipped = usize::from(definition.table == Table::Rejects);
        Self {
            definition,
            columns: visible.map(|(slot, column)| (slot, ColumnBuilder::new(column.kind))).collect(),
            provenance: PROVENANCE[skipped..].iter().map(|column| ColumnBuilder::new(column.kind)).collect(),
            row_count: 0,
        }
    }

    pub(crate) fn append(&mut self, row: &Row<'_>, origin: Origin<'_>) {
        let slots = row.slots();
        for (slot, builder) in &mut self.columns {
            builder.append(slots[*slot], row);
        }
        match row.extra() {
            "" => self.provenance[0].append_text(None),
            extra => {
                if let ColumnBuilder::Text(builder) = &mut self.provenance[0] {
                    // Written in pieces, so that the braces cost no copy.
                    use std::fmt::Write as _;
                    let written = write!(builder, "{{{extra}}}");
                    debug_assert!(written.is_ok(), "writing to a builder cannot fail");
                    builder.append_value("");
                }
            }
        }
        self.append_origin(1, origin);
        self.provenance[4].append(slots[row.plan.date], row);
        self.row_count += 1;
    }

    pub(crate) fn append_reject(&mut self, reject: &Reject<'_>, origin: Origin<'_>) {
        for ((_, builder), column) in self.columns.iter_mut().zip(self.definition.columns) {
            match (builder, column.name) {
                (ColumnBuilder::Integer(builder), _) => builder.append_value(reject.record_bytes),
                (ColumnBuilder::Binary(builder), _) => builder.append_value(reject.record),
                (builder, "reason") => builder.append_text(Some(reject.reason)),
                (builder, _) => builder.append_text(Some(reject.category)),
            }
        }
        self.append_origin(0, origin);
        if let ColumnBuilder::Date(builder) = &mut self.provenance[3] {
            builder.append_value(reject.date);
        }
        self.row_count += 1;
    }

    /// Appends `blob`, `generation` and `blob_offset`, the first of which is the column `first`.
    fn append_origin(&mut self, first: usize, origin: Origin<'_>) {
        self.provenance[first].append_text(Some(origin.blob));
        if let ColumnBuilder::SmallInteger(builder) = &mut self.provenance[first + 1] {
            builder.append_value(origin.generation);
        }
        if let ColumnBuilder::Integer(builder) = &mut self.provenance[first + 2] {
            builder.append_value(origin.offset);
        }
    }

    /// The rows collected so far; the builder begins anew.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.row_count = 0;
        let builders = self.columns.iter_mut().map(|(_, builder)| builder).chain(&mut self.provenance);
        let arrays: Vec<ArrayRef> = builders.map(ColumnBuilder::finish).collect::<Result<_, _>>()?;
        let declared = self.definition.schema();
        let fields = declared.fields().iter().zip(&arrays).map(|(field, array)| {
            // Labels stay dictionaries in memory; their logical type is the declared one.
            Field::new(field.name(), array.data_type().clone(), field.is_nullable())
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), arrays)
    }
}
