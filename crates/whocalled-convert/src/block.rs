//! Blocks: rows that were read along templates and are appended together, a column at a time.
//!
//! A builder is found once for the values of a block instead of once for each, and what all records of a
//! resource share is worked out once.

use whocalled_types::{ResourceId, Table};

use crate::canonical::push_lower;
use crate::plan::Plan;
use crate::value::Value;

/// How many rows are read before they are appended. A block of calls and their records fit into a core's
/// second-level cache.
pub(crate) const ROWS_MAX: usize = 56;
/// With how many rows a record batch is full: few enough that its columns hardly have to move while they grow, and that
/// the memory of one fits the next.
pub(crate) const BATCH_ROWS: usize = 16 << 10;

/// How many rows to make room for after a batch of `row_count`, which may have been cut short: those of a full one, since
/// growing would copy what is there. Pages that are not written to cost nothing.
pub(crate) fn room(row_count: usize) -> usize {
    if row_count == 0 { 0 } else { BATCH_ROWS + ROWS_MAX }
}

/// A value whose text is that range of the text that all rows of a block were read from.
pub(crate) type Cell = Value<(usize, usize)>;

/// Rows of one table, of records of one resource.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) row_count: usize,
    /// The values of all rows for the first slot, then for the second, and so on.
    cells: Vec<Cell>,
    /// Whether any row has a value for a slot.
    filled: Vec<bool>,
    /// Where the records begin in their blob.
    pub(crate) offsets: Vec<i64>,
    /// The fields that the table does not know, as JSON objects, and where each row's ends.
    extra: String,
    extra_ends: Vec<usize>,
    shared: Option<Shared>,
}

/// What the rows of a block have in common.
pub(crate) struct Shared {
    /// What the records say, as they write it.
    category: Option<String>,
    resource_id: Option<String>,
    /// Whether such records belong to the block's table.
    pub(crate) belongs: bool,
    /// The slots that follow from it.
    texts: Vec<(usize, String)>,
}

impl Shared {
    /// `scope` stands in for a resource id that the records lack, and `container_category` for a category that those
    /// of `other` lack; `route` tells the table of a category and a resource id in lower case.
    pub(crate) fn new(
        plan: &Plan,
        (category, resource_id): (Option<&str>, Option<&str>),
        scope: Option<&str>,
        container_category: &str,
        route: impl FnOnce(Option<&str>, Option<&str>) -> Table,
    ) -> Self {
        let mut texts = Vec::new();
        let mut lower = String::new();
        let canonical = match resource_id {
            Some(id) => {
                push_lower(id, &mut lower);
                Some(lower.as_str())
            }
            None => scope,
        };
        if let (Some(slot), Some(id)) = (plan.resource_id, canonical) {
            texts.push((slot, id.to_owned()));
            let parts = ResourceId::parse(id);
            let parts = [parts.subscription_id, parts.resource_group, parts.account];
            let derived = plan.resource_parts.into_iter().zip(parts);
            texts.extend(derived.filter_map(|(slot, part)| Some((slot?, part?.to_owned()))));
        }
        let known_category = category.or((plan.table == Table::Other).then_some(container_category));
        if let (Some(slot), Some(category)) = (plan.category, known_category) {
            texts.push((slot, category.to_owned()));
        }
        let belongs = route(known_category, canonical) == plan.table;
        Self { category: category.map(str::to_owned), resource_id: resource_id.map(str::to_owned), belongs, texts }
    }
}

impl Block {
    /// Makes ready for rows of a blob that may share something else.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        self.cells.resize(plan.kinds.len() * ROWS_MAX, Cell::Null);
        self.filled.resize(plan.kinds.len(), false);
        self.shared = None;
    }

    /// Fills a slot of the row being read. False where another value has filled it.
    #[inline]
    pub(crate) fn put(&mut self, slot: usize, value: Cell, text: &str) -> bool {
        let cell = &mut self.cells[slot * ROWS_MAX + self.row_count];
        if matches!(cell, Cell::Null) {
            *cell = value;
            self.filled[slot] = true;
            return true;
        }
        let resolve = |cell: Cell| cell.map_text(|(start, end)| &text[start..end]);
        resolve(*cell) == resolve(value)
    }

    /// Adds a field to the row's `extra`; its key comes with quotes and the colon.
    pub(crate) fn put_extra(&mut self, key: &str, value: &str, quote: &str) {
        let is_first = self.extra.len() == self.extra_ends.last().copied().unwrap_or(0);
        for piece in [if is_first { "{" } else { "," }, key, quote, value, quote] {
            self.extra.push_str(piece);
        }
    }

    /// The value of the row being read.
    pub(crate) fn get(&self, slot: usize) -> Cell {
        self.cells[slot * ROWS_MAX + self.row_count]
    }

    /// What the row being read says of its category and its resource.
    pub(crate) fn says<'t>(&self, plan: &Plan, text: &'t str) -> (Option<&'t str>, Option<&'t str>) {
        let said = |slot: Option<usize>| slot.and_then(|it| self.get(it).text()).map(|(start, end)| &text[start..end]);
        (said(plan.category), said(plan.resource_id))
    }

    /// Whether the row being read says of its category and its resource what the rows before it said.
    pub(crate) fn shares(&self, says: (Option<&str>, Option<&str>)) -> Option<&Shared> {
        self.shared.as_ref().filter(|it| (it.category.as_deref(), it.resource_id.as_deref()) == says)
    }

    /// Sets what the rows share from here on. The block holds none yet.
    pub(crate) fn share(&mut self, shared: Shared) {
        self.shared = Some(shared);
    }

    /// Takes the row being read.
    pub(crate) fn push(&mut self, offset: i64) {
        let start = self.extra_ends.last().copied().unwrap_or(0);
        if self.extra.len() > start {
            self.extra.push('}');
        }
        self.extra_ends.push(self.extra.len());
        self.offsets.push(offset);
        self.row_count += 1;
    }

    /// Drops the row being read.
    pub(crate) fn abandon(&mut self) {
        self.cells.iter_mut().skip(self.row_count).step_by(ROWS_MAX).for_each(|cell| *cell = Cell::Null);
        self.extra.truncate(self.extra_ends.last().copied().unwrap_or(0));
    }

    /// The values of a slot, by row; `None` where no row has any.
    pub(crate) fn column(&self, slot: usize) -> Option<&[Cell]> {
        self.filled[slot].then(|| &self.cells[slot * ROWS_MAX..slot * ROWS_MAX + self.row_count])
    }

    /// The value that all rows have in a slot, where it is one that they share.
    pub(crate) fn shared_text(&self, slot: usize) -> Option<&str> {
        self.shared.as_ref()?.texts.iter().find(|(it, _)| *it == slot).map(|(_, text)| text.as_str())
    }

    /// The `extra` of each row; empty where it has none.
    pub(crate) fn extras(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.extra_ends.iter().copied());
        starts.zip(&self.extra_ends).map(|(start, end)| &self.extra[start..*end])
    }

    /// Drops all rows.
    pub(crate) fn clear(&mut self) {
        for (cells, filled) in self.cells.chunks_mut(ROWS_MAX).zip(&mut self.filled) {
            if std::mem::take(filled) {
                cells[..self.row_count].fill(Cell::Null);
            }
        }
        self.extra.clear();
        self.extra_ends.clear();
        self.offsets.clear();
        self.row_count = 0;
    }
}
