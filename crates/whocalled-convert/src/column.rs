//! Builders of Arrow columns from slots.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder,
    Int32Builder, Int64Builder, PrimitiveArray, PrimitiveBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use whocalled_types::Table;

use crate::block::{BATCH_ROWS, Block, Cell, room};
use crate::canonical::{ip_prefix, is_canonical_guid, push_guid, push_lower};
use crate::decode::Row;
use crate::definition::{Definition, Kind, PROVENANCE};
use crate::label::{LabelBuilder, NULL};
use crate::plan::Plan;
use crate::time::date_of_micros;
use crate::value::Value;

/// For how many bytes of text room is made before they come.
const TEXT_ROOM_BYTES_MAX: usize = 1 << 20;

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

    fn append(&mut self, value: Value<&str>) {
        match self {
            Self::Text(_) | Self::Label(_) => self.append_text(value.text()),
            Self::Integer(builder) => builder.append_option(value.integer()),
            Self::SmallInteger(builder) => builder.append_option(value.small_integer()),
            Self::Date(builder) => builder.append_option(value.small_integer()),
            Self::Time(builder) => builder.append_option(value.integer()),
            Self::Float(builder) => builder.append_option(value.float()),
            Self::Boolean(builder) => builder.append_option(value.boolean()),
            Self::Binary(builder) => builder.append_null(),
        }
    }

    /// Appends the values of a block, whose texts are ranges of `text`, in the form that `kind` has them.
    fn append_cells(&mut self, cells: &[Cell], kind: Kind, text: &str) {
        let texts = cells.iter().map(|cell| cell.text().map(|(start, end)| &text[start..end]));
        match self {
            Self::Text(builder) if kind == Kind::Guid => append_guids(builder, texts),
            Self::Text(builder) => texts.for_each(|text| builder.append_option(text)),
            Self::Label(builder) => match kind {
                Kind::LowerLabel => builder.append_canonical(texts, push_lower),
                Kind::GuidLabel => builder.append_canonical(texts, push_guid),
                _ => texts.for_each(|text| builder.append_option(text)),
            },
            Self::Integer(builder) => append_all(builder, cells.iter().map(|cell| cell.integer())),
            Self::SmallInteger(builder) => append_all(builder, cells.iter().map(|cell| cell.small_integer())),
            Self::Date(builder) => append_all(builder, cells.iter().map(|cell| cell.small_integer())),
            Self::Time(builder) => append_all(builder, cells.iter().map(|cell| cell.integer())),
            Self::Float(builder) => append_all(builder, cells.iter().map(|cell| cell.float())),
            Self::Boolean(builder) => cells.iter().for_each(|cell| builder.append_option(cell.boolean())),
            Self::Binary(builder) => builder.append_nulls(cells.len()),
        }
    }

    /// Appends a text, or NULL, so many times.
    fn append_repeated(&mut self, text: Option<&str>, count: usize) {
        match (self, text) {
            (Self::Label(builder), text) => builder.append_repeated(text, count),
            (Self::Text(builder), Some(text)) => builder.append_value_n(text, count),
            (Self::Text(builder), None) => builder.append_nulls(count),
            (Self::Integer(builder), _) => builder.append_nulls(count),
            (Self::SmallInteger(builder), _) => builder.append_nulls(count),
            (Self::Date(builder), _) => builder.append_nulls(count),
            (Self::Time(builder), _) => builder.append_nulls(count),
            (Self::Float(builder), _) => builder.append_nulls(count),
            (Self::Boolean(builder), _) => builder.append_nulls(count),
            (Self::Binary(builder), _) => builder.append_nulls(count),
        }
    }

    /// The column; the builder begins anew, with room for the next batch.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(builder) => {
                let (row_count, text_bytes) = (builder.len(), builder.values_slice().len());
                let next = StringBuilder::with_capacity(room(row_count), text_room_bytes(row_count, text_bytes));
                Arc::new(std::mem::replace(builder, next).finish())
            }
            Self::Label(builder) => Arc::new(builder.finish()?),
            Self::Integer(builder) => Arc::new(finish(builder)),
            Self::SmallInteger(builder) => Arc::new(finish(builder)),
            Self::Float(builder) => Arc::new(finish(builder)),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(finish(builder)),
            Self::Date(builder) => Arc::new(finish(builder)),
            Self::Binary(builder) => Arc::new(builder.finish()),
        })
    }
}

/// The bytes to make room for after a batch whose texts have `text_bytes`: those of a full one with texts as long, and
/// a little more. A batch with few rows is taken to foretell no more than [`TEXT_ROOM_BYTES_MAX`].
fn text_room_bytes(row_count: usize, text_bytes: usize) -> usize {
    let of_full_batch = text_bytes.saturating_mul(room(row_count)) / row_count.max(1);
    let text_bytes = text_bytes.max(of_full_batch.min(TEXT_ROOM_BYTES_MAX));
    text_bytes + text_bytes / 16
}

fn finish<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>) -> PrimitiveArray<T> {
    let row_count = builder.len();
    let array = builder.finish();
    *builder = PrimitiveBuilder::with_capacity(room(row_count)).with_data_type(array.data_type().clone());
    array
}

