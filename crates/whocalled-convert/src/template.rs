//! Templates: reading a record as the one before it was laid out.
//!
//! A service writes its records with one routine, so nearly every record has the keys of an earlier
//! one, in the same order, with the same spaces and the same escapes around its nested JSON. Once the
//! decoder has read a record, its bytes outside of the values become a [`Template`]. A record that
//! agrees with a template byte for byte has its values where the template says: no key is looked up,
//! and nothing is unescaped. Any other record, and any value that is not plain, is left to the decoder,
//! so that a template is only ever a faster way to the same result.

use std::ops::Range;

use crate::block::{Block, Cell};
use crate::definition::Kind;
use crate::plan::{Node, Plan};
use crate::scan::Scanner;

/// How many layouts are remembered for a table.
const TEMPLATES_MAX: usize = 16;
/// Longer records are not learned from, so that templates take little memory.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// After this many records in a row that no template could be made of, no more is tried.
const FAILURES_MAX: u32 = 64;

/// Every integer of this many digits fits 64 bits.
const DIGITS_MAX: usize = 18;

/// What stands between the fixed texts of a layout, and where it goes.
#[derive(PartialEq)]
pub(crate) struct Hole {
    /// The bytes before it: keys, punctuation and opening quotes.
    literal: Box<[u8]>,
    shape: Shape,
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The text of a string without escapes.
    Text,
    /// An integer.
    Integer,
}

#[derive(PartialEq)]
pub(crate) enum Target {
    /// The slot of a column that takes the text.
    Text(usize),
    /// The slot of a column that takes what the text says.
    Value(usize, Kind),
    /// The slot of a column that takes the integer.
    Number(usize, Kind),
    /// The field's path as the key of `extra`, with its quotes and the colon.
    Extra(Box<str>),
}

/// The layout of a record.
#[derive(PartialEq)]
pub(crate) struct Template {
    holes: Vec<Hole>,
    /// The bytes after the last value.
    end: Box<[u8]>,
}

/// The layouts of a table's records, the one that fitted last first.
#[derive(Default)]
pub(crate) struct Templates {
    known: Vec<Template>,
    failure_count: u32,
}

impl Templates {
    /// Reads the record in `range` of `text` along a known layout, as the next row of `block`; false where none fits.
    pub(crate) fn read(&mut self, plan: &Plan, text: &str, range: &Range<usize>, block: &mut Block) -> bool {
        for index in 0..self.known.len() {
            if self.known[index].read(plan, text, range, block).is_some() {
                self.known.swap(0, index);
                return true;
            }
            block.abandon();
        }
        false
    }

    /// Remembers the layout of a record that the decoder has read.
    pub(crate) fn learn(&mut self, plan: &Plan, record: &str, nesting_max: usize) {
        if plan.finish.is_some() || record.len() > RECORD_BYTES_MAX || self.failure_count >= FAILURES_MAX {
            return;
        }
        match Template::of(plan, record, nesting_max) {
            // The layout was known, and a value was the surprise.
            Some(template) if self.known.contains(&template) => {}
            Some(template) => {
                self.known.truncate(TEMPLATES_MAX - 1);
                self.known.insert(0, template);
                self.failure_count = 0;
            }
            None => self.failure_count += 1,
        }
    }
}

impl Template {
    /// The layout of a record; `None` where it has values that are more than plain strings and integers.
    fn of(plan: &Plan, record: &str, nesting_max: usize) -> Option<Self> {
        let mut learner = Learner { plan, record, holes: Vec::new(), from: 0, path: String::new(), nesting_max };
        let mut scanner = Scanner::new(record, nesting_max);
        learner.object(&mut scanner, &plan.root, None)?;
        scanner.end().ok()?;
        let end = record.as_bytes()[learner.from..].into();
        Some(Self { holes: learner.holes, end })
    }

