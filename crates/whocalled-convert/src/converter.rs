//! Bytes of blobs in, record batches out.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use chrono::{Datelike, NaiveDate};
use memchr::memmem;
use whocalled_types::{BlobName, BlobScope, Framing, Limits, TAIL_BYTES_MAX, Table};

use crate::block::{self, Block, Shared};
use crate::column::{Origin, Reject, TableBuilder};
use crate::decode::{Row, Scratch};
use crate::definitions::{DEFINITIONS, route};
use crate::error::Error;
use crate::frame::{End, frame};
use crate::plan::Plan;
use crate::template::Templates;
use crate::value::Value;

/// How long records are, rather too short than too long: for how many of a piece to make room.
const RECORD_BYTES: usize = 512;

/// Decodes records of any number of blobs into the batches of their tables.
///
/// Synchronous and pure: what it gives depends on the bytes it is fed and on nothing else.
pub struct Converter {
    limits: Limits,
    tables: Vec<TableDecoder>,
    scratch: Scratch,
    routed: Option<Routed>,
}

/// What it takes to decode the records of a table.
struct TableDecoder {
    plan: Plan,
    templates: Templates,
    block: Block,
    builder: TableBuilder,
}

impl TableDecoder {
    /// Appends the rows of the block, which were read from `text`.
    fn flush(&mut self, text: &str, source: &Source) {
        let Self { plan, block, builder, .. } = self;
        if block.row_count > 0 {
            builder.append_block(plan, block, text, &source.blob, source.generation);
            block.clear();
        }
    }
}

/// What is known of the records of a blob before any is read.
struct Source {
    blob: String,
    /// The resource in the blob's name.
    scope: Option<String>,
    /// The category in the container's name.
    category: String,
    /// The table whose records the container should hold.
    table: Table,
    date: i32,
    generation: i32,
}

impl Source {
    fn new(name: &BlobName, generation: u32) -> Self {
        let category = name.category().to_owned();
        let scope = match name.scope() {
            Some(BlobScope::Resource(id)) => Some(id),
            _ => None,
        };
        Self {
            blob: name.to_string(),
            table: route(&category, scope.as_deref()),
            scope,
            category,
            date: hour_date(name),
            generation: i32::try_from(generation).unwrap_or(i32::MAX),
        }
    }

    fn origin(&self, offset: u64) -> Origin<'_> {
        Origin { blob: &self.blob, generation: self.generation, offset: signed(offset) }
    }
}

/// Where the last record of the blob belonged, since the next mostly belongs there as well.
struct Routed {
    category: Option<String>,
    resource_id: Option<String>,
    table: Table,
}

/// A blob, or the part of one, about to be read.
#[derive(Debug, Clone)]
pub struct BlobPart {
    /// The blob.
    pub name: BlobName,
    /// How often it had been re-created.
    pub generation: u32,
    /// The byte from which it is read.
    pub from: u64,
    /// How its records are framed, as far as is known from before.
    pub framing: Framing,
    /// The committed bytes before `from`, at most [`TAIL_BYTES_MAX`] of them.
    pub tail: Vec<u8>,
}

/// What became of the part of a blob that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The byte up to which records are complete; what follows is torn, and is read again later.
    pub position: u64,
    /// How the records after it are framed.
    pub framing: Framing,
    /// The bytes before `position`, at most [`TAIL_BYTES_MAX`] of them.
    pub tail: Vec<u8>,
    /// Records that were framed: each became a row or a reject.
    pub record_count: u64,
    /// Records that became rows.
    pub row_count: u64,
    /// Records that became rejects.
    pub reject_count: u64,
}

impl Converter {
    /// A converter without rows.
    pub fn new(limits: Limits) -> Self {
        let tables = DEFINITIONS.iter().map(|it| TableDecoder {
            plan: Plan::new(it),
            templates: Templates::default(),
            block: Block::default(),
            builder: TableBuilder::new(it),
        });
        let tables = tables.collect();
        Self { limits, tables, scratch: Scratch::default(), routed: None }
    }