/// Appends the values of a block, at once where none is NULL, as mostly.
fn append_all<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    values: impl ExactSizeIterator<Item = Option<T::Native>> + Clone,
) {
    if values.clone().all(|value| value.is_some()) {
        builder.append_slice(&values.map(Option::unwrap_or_default).collect::<Vec<_>>());
    } else {
        builder.extend(values);
    }
}

fn append_guids<'t>(builder: &mut StringBuilder, texts: impl Iterator<Item = Option<&'t str>>) {
    let mut canonical = String::new();
    for text in texts {
        match text {
            Some(text) if !is_canonical_guid(text) => {
                canonical.clear();
                push_guid(text, &mut canonical);
                builder.append_value(&canonical);
            }
            _ => builder.append_option(text),
        }
    }
}

/// Collects the rows of one table.
pub(crate) struct TableBuilder {
    definition: &'static Definition,
    /// One per visible column, with the slot it takes; provenance columns excluded.
    columns: Vec<(usize, ColumnBuilder)>,
    provenance: Vec<ColumnBuilder>,
    /// What each address shows of its network, by its code in `caller_ip`: the code of its prefix, and how many digits
    /// are hidden.
    networks: Vec<(i32, Option<i32>)>,
    row_count: usize,
    /// The batches that are full, and what kept one from being made.
    full: Vec<Result<RecordBatch, ArrowError>>,
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
            networks: Vec::new(),
            row_count: 0,
            full: Vec::new(),
        }
    }

    pub(crate) fn append(&mut self, row: &Row<'_>, origin: Origin<'_>) {
        for (slot, builder) in &mut self.columns {
            builder.append(row.value(*slot));
        }
        match row.extra() {
            "" => self.provenance[0].append_text(None),
            extra => self.provenance[0].append_text(Some(&format!("{{{extra}}}"))),
        }
        self.append_origin(1, origin);
        self.provenance[4].append(row.value(row.plan.date));
        self.count(1);
    }

    /// Appends the rows of a block, whose texts are ranges of `text`.
    pub(crate) fn append_block(&mut self, plan: &Plan, block: &Block, text: &str, blob: &str, generation: i32) {
        for (slot, builder) in &mut self.columns {
            match (block.shared_text(*slot), block.column(*slot)) {
                // Follows from `caller_ip`, below.
                _ if [plan.ip_prefix, plan.ip_hidden_digits].contains(&Some(*slot)) => {}
                (Some(text), _) => builder.append_repeated(Some(text), block.row_count),
                (None, Some(cells)) => builder.append_cells(cells, plan.kinds[*slot], text),
                (None, None) => builder.append_repeated(None, block.row_count),
            }
        }
        self.append_networks(plan, block.row_count);
        for extra in block.extras() {
            self.provenance[0].append_text(Some(extra).filter(|it| !it.is_empty()));
        }
        self.provenance[1].append_repeated(Some(blob), block.row_count);
        if let ColumnBuilder::SmallInteger(builder) = &mut self.provenance[2] {
            builder.append_value_n(generation, block.row_count);
        }
        if let ColumnBuilder::Integer(builder) = &mut self.provenance[3] {
            builder.append_slice(&block.offsets);
        }
        if let (ColumnBuilder::Date(builder), Some(times)) = (&mut self.provenance[4], block.column(plan.time)) {
            append_all(builder, times.iter().map(|time| time.integer().map(date_of_micros)));
        }
        self.count(block.row_count);
    }

    /// Appends what the last rows' addresses show of their networks. An address is looked into once for a batch.
    fn append_networks(&mut self, plan: &Plan, row_count: usize) {
        let place = |slot: Option<usize>| self.columns.iter().position(|(it, _)| Some(*it) == slot);
        let (Some(address), Some(prefix)) = (place(plan.caller_ip), place(plan.ip_prefix)) else { return };
        let digits = place(plan.ip_hidden_digits);
        let Ok([(_, ColumnBuilder::Label(addresses)), (_, ColumnBuilder::Label(prefixes))]) =
            self.columns.get_disjoint_mut([address, prefix])
        else {
            return;
        };
        for address in addresses.texts_from(self.networks.len()) {
            let network = ip_prefix(address);
            let code = network.map_or(NULL, |it| prefixes.code(&it.text()));
            self.networks.push((code, network.and_then(|it| it.hidden_digits())));
        }
        let network_of = |code: &i32| usize::try_from(*code).map_or((NULL, None), |code| self.networks[code]);
        let codes = addresses.last_codes(row_count);
        codes.iter().for_each(|code| prefixes.append_code(network_of(code).0));
        let Some(digits) = digits else { return };
        if let Ok([(_, ColumnBuilder::Label(addresses)), (_, ColumnBuilder::SmallInteger(digits))]) =
            self.columns.get_disjoint_mut([address, digits])
        {
            append_all(digits, addresses.last_codes(row_count).iter().map(|code| network_of(code).1));
        }
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
        self.count(1);
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

    /// Counts the rows that were appended, with which a batch may be full.
    fn count(&mut self, row_count: usize) {
        self.row_count += row_count;
        if self.row_count >= BATCH_ROWS {
            let batch = self.batch();
            self.full.push(batch);
        }
    }

    /// The rows collected so far; the builder begins anew.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + use<> {
        let last = (self.row_count > 0).then(|| self.batch());
        std::mem::take(&mut self.full).into_iter().chain(last)
    }

    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        self.row_count = 0;
        self.networks.clear();
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