    /// Fills the slots of a row; `None` as soon as the record turns out to be laid out differently, or to need
    /// more than a template does.
    fn read(&self, plan: &Plan, text: &str, range: &Range<usize>, block: &mut Block) -> Option<()> {
        let bytes = &text.as_bytes()[..range.end];
        let mut at = range.start;
        for hole in &self.holes {
            let start = at + hole.literal.len();
            if bytes.get(at..start)? != &*hole.literal {
                return None;
            }
            let (length, number) = hole.shape.read(&bytes[start..])?;
            at = start + length;
            let taken = match &hole.target {
                Target::Number(slot, kind) => block.put(*slot, Cell::of_integer(*kind, number)?, text),
                Target::Text(slot) => start == at || block.put(*slot, Cell::Text((start, at)), text),
                Target::Value(slot, kind) => {
                    start == at || block.put(*slot, Cell::parse(*kind, &text[start..at])?, text)
                }
                Target::Extra(key) => {
                    block.put_extra(key, &text[start..at], hole.shape.quote());
                    true
                }
            };
            taken.then_some(())?;
        }
        let is_whole = bytes[at..] == *self.end && block.get(plan.time) != Cell::Null;
        (is_whole && repeats_region(plan, text, block)).then_some(())
    }
}

/// Whether `Tenant` says nothing that `location` does not, as [`crate::decode`] has it.
fn repeats_region(plan: &Plan, text: &str, block: &mut Block) -> bool {
    let Some((region, location)) = plan.region else { return true };
    let region = block.get(region);
    region == Cell::Null || block.put(location, region, text)
}

impl Shape {
    /// What stands around such a value.
    fn quote(self) -> &'static str {
        if self == Self::Text { "\"" } else { "" }
    }

    /// How long the value is that `bytes` begin with, and which integer.
    fn read(self, bytes: &[u8]) -> Option<(usize, i64)> {
        match self {
            Self::Text => text_length(bytes).map(|length| (length, 0)),
            Self::Integer => {
                let sign_bytes = usize::from(bytes.first() == Some(&b'-'));
                let (mut digit_count, mut number) = (0, 0_i64);
                while let Some(byte @ b'0'..=b'9') = bytes.get(sign_bytes + digit_count) {
                    number = number.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
                    digit_count += 1;
                }
                // Longer ones may be too large, and a leading zero is none of JSON's.
                let plain = (1..=DIGITS_MAX).contains(&digit_count) && (digit_count == 1 || bytes[sign_bytes] != b'0');
                plain.then(|| (sign_bytes + digit_count, if sign_bytes > 0 { -number } else { number }))
            }
        }
    }
}

