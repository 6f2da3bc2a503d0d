//! A table definition, compiled into the tree of fields that the decoder walks.

use whocalled_types::Table;

use crate::decode::Row;
use crate::definition::{Definition, Kind, PATH_SEPARATOR, PROVENANCE};

/// What the decoder does with a field of an object.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) key: &'static str,
    /// The column that takes the field's value.
    pub(crate) column: Option<usize>,
    /// The constant that the value may be, and is then dropped.
    pub(crate) implied: Option<&'static str>,
    /// Whether the whole value goes to `extra`, so that nothing inside need be put there.
    pub(crate) keep: bool,
    pub(crate) children: Vec<Self>,
}

/// A definition made ready for decoding.
pub(crate) struct Plan {
    pub(crate) table: Table,
    pub(crate) definition: &'static Definition,
    /// The kind of each slot: the definition's columns, hidden ones included, then provenance.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) root: Node,
    pub(crate) time: usize,
    pub(crate) date: usize,
    pub(crate) category: Option<usize>,
    pub(crate) resource_id: Option<usize>,
    /// Slots of `subscription_id`, `resource_group` and `account`, which derive from it.
    pub(crate) resource_parts: [Option<usize>; 3],
    pub(crate) caller_ip: Option<usize>,
    pub(crate) ip_prefix: Option<usize>,
    pub(crate) ip_hidden_digits: Option<usize>,
    /// A hidden slot, and the column whose value it repeats.
    pub(crate) region: Option<(usize, usize)>,
    pub(crate) finish: Option<fn(&mut Row<'_>)>,
}

impl Plan {
    pub(crate) fn new(definition: &'static Definition) -> Self {
        let names: Vec<&str> = definition.columns.iter().chain(PROVENANCE).map(|column| column.name).collect();
        let slot = |name: &str| names.iter().position(|it| *it == name);
        let mut root = Node::default();
        for (index, column) in definition.columns.iter().enumerate() {
            for path in column.from {
                root.descend(path).column = Some(index);
            }
        }
        for path in definition.keep {
            root.descend(path).keep = true;
        }
        for (path, value) in definition.implied {
            root.descend(path).implied = Some(value);
        }
        Self {
            table: definition.table,
            definition,
            kinds: definition.columns.iter().chain(PROVENANCE).map(|column| column.kind).collect(),
            root,
            // `rejects` has no time, and is never decoded.
            time: slot("time").unwrap_or(0),
            date: names.len() - 1,
            category: slot("category"),
            resource_id: slot("resource_id"),
            resource_parts: ["subscription_id", "resource_group", "account"].map(slot),
            caller_ip: slot("caller_ip"),
            ip_prefix: slot("ip_prefix"),
            ip_hidden_digits: slot("ip_hidden_digits"),
            region: slot("region").zip(slot("location")),
            finish: definition.finish,
        }
    }

    /// The slot of a column, hidden or not, or of a provenance column.
    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.definition.columns.iter().chain(PROVENANCE).position(|column| column.name == name)
    }
}

impl Node {
    fn descend(&mut self, path: &'static str) -> &mut Self {
        let (key, rest) = match path.split_once(PATH_SEPARATOR) {
            Some((key, rest)) => (key, Some(rest)),
            None => (path, None),
        };
        let index = self.children.iter().position(|child| child.key == key).unwrap_or_else(|| {
            self.children.push(Self { key, ..Self::default() });
            self.children.len() - 1
        });
        let child = &mut self.children[index];
        match rest {
            Some(rest) => child.descend(rest),
            None => child,
        }
    }

    /// The child of that key: as written if there is one, else whatever its case, since
    /// `callerIPAddress` and `callerIpAddress` both occur.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        let exact = self.children.iter().find(|child| child.key == key);
        exact.or_else(|| self.children.iter().find(|child| child.key.eq_ignore_ascii_case(key)))
    }
}