    /// Begins to read a blob.
    pub fn begin(&mut self, part: BlobPart) -> BlobConverter<'_> {
        self.routed = None;
        let source = Source::new(&part.name, part.generation);
        let TableDecoder { plan, block, .. } = &mut self.tables[Self::index(source.table)];
        block.begin(plan);
        BlobConverter {
            source,
            converted: Converted {
                position: part.from,
                framing: part.framing,
                tail: part.tail,
                record_count: 0,
                row_count: 0,
                reject_count: 0,
            },
            carry: Vec::new(),
            oversize: None,
            converter: self,
        }
    }

    /// The rows collected so far, by table, in batches of some ten thousand; tables without any are left out.
    ///
    /// # Errors
    /// [`Error::Batch`] if Arrow refuses the columns, which would be a defect of this crate.
    pub fn finish(&mut self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        let of_table = |decoder: &mut TableDecoder| {
            let table = decoder.plan.table;
            decoder.builder.finish().map(move |batch| match batch {
                Ok(batch) => Ok((table, batch)),
                Err(source) => Err(Error::Batch { table, source }),
            })
        };
        self.tables.iter_mut().flat_map(of_table).collect()
    }

    fn index(table: Table) -> usize {
        // `DEFINITIONS` holds every data table.
        DEFINITIONS.iter().position(|it| it.table == table).unwrap_or(DEFINITIONS.len() - 1)
    }

    /// Reads the record in `range` of `text` along a template into the block of the table that the container
    /// should hold. False where the record needs decoding.
    fn read(&mut self, text: &str, range: &Range<usize>, source: &Source, offset: u64) -> bool {
        if range.len() > self.limits.record_bytes_max {
            return false;
        }
        let decoder = &mut self.tables[Self::index(source.table)];
        let TableDecoder { plan, templates, block, .. } = decoder;
        if !templates.read(plan, text, range, block) {
            return false;
        }
        let says = block.says(plan, text);
        if block.shares(says).is_none() {
            // What the rows before it share, it does not: they go first, and it is read once more.
            block.abandon();
            decoder.flush(text, source);
            let TableDecoder { plan, templates, block, .. } = decoder;
            let routed = &mut self.routed;
            let scope = source.scope.as_deref();
            block.share(Shared::new(plan, says, scope, &source.category, |category, resource_id| {
                own_table(category, resource_id, routed, &source.category)
            }));
            templates.read(plan, text, range, block);
        }
        let block = &mut decoder.block;
        let belongs = block.shares(says).is_some_and(|it| it.belongs);
        if belongs {
            block.push(signed(offset));
        } else {
            block.abandon();
        }
        belongs
    }

    /// Appends the rows that were read from `text`; none were where it is no text.
    fn flush(&mut self, text: Option<&str>, source: &Source) {
        if let Some(text) = text {
            self.tables[Self::index(source.table)].flush(text, source);
        }
    }

    /// Decodes one record into the table it belongs to, or says why it cannot be.
    fn decode(&mut self, record: &[u8], source: &Source, origin: Origin<'_>) -> Result<(), String> {
        if record.len() > self.limits.record_bytes_max {
            return Err(too_long(self.limits.record_bytes_max));
        }
        let text = std::str::from_utf8(record).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
        let (category, scope) = (&*source.category, source.scope.as_deref());
        let mut table = source.table;
        // What the container's name says is wrong for some records, such as those of an Event Hub,
        // which mix categories; the record's own category then decides.
        for _ in 0..2 {
            let TableDecoder { plan, templates, builder, .. } = &mut self.tables[Self::index(table)];
            let mut row = Row::decode(plan, &mut self.scratch, text, self.limits.nesting_max)
                .map_err(|error| format!("{} at byte {}", error.what, error.at))?;
            if matches!(table, Table::Other | Table::SignIns) {
                row.set_if_null("category", category);
            }
            row.derive(scope);
            let says = |slot: Option<usize>| slot.and_then(|it| row.value(it).text());
            let own = own_table(says(plan.category), says(plan.resource_id).or(scope), &mut self.routed, category);
            if own == table {
                if row.value(plan.time) == Value::Null {
                    return Err(no_time(text));
                }
                builder.append(&row, origin);
                if table == source.table {
                    templates.learn(plan, text, self.limits.nesting_max);
                }
                return Ok(());
            }
            table = own;
        }
        Err("its category and resource id fit no table".to_owned())
    }

    fn reject(&mut self, reject: &Reject<'_>, origin: Origin<'_>) {
        self.tables[Self::index(Table::Rejects)].builder.append_reject(reject, origin);
    }
}