/// How long the text is that a quote or a backslash ends. Most are short, so that `memchr2` would spend longer on
/// choosing an implementation than on the search; this one every x86-64 has, and the compiler puts it in place.
#[cfg(target_arch = "x86_64")]
fn text_length(bytes: &[u8]) -> Option<usize> {
    memchr::arch::x86_64::sse2::memchr::Two::new(b'"', b'\\')?.find(bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn text_length(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}

/// Where each byte of an unescaped text stands in the record.
type Origins = [usize];

struct Learner<'a> {
    plan: &'a Plan,
    record: &'a str,
    holes: Vec<Hole>,
    /// The first byte after the last value.
    from: usize,
    /// The keys around the object being read, each with a `.` after it.
    path: String,
    nesting_max: usize,
}

impl Learner<'_> {
    fn object(&mut self, scanner: &mut Scanner<'_>, node: &Node, origins: Option<&Origins>) -> Option<()> {
        scanner.begin_object().ok()?;
        let mut first = true;
        while let Some(key) = scanner.next_key(first).ok()? {
            first = false;
            if key.escaped {
                return None;
            }
            let key = scanner.text(key.start..key.end);
            self.value(scanner, node.child(key), key, origins)?;
        }
        Some(())
    }

    fn value(
        &mut self,
        scanner: &mut Scanner<'_>,
        node: Option<&Node>,
        key: &str,
        origins: Option<&Origins>,
    ) -> Option<()> {
        if node.is_some_and(|node| self.is_whole(node)) {
            return None;
        }
        let descends = node.filter(|node| !node.children.is_empty());
        match (scanner.peek(), descends) {
            (b'{', Some(node)) => self.within(key, |learner| learner.object(scanner, node, origins)),
            (b'"', Some(node)) if origins.is_none() => {
                let raw = scanner.string().ok()?;
                let (text, origins) = unescape_quotes(scanner.text(raw.start..raw.end), raw.start)?;
                let mut inner = Scanner::new(&text, self.nesting_max);
                self.within(key, |learner| learner.object(&mut inner, node, Some(&origins)))?;
                inner.end().ok()
            }
            (_, Some(_)) => None,
            (b'"', None) => {
                let raw = scanner.string().ok()?;
                if raw.escaped {
                    return None;
                }
                match node.and_then(|node| node.implied) {
                    Some(implied) => (scanner.text(raw.start..raw.end) == implied).then_some(()),
                    None => self.hole(node, key, Shape::Text, raw.start..raw.end, origins),
                }
            }
            (b'{' | b'[', None) => None,
            (_, None) => {
                scanner.peek();
                let start = scanner.at;
                let text = scanner.scalar().ok()?;
                match node {
                    Some(node) if text == "null" && node.column.is_some() => Some(()),
                    _ => {
                        let whole =
                            Shape::Integer.read(text.as_bytes()).is_some_and(|(length, _)| length == text.len());
                        whole.then_some(())?;
                        self.hole(node, key, Shape::Integer, start..scanner.at, origins)
                    }
                }
            }
        }
    }

    /// Reads what is inside of a field.
    fn within(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let path_bytes = self.path.len();
        self.path.push_str(key);
        self.path.push('.');
        let result = read(self);
        self.path.truncate(path_bytes);
        result
    }

    /// Whether a value is kept as it is written, which a template cannot do.
    fn is_whole(&self, node: &Node) -> bool {
        node.keep || node.column.is_some_and(|column| self.plan.kinds[column] == Kind::Json)
    }

    fn hole(
        &mut self,
        node: Option<&Node>,
        key: &str,
        shape: Shape,
        range: Range<usize>,
        origins: Option<&Origins>,
    ) -> Option<()> {
        let target = match node {
            Some(node) => target(node.column?, self.plan.kinds[node.column?], shape)?,
            None => Target::Extra(format!("\"{}{key}\":", self.path).into()),
        };
        let in_record = |at: usize| origins.map_or(Some(at), |origins| origins.get(at).copied());
        let (start, end) = (in_record(range.start)?, in_record(range.end)?);
        self.holes.push(Hole { literal: self.record.as_bytes()[self.from..start].into(), shape, target });
        self.from = end;
        Some(())
    }
}

/// Where a value of that shape goes in a column of that kind; `None` where the decoder has to see to it.
fn target(slot: usize, kind: Kind, shape: Shape) -> Option<Target> {
    match kind {
        Kind::Text | Kind::Label => Some(Target::Text(slot)),
        Kind::LowerLabel | Kind::Guid | Kind::GuidLabel => (shape == Shape::Text).then_some(Target::Text(slot)),
        Kind::Integer | Kind::SmallInteger | Kind::Ticks if shape == Shape::Integer => Some(Target::Number(slot, kind)),
        Kind::Integer | Kind::SmallInteger | Kind::Float | Kind::Boolean | Kind::Time | Kind::Ticks => {
            Some(Target::Value(slot, kind))
        }
        Kind::Json | Kind::Binary | Kind::Date => None,
    }
}

/// The text of a string in which nothing but quotes is escaped, and where its bytes stand in the
/// record, where `raw` begins at `start`.
fn unescape_quotes(raw: &str, start: usize) -> Option<(String, Vec<usize>)> {
    let mut text = String::with_capacity(raw.len());
    let mut origins = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(slash) = rest.find('\\') {
        let at = start + raw.len() - rest.len();
        text.push_str(&rest[..slash]);
        origins.extend(at..at + slash);
        rest = rest[slash + 1..].strip_prefix('"')?;
        text.push('"');
        origins.push(at + slash);
    }
    let at = start + raw.len() - rest.len();
    text.push_str(rest);
    origins.extend(at..at + rest.len());
    text.trim_start().starts_with('{').then_some((text, origins))
}
