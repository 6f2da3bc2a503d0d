//! Templates: reading a record as the one before it was laid out.
//!
//! A service writes its records with one routine, so nearly every record has the keys of an earlier
//! one, in the same order, with the same spaces and the same escapes around its nested JSON. Once the
//! decoder has read a record, its bytes outside of the values become a [`Template`]. A record that
//! agrees with a template byte for byte has its values where the template says: no key is looked up,
//! and nothing is unescaped. Any other record, and any value that is not plain, is left to the decoder,
//! so that a template is only ever a faster way to the same result.

use memchr::memchr2;

use crate::decode::Row;
use crate::definition::Kind;
use crate::plan::{Node, Plan};
use crate::scan::Scanner;

/// How many layouts are remembered for a table.
const TEMPLATES_MAX: usize = 16;
/// Longer records are not learned from, so that templates take little memory.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// After this many records in a row that no template could be made of, no more is tried.
const FAILURES_MAX: u32 = 64;

/// What stands between the fixed texts of a layout, and where it goes.
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

pub(crate) enum Target {
    Column(usize),
    /// The field's path as the key of `extra`, with its quotes and the colon.
    Extra(Box<str>),
}

/// The layout of a record.
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
    /// Reads a record along a known layout; false where none fits.
    pub(crate) fn read(&mut self, row: &mut Row<'_>) -> bool {
        for index in 0..self.known.len() {
            row.reset();
            if self.known[index].read(row).is_some() {
                self.known.swap(0, index);
                return true;
            }
        }
        row.reset();
        false
    }

    /// Remembers the layout of a record that the decoder has read.
    pub(crate) fn learn(&mut self, plan: &Plan, record: &str, nesting_max: usize) {
        if plan.finish.is_some() || record.len() > RECORD_BYTES_MAX || self.failure_count >= FAILURES_MAX {
            return;
        }
        match Template::of(plan, record, nesting_max) {
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

    /// Fills a row's slots; `None` as soon as the record turns out to be laid out differently.
    fn read(&self, row: &mut Row<'_>) -> Option<()> {
        let record = row.record();
        let bytes = record.as_bytes();
        let mut at = 0;
        for hole in &self.holes {
            let start = at + hole.literal.len();
            if bytes.get(at..start)? != &*hole.literal {
                return None;
            }
            at = start + hole.shape.length(&bytes[start..])?;
            match &hole.target {
                Target::Column(column) if hole.shape == Shape::Text => row.assign_text(*column, start..at),
                Target::Column(column) => row.assign_number(*column, start..at),
                Target::Extra(key) => row.put_plain_extra(key, &record[start..at], hole.shape == Shape::Text),
            }
            .then_some(())?;
        }
        (bytes[at..] == *self.end).then_some(())
    }
}

impl Shape {
    /// How long the value is that `bytes` begin with.
    fn length(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Text => memchr2(b'"', b'\\', bytes),
            Self::Integer => {
                let sign = usize::from(bytes.first() == Some(&b'-'));
                let digits = bytes[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let plain = digits == 1 || (digits > 1 && bytes[sign] != b'0');
                plain.then_some(sign + digits)
            }
        }
    }
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
                        let whole = Shape::Integer.length(text.as_bytes()) == Some(text.len());
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
        range: std::ops::Range<usize>,
        origins: Option<&Origins>,
    ) -> Option<()> {
        let target = match node {
            Some(node) => Target::Column(node.column?),
            None => Target::Extra(format!("\"{}{key}\":", self.path).into()),
        };
        let in_record = |at: usize| origins.map_or(Some(at), |origins| origins.get(at).copied());
        let (start, end) = (in_record(range.start)?, in_record(range.end)?);
        self.holes.push(Hole { literal: self.record.as_bytes()[self.from..start].into(), shape, target });
        self.from = end;
        Some(())
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