/// The table that a record of that category and resource belongs to.
fn own_table(
    category: Option<&str>,
    resource_id: Option<&str>,
    routed: &mut Option<Routed>,
    container_category: &str,
) -> Table {
    if let Some(last) = routed
        && (last.category.as_deref(), last.resource_id.as_deref()) == (category, resource_id)
    {
        return last.table;
    }
    let table = match category {
        // A record of the Activity Log's container belongs to it, whatever its category.
        _ if container_category == "administrative" => Table::Activity,
        Some(category) => route(&category.to_ascii_lowercase(), resource_id),
        None if container_category == "metrics" => Table::Metrics,
        None => route(container_category, resource_id),
    };
    *routed =
        Some(Routed { category: category.map(str::to_owned), resource_id: resource_id.map(str::to_owned), table });
    table
}

fn too_long(record_bytes_max: usize) -> String {
    format!("longer than the limit of {record_bytes_max} bytes")
}

/// Why a record has no time: the field is missing, or holds something else.
fn no_time(record: &str) -> String {
    match record.find("\"time\"") {
        Some(at) => format!("`time` is not a timestamp at byte {at}"),
        None => "no `time`".to_owned(),
    }
}

/// Days since 1970 of the day in a blob's name, or 0.
fn hour_date(name: &BlobName) -> i32 {
    let date = name
        .hour()
        .and_then(|(year, month, day, _)| NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day)));
    date.map_or(0, |it| it.to_epoch_days()).clamp(0, NaiveDate::MAX.num_days_from_ce())
}

/// Reads one blob, piece by piece, into its converter.
pub struct BlobConverter<'c> {
    converter: &'c mut Converter,
    source: Source,
    converted: Converted,
    /// What is left of earlier pieces: the beginning of a record that is not complete.
    carry: Vec<u8>,
    /// How long the record is that outgrew the limit and whose end is being looked for. `carry`
    /// holds its beginning.
    oversize: Option<u64>,
}

