//! Bytes of blobs in, record batches out.

use arrow::record_batch::RecordBatch;
use chrono::{Datelike, NaiveDate};
use whocalled_types::{BlobName, BlobScope, Framing, Limits, TAIL_BYTES_MAX, Table};

use crate::column::{Origin, Reject, TableBuilder};
use crate::decode::{Row, Scratch, Slot};
use crate::definitions::{DEFINITIONS, route};
use crate::error::Error;
use crate::frame::{End, frame};
use crate::plan::Plan;
use crate::template::Templates;

/// Decodes records of any number of blobs into the batches of their tables.
///
/// Synchronous and pure: what it gives depends on the bytes it is fed and on nothing else.
pub struct Converter {
    limits: Limits,
    tables: Vec<(Plan, Templates, TableBuilder)>,
    scratch: Scratch,
    routed: Option<Routed>,
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
        let tables =
            DEFINITIONS.iter().map(|it| (Plan::new(it), Templates::default(), TableBuilder::new(it))).collect();
        Self { limits, tables, scratch: Scratch::default(), routed: None }
    }

    /// Begins to read a blob.
    pub fn begin(&mut self, part: BlobPart) -> BlobConverter<'_> {
        self.routed = None;
        BlobConverter {
            blob: part.name.to_string(),
            scope: match part.name.scope() {
                Some(BlobScope::Resource(id)) => Some(id),
                _ => None,
            },
            category: part.name.category().to_owned(),
            date: hour_date(&part.name),
            generation: i32::try_from(part.generation).unwrap_or(i32::MAX),
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

    /// The rows collected so far, by table; tables without any are left out.
    ///
    /// # Errors
    /// [`Error::Batch`] if Arrow refuses the columns, which would be a defect of this crate.
    pub fn finish(&mut self) -> Result<Vec<(Table, RecordBatch)>, Error> {
        let filled = self.tables.iter_mut().filter(|(.., builder)| builder.row_count > 0);
        filled
            .map(|(plan, _, builder)| {
                let batch = builder.finish().map_err(|source| Error::Batch { table: plan.table, source })?;
                Ok((plan.table, batch))
            })
            .collect()
    }

    fn index(table: Table) -> usize {
        // `DEFINITIONS` holds every data table.
        DEFINITIONS.iter().position(|it| it.table == table).unwrap_or(DEFINITIONS.len() - 1)
    }

    /// Decodes one record into the table it belongs to, or says why it cannot be.
    fn decode(&mut self, record: &[u8], category: &str, scope: Option<&str>, origin: Origin<'_>) -> Result<(), String> {
        if record.len() > self.limits.record_bytes_max {
            return Err(too_long(self.limits.record_bytes_max));
        }
        let text = std::str::from_utf8(record).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
        let mut table = route(category, scope);
        // What the container's name says is wrong for some records, such as those of an Event Hub,
        // which mix categories; the record's own category then decides.
        for _ in 0..2 {
            let (plan, templates, builder) = &mut self.tables[Self::index(table)];
            let mut row = Row::decode(plan, templates, &mut self.scratch, text, self.limits.nesting_max)
                .map_err(|error| format!("{} at byte {}", error.what, error.at))?;
            if matches!(table, Table::Other | Table::SignIns) {
                row.set_if_null("category", category);
            }
            row.derive(scope);
            let own = own_table(&row, &mut self.routed, category, scope);
            if own == table {
                let Slot::Integer(_) = row.slots()[plan.time] else {
                    return Err(no_time(text));
                };
                builder.append(&row, origin);
                return Ok(());
            }
            table = own;
        }
        Err("its category and resource id fit no table".to_owned())
    }

    fn reject(&mut self, reject: &Reject<'_>, origin: Origin<'_>) {
        self.tables[Self::index(Table::Rejects)].2.append_reject(reject, origin);
    }
}

/// The table that the record itself belongs to.
fn own_table(row: &Row<'_>, routed: &mut Option<Routed>, container_category: &str, scope: Option<&str>) -> Table {
    let category = row.plan.category.and_then(|slot| row.slot_text(slot));
    let resource_id = row.plan.resource_id.and_then(|slot| row.slot_text(slot)).or(scope);
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
    blob: String,
    scope: Option<String>,
    category: String,
    date: i32,
    generation: i32,
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

    fn take(&mut self, bytes: &[u8], end: End) {
        let bytes = match self.oversize {
            Some(_) => match self.pass_oversize(bytes) {
                Some(rest) => rest,
                None => return,
            },
            None => bytes,
        };
        let carry = std::mem::take(&mut self.carry);
        if carry.is_empty() {
            self.frame(bytes, end);
        } else {
            let mut joined = carry;
            joined.extend_from_slice(bytes);
            self.frame(&joined, end);
        }
    }

    fn frame(&mut self, buffer: &[u8], end: End) {
        let from = self.converted.position;
        let mut ranges = Vec::new();
        let framed = frame(buffer, self.converted.framing, end, &mut |range| ranges.push(range));
        for range in ranges {
            self.converted.record_count += 1;
            self.record(&buffer[range.clone()], from + range.start as u64);
        }
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

    fn record(&mut self, record: &[u8], offset: u64) {
        let origin = Origin { blob: &self.blob, generation: self.generation, offset: signed(offset) };
        match self.converter.decode(record, &self.category, self.scope.as_deref(), origin) {
            Ok(()) => self.converted.row_count += 1,
            Err(reason) => self.reject(record, record.len() as u64, &reason, offset),
        }
    }

    fn reject(&mut self, record: &[u8], record_bytes: u64, reason: &str, offset: u64) {
        let kept = &record[..record.len().min(self.converter.limits.reject_bytes_max)];
        let reject = Reject {
            category: &self.category,
            reason,
            record_bytes: signed(record_bytes),
            record: kept,
            date: self.date,
        };
        let origin = Origin { blob: &self.blob, generation: self.generation, offset: signed(offset) };
        self.converter.reject(&reject, origin);
        self.converted.reject_count += 1;
    }
}

/// Lengths and offsets are stored as 64-bit signed integers; no blob is larger.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
