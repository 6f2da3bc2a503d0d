//! Decoding: what a record says, read in one pass along a plan.
//!
//! The decoder walks a record's fields once. A field that the plan knows fills a slot; any other
//! goes, as it is written, to `extra`. Slots are ranges into the record or into scratch memory that
//! is used again for the next record, so a record costs no allocation once the scratch has grown.

use std::ops::Range;
use std::sync::Arc;

use whocalled_types::ResourceId;

use crate::canonical::{ip_prefix, is_canonical_guid, push_guid, push_lower};
use crate::definition::Kind;
use crate::plan::{Node, Plan};
use crate::scan::{RawText, ScanError, Scanner, escape, unescape};
use crate::time::date_of_micros;
use crate::value::Value;

/// A value whose text is in the record or in scratch memory.
pub(crate) type Slot = Value<Span>;

/// A range of the record or of a scratch text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    source: usize,
    start: usize,
    end: usize,
}

/// The record itself, as the source of a span.
const RECORD: usize = 0;
/// The scratch text that canonical forms and resolved escapes are appended to.
const ARENA: usize = 1;
/// The canonical resource id of the last record.
const RESOURCE: usize = 2;
/// The first of the texts that strings holding JSON were unescaped into.
const NESTED: usize = 3;

/// Memory that decoding uses again and again.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) slots: Vec<Slot>,
    /// The fields that the table does not know: `"path":value,...` without the braces.
    extra: String,
    arena: String,
    nested: Vec<Arc<String>>,
    nested_count: usize,
    /// The keys around the object being read, each with a `.` after it.
    path: String,
    resource: Resource,
}

/// A resource id, which is mostly that of the record before, and what follows from it.
#[derive(Default)]
struct Resource {
    as_written: String,
    canonical: String,
    /// Where in the canonical form the subscription, the resource group and the account are.
    parts: [Option<(usize, usize)>; 3],
}

/// A record being decoded.
pub(crate) struct Row<'a> {
    pub(crate) plan: &'a Plan,
    record: &'a str,
    scratch: &'a mut Scratch,
    nesting_max: usize,
}