impl BlobConverter<'_> {
    /// Takes the next bytes of the blob.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.take(bytes, End::Open);
    }

    /// Ends the blob. `sealed` says that it has been quiet for so long that a last record without
    /// a line break is taken if it is complete.
    pub fn finish(mut self, sealed: bool) -> Converted {
        if sealed && self.oversize.is_none() {
            self.take(&[], End::Sealed);
        }
        self.converted
    }

    fn take(&mut self, mut bytes: &[u8], end: End) {
        loop {
            if self.oversize.is_some() {
                let Some(rest) = self.pass_oversize(bytes) else { return };
                bytes = rest;
            }
            if self.carry.is_empty() {
                return self.frame(bytes, end);
            }
            // Of lines, only the one that is begun is put together. What ends in a brace opens no wrapper, so that
            // nothing depends on what follows it.
            let (begun, rest) = match self.converted.framing {
                Framing::Lines => memmem::find(bytes, b"}\n").map_or((bytes, &[][..]), |at| bytes.split_at(at + 2)),
                _ => (bytes, &[][..]),
            };
            let mut joined = std::mem::take(&mut self.carry);
            joined.extend_from_slice(begun);
            if rest.is_empty() {
                return self.frame(&joined, end);
            }
            self.frame(&joined, End::Open);
            bytes = rest;
        }
    }

    fn frame(&mut self, buffer: &[u8], end: End) {
        let from = self.converted.position;
        let mut ranges = Vec::with_capacity(buffer.len() / RECORD_BYTES);
        let framed = frame(buffer, self.converted.framing, end, &mut |range| ranges.push(range));
        ranges.chunks(block::ROWS_MAX).for_each(|ranges| self.records(buffer, ranges, from));
        self.converted.framing = framed.framing;
        self.advance(&buffer[..framed.consumed_bytes]);
        let left = &buffer[framed.consumed_bytes..];
        if left.len() > self.converter.limits.record_bytes_max {
            self.oversize = Some(left.len() as u64);
            self.carry = left[..left.len().min(self.converter.limits.reject_bytes_max)].to_vec();
        } else {
            self.carry = left.to_vec();
        }
    }

    /// Looks for the line break that ends an overlong record; what follows it.
    fn pass_oversize<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let passed = self.oversize?;
        let Some(length) = memchr::memchr(b'\n', bytes) else {
            self.oversize = Some(passed + bytes.len() as u64);
            return None;
        };
        let record_bytes = passed + length as u64;
        let record = std::mem::take(&mut self.carry);
        let reason = too_long(self.converter.limits.record_bytes_max);
        self.converted.record_count += 1;
        self.reject(&record, record_bytes, &reason, self.converted.position);
        self.oversize = None;
        // The tail's bytes are the last that were passed, as far as they are at hand: those of this
        // piece suffice unless the record ended right at its beginning.
        self.converted.position += passed;
        self.converted.tail.clear();
        self.advance(&bytes[..=length]);
        Some(&bytes[length + 1..])
    }

    /// Moves the position over `bytes`, and keeps the last of them.
    fn advance(&mut self, bytes: &[u8]) {
        let tail_bytes_max = usize::try_from(TAIL_BYTES_MAX).unwrap_or(usize::MAX);
        self.converted.position += bytes.len() as u64;
        let tail = &mut self.converted.tail;
        if bytes.len() >= tail_bytes_max {
            tail.clear();
            tail.extend_from_slice(&bytes[bytes.len() - tail_bytes_max..]);
        } else {
            tail.extend_from_slice(bytes);
            tail.drain(..tail.len().saturating_sub(tail_bytes_max));
        }
    }

    /// Reads the records in `ranges` of `buffer`, which begins at the byte `from` of the blob.
    fn records(&mut self, buffer: &[u8], ranges: &[Range<usize>], from: u64) {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return };
        // Looked at once for all; where anything is not UTF-8, each record is looked at by itself.
        let text = std::str::from_utf8(&buffer[first.start..last.end]).ok();
        for range in ranges {
            self.converted.record_count += 1;
            let offset = from + range.start as u64;
            let in_text = range.start - first.start..range.end - first.start;
            if text.is_some_and(|text| self.converter.read(text, &in_text, &self.source, offset)) {
                self.converted.row_count += 1;
            } else {
                self.converter.flush(text, &self.source);
                self.record(&buffer[range.clone()], offset);
            }
        }
        self.converter.flush(text, &self.source);
    }

    fn record(&mut self, record: &[u8], offset: u64) {
        match self.converter.decode(record, &self.source, self.source.origin(offset)) {
            Ok(()) => self.converted.row_count += 1,
            Err(reason) => self.reject(record, record.len() as u64, &reason, offset),
        }
    }

    fn reject(&mut self, record: &[u8], record_bytes: u64, reason: &str, offset: u64) {
        let kept = &record[..record.len().min(self.converter.limits.reject_bytes_max)];
        let reject = Reject {
            category: &self.source.category,
            reason,
            record_bytes: signed(record_bytes),
            record: kept,
            date: self.source.date,
        };
        self.converter.reject(&reject, self.source.origin(offset));
        self.converted.reject_count += 1;
    }
}

/// Lengths and offsets are stored as 64-bit signed integers; no blob is larger.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
