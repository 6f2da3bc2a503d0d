//! JSON as Azure's services write it: compact, spaced, indented, or escaped into a string of a
//! record around it. Written straight into the blob's buffer.

use crate::text::{Guid, Ticks, TimeForm, push_int, push_time};

/// Where white space goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// `{"a":1,"b":2}`
    Compact,
    /// `{ "a": 1, "b": 2}`, as Azure OpenAI and Entra write it.
    Spaced,
    /// Every field on a line of its own, as in a document for human readers.
    Indented,
}

/// An object that is being written. Values of `text` are our own, and need no escapes.
pub(crate) struct Object<'out> {
    out: &'out mut Vec<u8>,
    spacing: Spacing,
    /// How deep the object is indented, in steps of two spaces.
    depth: usize,
    /// A quotation mark, behind the backslashes that its depth of escaping needs.
    quote: &'static [u8],
    empty: bool,
}

/// Quotation marks outside a string, in a string, and in a string in a string.
const QUOTES: [&[u8]; 3] = [b"\"", b"\\\"", b"\\\\\\\""];

/// Appends an object, at a depth of indentation.
pub(crate) fn push_object(out: &mut Vec<u8>, spacing: Spacing, depth: usize, fields: impl FnOnce(&mut Object<'_>)) {
    Object { out, spacing, depth, quote: QUOTES[0], empty: true }.finish(fields);
}

impl Object<'_> {
    fn finish(mut self, fields: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        fields(&mut self);
        if self.spacing == Spacing::Indented && !self.empty {
            self.new_line(self.depth);
        }
        self.out.push(b'}');
    }

    fn new_line(&mut self, depth: usize) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * depth, b' ');
    }

    fn key(&mut self, key: &str) {
        match (self.spacing, self.empty) {
            (Spacing::Compact, true) => {}
            (Spacing::Compact, false) => self.out.push(b','),
            (Spacing::Spaced, true) => self.out.push(b' '),
            (Spacing::Spaced, false) => self.out.extend_from_slice(b", "),
            (Spacing::Indented, empty) => {
                if !empty {
                    self.out.push(b',');
                }
                self.new_line(self.depth + 1);
            }
        }
        self.empty = false;
        self.quoted(|out| out.extend_from_slice(key.as_bytes()));
        self.out.push(b':');
        if self.spacing != Spacing::Compact {
            self.out.push(b' ');
        }
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(self.quote);
        write(self.out);
        self.out.extend_from_slice(self.quote);
    }

    /// A field whose text `write` appends.
    pub(crate) fn written(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.quoted(write);
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        debug_assert!(!value.contains(['"', '\\']), "`{value}` would need escapes");
        self.written(key, |out| out.extend_from_slice(value.as_bytes()));
    }

    pub(crate) fn guid(&mut self, key: &str, value: Guid) {
        self.written(key, |out| value.push(out));
    }

    pub(crate) fn time(&mut self, key: &str, at: Ticks, form: TimeForm) {
        self.written(key, |out| push_time(out, at, form));
    }

    pub(crate) fn int(&mut self, key: &str, value: i64) {
        self.key(key);
        push_int(self.out, value);
    }

    /// An array of one number, as token counts have it.
    pub(crate) fn array_of_one(&mut self, key: &str, value: i64) {
        self.key(key);
        self.out.push(b'[');
        push_int(self.out, value);
        self.out.push(b']');
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    /// A field that holds an object.
    pub(crate) fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let depth = self.depth + 1;
        Object { out: self.out, spacing: self.spacing, depth, quote: self.quote, empty: true }.finish(fields);
    }

    /// A field that holds an object as the text of its JSON. Two such fields may be nested.
    pub(crate) fn json_text(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        self.out.extend_from_slice(self.quote);
        let level = QUOTES.iter().position(|quote| *quote == self.quote).unwrap_or_default();
        let quote = QUOTES[(level + 1).min(QUOTES.len() - 1)];
        Object { out: self.out, spacing: Spacing::Compact, depth: 0, quote, empty: true }.finish(fields);
        self.out.extend_from_slice(self.quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(spacing: Spacing) -> String {
        let mut out = Vec::new();
        push_object(&mut out, spacing, 0, |it| {
            it.int("a", -1);
            it.json_text("b", |it| {
                it.text("c", "d");
                it.json_text("e", |it| it.bool("f", true));
            });
            it.object("g", |it| it.array_of_one("h", 7));
        });
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_spacing_is_the_same_value() {
        let compact = written(Spacing::Compact);
        assert_eq!(compact, r#"{"a":-1,"b":"{\"c\":\"d\",\"e\":\"{\\\"f\\\":true}\"}","g":{"h":[7]}}"#);
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        assert!(parse(&compact).is_some());
        assert!(written(Spacing::Spaced).starts_with(r#"{ "a": -1, "b": "{\"c\""#));
        assert_eq!(parse(&written(Spacing::Spaced)), parse(&compact));
        assert_eq!(parse(&written(Spacing::Indented)), parse(&compact));
    }
}