/// A value as it was found: its text in the record or a scratch text, and which kind of value.
#[derive(Clone, Copy)]
enum Found<'t> {
    Null,
    Boolean(bool),
    Number(&'t str),
    /// A string, escapes resolved.
    Text(&'t str, Span),
    Composite(&'t str),
}

impl<'a> Row<'a> {
    /// Reads `record` along `plan` into the slots of `scratch`.
    pub(crate) fn decode(
        plan: &'a Plan,
        scratch: &'a mut Scratch,
        record: &'a str,
        nesting_max: usize,
    ) -> Result<Self, ScanError> {
        let mut row = Self { plan, record, scratch, nesting_max };
        row.reset();
        let mut scanner = Scanner::new(record, nesting_max);
        row.object(&mut scanner, &plan.root, RECORD, 0, true)?;
        scanner.end()?;
        row.repeat_region();
        Ok(row)
    }

    /// Empties the slots and the scratch texts.
    fn reset(&mut self) {
        self.scratch.slots.clear();
        self.scratch.slots.resize(self.plan.kinds.len(), Slot::Null);
        self.scratch.extra.clear();
        self.scratch.arena.clear();
        self.scratch.path.clear();
        self.scratch.nested_count = 0;
    }

    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        node: &Node,
        source: usize,
        depth: usize,
        to_extra: bool,
    ) -> Result<(), ScanError> {
        scanner.descend(depth)?;
        scanner.begin_object()?;
        let mut first = true;
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            let key = scanner.text(key.start..key.end);
            match node.child(key) {
                Some(child) => self.field(scanner, child, key, source, depth, to_extra)?,
                None => {
                    let value = scanner.skip(depth + 1)?;
                    if to_extra {
                        self.put_extra(key, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// A field that the plan knows.
    fn field(
        &mut self,
        scanner: &mut Scanner<'_>,
        node: &Node,
        key: &str,
        source: usize,
        depth: usize,
        to_extra: bool,
    ) -> Result<(), ScanError> {
        let first = scanner.peek();
        let start = scanner.at;
        let descends = !node.children.is_empty();
        // Once a value is kept whole, nothing within needs a place of its own.
        let whole = node.keep || node.column.is_some_and(|column| self.plan.kinds[column] == Kind::Json);
        let found = match first {
            b'{' if descends => {
                let path_bytes = self.scratch.path.len();
                self.scratch.path.push_str(key);
                self.scratch.path.push('.');
                self.object(scanner, node, source, depth + 1, to_extra && !whole)?;
                self.scratch.path.truncate(path_bytes);
                let text = scanner.text(start..scanner.at);
                if !whole {
                    return Ok(());
                }
                Found::Composite(text)
            }
            b'{' | b'[' => Found::Composite(scanner.skip(depth + 1)?),
            b'"' => {
                let raw = scanner.string()?;
                if descends {
                    match self.nested_object(scanner, node, key, raw, depth, to_extra && !whole) {
                        Ok(true) if !whole => return Ok(()),
                        // Kept whole, it loses nothing by not being JSON, such as Python's single quotes.
                        Err(error) if !whole => return Err(error),
                        _ => {}
                    }
                }
                self.text(scanner, raw, source)?
            }
            _ => match scanner.scalar()? {
                "null" => Found::Null,
                "true" => Found::Boolean(true),
                "false" => Found::Boolean(false),
                number => Found::Number(number),
            },
        };
        let raw = scanner.text(start..scanner.at);
        let implied = node.implied.is_some_and(|it| matches!(found, Found::Text(text, _) if text == it));
        let taken = implied || node.column.is_some_and(|column| self.assign(column, found, source, start..scanner.at));
        if to_extra && (node.keep || !taken) && !matches!(found, Found::Null) {
            self.put_extra(key, raw);
        }
        Ok(())
    }

    /// Reads the object that a string holds as escaped JSON. False where it holds something else.
    fn nested_object(
        &mut self,
        scanner: &Scanner<'_>,
        node: &Node,
        key: &str,
        raw: RawText,
        depth: usize,
        to_extra: bool,
    ) -> Result<bool, ScanError> {
        let text = scanner.text(raw.start..raw.end);
        if !text.trim_start().starts_with('{') {
            return Ok(false);
        }
        let index = self.scratch.nested_count;
        if self.scratch.nested.len() == index {
            self.scratch.nested.push(Arc::default());
        }
        let buffer = Arc::make_mut(&mut self.scratch.nested[index]);
        buffer.clear();
        unescape(text, buffer).or_else(|what| scanner.error(format!("`{key}`: {what}")))?;
        self.scratch.nested_count += 1;

        let nested = Arc::clone(&self.scratch.nested[index]);
        let mut inner = Scanner::new(&nested, self.nesting_max);
        let path_bytes = self.scratch.path.len();
        self.scratch.path.push_str(key);
        self.scratch.path.push('.');
        let read = self.object(&mut inner, node, NESTED + index, depth + 1, to_extra).and_then(|()| inner.end());
        self.scratch.path.truncate(path_bytes);
        match read {
            Ok(()) => Ok(true),
            Err(error) => Err(ScanError { what: format!("`{key}`, as escaped JSON: {}", error.what), at: raw.start }),
        }
    }

    /// A string with its escapes resolved.
    fn text<'t>(&mut self, scanner: &Scanner<'t>, raw: RawText, source: usize) -> Result<Found<'t>, ScanError>
    where
        'a: 't,
    {
        let text = scanner.text(raw.start..raw.end);
        if !raw.escaped {
            return Ok(Found::Text(text, Span { source, start: raw.start, end: raw.end }));
        }
        let start = self.scratch.arena.len();
        unescape(text, &mut self.scratch.arena).or_else(|what| scanner.error(what))?;
        // Only its span is of use once it is in the arena; its raw text still tells if it is empty.
        Ok(Found::Text(text, Span { source: ARENA, start, end: self.scratch.arena.len() }))
    }

    /// Fills a slot. False where the value does not fit it, or another value has filled it.
    fn assign(&mut self, column: usize, found: Found<'_>, source: usize, range: Range<usize>) -> bool {
        let value = match found {
            Found::Null => return true,
            Found::Text("", _) => return true,
            Found::Text(_, span)
                if Some(column) == self.plan.resource_id && self.scratch.slots[column] == Slot::Null =>
            {
                self.resource(span)
            }
            _ => match self.convert(self.plan.kinds[column], found, source, range) {
                Some(value) => value,
                None => return false,
            },
        };
        match self.scratch.slots[column] {
            Slot::Null => {
                self.scratch.slots[column] = value;
                true
            }
            Slot::Text(span) => matches!(value, Slot::Text(other) if self.resolve(span) == self.resolve(other)),
            other => other == value,
        }
    }

    fn convert(&mut self, kind: Kind, found: Found<'_>, source: usize, range: Range<usize>) -> Option<Slot> {
        let as_written = Slot::Text(Span { source, start: range.start, end: range.end });
        match (kind, found) {
            (Kind::Json, Found::Text(_, span)) if self.holds_json(span) => Some(Slot::Text(span)),
            (Kind::Json, _) => Some(as_written),
            (Kind::Text | Kind::Label, Found::Text(_, span)) => Some(Slot::Text(span)),
            (Kind::Text | Kind::Label, Found::Number(_) | Found::Boolean(_)) => Some(as_written),
            (Kind::LowerLabel, Found::Text(_, span)) => Some(self.canonical(span, push_lower)),
            (Kind::Guid | Kind::GuidLabel, Found::Text(text, span)) if is_canonical_guid(text) => {
                Some(Slot::Text(span))
            }
            (Kind::Guid | Kind::GuidLabel, Found::Text(_, span)) => Some(self.canonical(span, push_guid)),
            // A header, which can be sent several times, may be logged as an array.
            (Kind::Guid, Found::Composite(text)) => {
                let id = single_element(text)?.strip_prefix('"')?.strip_suffix('"').filter(|id| !id.contains('\\'))?;
                let start = range.start + (id.as_ptr().addr() - text.as_ptr().addr());
                Some(self.canonical(Span { source, start, end: start + id.len() }, push_guid))
            }
            (Kind::Boolean, Found::Boolean(value)) => Some(Slot::Boolean(value)),
            (Kind::Integer | Kind::SmallInteger, Found::Composite(text)) => Slot::parse(kind, single_element(text)?),
            (_, Found::Text(_, span)) => Slot::parse(kind, self.resolve(span)),
            (_, Found::Number(text)) => Slot::parse(kind, text),
            _ => None,
        }
    }

    /// A resource id in its canonical form.
    fn resource(&mut self, span: Span) -> Slot {
        let mut resource = std::mem::take(&mut self.scratch.resource);
        let as_written = self.resolve(span);
        if as_written != resource.as_written {
            resource.as_written.clear();
            resource.as_written.push_str(as_written);
            resource.canonical.clear();
            push_lower(as_written, &mut resource.canonical);
            resource.parts = parts(&resource.canonical);
        }
        let end = resource.canonical.len();
        self.scratch.resource = resource;
        Slot::Text(Span { source: RESOURCE, start: 0, end })
    }

    /// Appends the canonical form of a text to the arena.
    fn canonical(&mut self, span: Span, push: fn(&str, &mut String)) -> Slot {
        let mut arena = std::mem::take(&mut self.scratch.arena);
        let start = arena.len();
        if span.source == ARENA {
            let text = arena[span.start..span.end].to_owned();
            push(&text, &mut arena);
        } else {
            push(self.resolve(span), &mut arena);
        }
        let end = arena.len();
        self.scratch.arena = arena;
        Slot::Text(Span { source: ARENA, start, end })
    }

    fn holds_json(&self, span: Span) -> bool {
        let text = self.resolve(span);
        let mut scanner = Scanner::new(text, self.nesting_max);
        text.trim_start().starts_with(['{', '[']) && scanner.skip(0).is_ok() && scanner.end().is_ok()
    }

    /// The text of a span.
    pub(crate) fn resolve(&self, span: Span) -> &str {
        match span.source {
            RECORD => &self.record[span.start..span.end],
            ARENA => &self.scratch.arena[span.start..span.end],
            RESOURCE => &self.scratch.resource.canonical[span.start..span.end],
            nested => &self.scratch.nested[nested - NESTED][span.start..span.end],
        }
    }

    fn put_extra(&mut self, key: &str, value: &str) {
        let Scratch { extra, path, .. } = &mut *self.scratch;
        if !extra.is_empty() {
            extra.push(',');
        }
        extra.push('"');
        extra.push_str(path);
        extra.push_str(key);
        extra.push_str("\":");
        extra.push_str(value);
    }

    /// `Tenant` repeats the region in Azure OpenAI's records; where it says something else, or
    /// there is no `location`, what it says is kept.
    fn repeat_region(&mut self) {
        let Some((region, location)) = self.plan.region else { return };
        let Slot::Text(span) = self.scratch.slots[region] else { return };
        match self.scratch.slots[location] {
            Slot::Null => self.scratch.slots[location] = Slot::Text(span),
            Slot::Text(other) if self.resolve(other) == self.resolve(span) => {}
            _ => {
                let mut quoted = String::new();
                escape(self.resolve(span), &mut quoted);
                self.put_extra("Tenant", &quoted);
            }
        }
    }

    /// The text in a slot.
    pub(crate) fn slot_text(&self, slot: usize) -> Option<&str> {
        self.value(slot).text()
    }

    /// The value in a slot.
    pub(crate) fn value(&self, slot: usize) -> Value<&str> {
        self.scratch.slots[slot].map_text(|span| self.resolve(span))
    }

    pub(crate) fn extra(&self) -> &str {
        &self.scratch.extra
    }

    /// The text of a column, by name; for `finish` functions.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.slot_text(self.plan.slot(name)?)
    }

    /// Sets a column that is still NULL to a text; for `finish` functions.
    pub(crate) fn set_if_null(&mut self, name: &str, text: &str) {
        let Some(slot) = self.plan.slot(name) else { return };
        if self.scratch.slots[slot] == Slot::Null {
            self.scratch.slots[slot] = Slot::Text(self.push(text));
        }
    }

    /// Copies the value of a column to another that is still NULL; for `finish` functions.
    pub(crate) fn copy_if_null(&mut self, from: &str, to: &str) {
        if let (Some(from), Some(to)) = (self.plan.slot(from), self.plan.slot(to))
            && self.scratch.slots[to] == Slot::Null
        {
            self.scratch.slots[to] = self.scratch.slots[from];
        }
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.scratch.arena.len();
        self.scratch.arena.push_str(text);
        Span { source: ARENA, start, end: self.scratch.arena.len() }
    }

    /// Fills the columns that derive from others. `scope` is the resource in the blob's name,
    /// which stands in where the record names none.
    pub(crate) fn derive(&mut self, scope: Option<&str>) {
        if let Some(finish) = self.plan.finish {
            finish(self);
        }
        if let Some(slot) = self.plan.resource_id {
            if self.scratch.slots[slot] == Slot::Null
                && let Some(scope) = scope
            {
                self.scratch.slots[slot] = Slot::Text(self.push(scope));
            }
            self.derive_resource(slot);
        }
        if let Some(slot) = self.plan.caller_ip {
            self.derive_prefix(slot);
        }
        if let Slot::Integer(micros) = self.scratch.slots[self.plan.time] {
            self.scratch.slots[self.plan.date] = Slot::Integer(i64::from(date_of_micros(micros)));
        }
    }

    fn derive_resource(&mut self, slot: usize) {
        let Slot::Text(span) = self.scratch.slots[slot] else { return };
        let parts = if span.source == RESOURCE { self.scratch.resource.parts } else { parts(self.resolve(span)) };
        for (slot, part) in self.plan.resource_parts.into_iter().zip(parts) {
            if let (Some(slot), Some((start, end))) = (slot, part) {
                let (start, end) = (span.start + start, span.start + end);
                self.scratch.slots[slot] = Slot::Text(Span { source: span.source, start, end });
            }
        }
    }

    fn derive_prefix(&mut self, slot: usize) {
        let Slot::Text(span) = self.scratch.slots[slot] else { return };
        let Some(prefix) = ip_prefix(self.resolve(span)) else { return };
        let (text, hidden_digits) = (prefix.text().into_owned(), prefix.hidden_digits());
        if let Some(slot) = self.plan.ip_prefix {
            self.scratch.slots[slot] = Slot::Text(self.push(&text));
        }
        if let (Some(slot), Some(digits)) = (self.plan.ip_hidden_digits, hidden_digits) {
            self.scratch.slots[slot] = Slot::Integer(i64::from(digits));
        }
    }
}

/// Where in a resource id its subscription, resource group and account are.
fn parts(id: &str) -> [Option<(usize, usize)>; 3] {
    let parts = ResourceId::parse(id);
    [parts.subscription_id, parts.resource_group, parts.account].map(|part| {
        let start = part?.as_ptr().addr() - id.as_ptr().addr();
        Some((start, start + part?.len()))
    })
}

/// The text of the only element of an array, such as `promptTokens` of the usage records.
fn single_element(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    (!inner.is_empty() && !inner.contains([',', '[', '{'])).then_some(inner)
}
