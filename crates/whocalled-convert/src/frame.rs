//! Framing: where one record ends and the next begins, found by looking at the bytes.
//!
//! Blobs hold JSON Lines (since November 2018), or `{"records":[...]}` (before that, in some
//! clouds still, and in Event Hubs messages), or what `az monitor activity-log list` and the REST
//! interface print: `[...]` and `{"value":[...]}`. Any of them may be pretty-printed.
//!
//! A frame is only ever cut at a place where the record before it is complete, so that the bytes
//! consumed are a position from which the next run can go on.

use std::ops::Range;

use memchr::{memchr, memchr3};
use whocalled_types::Framing;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How much of a blob's beginning must be there to tell a wrapper from a record, unless the blob
/// is no longer than this or has a line break before.
const SNIFF_BYTES: usize = 64;

/// What framing did with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed {
    /// How many bytes are behind us: complete records and what separates them.
    pub consumed_bytes: usize,
    /// How the next record is to be framed.
    pub framing: Framing,
}

/// Whether anything can follow the buffer that would complete its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// More bytes may come: a last record without a line break is torn.
    Open,
    /// The blob has been quiet for so long that a last record without a line break is taken if
    /// it is a complete object.
    Sealed,
}

/// Finds every complete record in `buffer` and hands its range to `record`. What is no record at all, such as a
/// damaged line, is handed over as well, up to where the next can begin.
pub fn frame(buffer: &[u8], framing: Framing, end: End, record: &mut dyn FnMut(Range<usize>)) -> Framed {
    let mut cursor = Cursor { buffer, at: 0, framing };
    if framing == Framing::Unknown {
        if buffer.starts_with(BYTE_ORDER_MARK) {
            cursor.at = BYTE_ORDER_MARK.len();
        } else if BYTE_ORDER_MARK.starts_with(buffer) {
            return Framed { consumed_bytes: 0, framing };
        }
    }
    // Every turn either gets further or ends.
    while cursor.step(end, record) {}
    Framed { consumed_bytes: cursor.at, framing: cursor.framing }
}

struct Cursor<'a> {
    buffer: &'a [u8],
    at: usize,
    framing: Framing,
}

impl Cursor<'_> {
    fn step(&mut self, end: End, record: &mut dyn FnMut(Range<usize>)) -> bool {
        match self.framing {
            Framing::Unknown => self.sniff(end),
            Framing::Lines => self.line(end, record),
            Framing::Values | Framing::Array => self.value(end, record),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += space(self.rest());
    }

    /// Decides how the records that follow are laid out.
    fn sniff(&mut self, end: End) -> bool {
        self.skip_space();
        let rest = self.rest();
        match rest.first() {
            None => false,
            Some(b'[') => self.enter_array(1),
            // The closing brace of a wrapper whose array ended earlier.
            Some(b'}') => {
                self.at += 1;
                true
            }
            Some(b'{') => {
                let known = rest.len() >= SNIFF_BYTES || memchr(b'\n', rest).is_some() || end == End::Sealed;
                if let Some(array) = wrapper(rest) {
                    return self.enter_array(array);
                }
                if !known {
                    return false;
                }
                self.framing =
                    if rest[1..1 + space(&rest[1..])].contains(&b'\n') { Framing::Values } else { Framing::Lines };
                true
            }
            Some(_) => {
                self.framing = Framing::Lines;
                true
            }
        }
    }

    fn enter_array(&mut self, opening_bytes: usize) -> bool {
        self.at += opening_bytes;
        self.framing = Framing::Array;
        true
    }

    /// One line: a record, a blank, or the beginning of a wrapper.
    fn line(&mut self, end: End, record: &mut dyn FnMut(Range<usize>)) -> bool {
        self.skip_space();
        let rest = self.rest();
        if rest.starts_with(b"{")
            && let Some(array) = wrapper(rest)
        {
            return self.enter_array(array);
        }
        match memchr(b'\n', rest) {
            Some(length) => {
                record(self.at..self.at + trim_end(&rest[..length]));
                self.at += length + 1;
                true
            }
            None => {
                if end == End::Sealed
                    && let Closing::Complete(length) = closing(rest, 0)
                    && space(&rest[length..]) == rest.len() - length
                {
                    record(self.at..self.at + length);
                    self.at = self.buffer.len();
                }
                false
            }
        }
    }

    /// One value that may span lines, inside an array or not.
    fn value(&mut self, end: End, record: &mut dyn FnMut(Range<usize>)) -> bool {
        while matches!(self.rest().first(), Some(b' ' | b'\t' | b'\r' | b'\n' | b',')) {
            self.at += 1;
        }
        let rest = self.rest();
        match rest.first() {
            None => false,
            Some(b']') if self.framing == Framing::Array => self.leave_array(end),
            Some(b'{') => {
                if self.framing == Framing::Values
                    && let Some(array) = wrapper(rest)
                {
                    return self.enter_array(array);
                }
                let (length, taken) = match closing(rest, 0) {
                    // As with lines, the last value outside an array waits for what follows it.
                    Closing::Complete(length)
                        if self.framing == Framing::Values && length == rest.len() && end == End::Open =>
                    {
                        return false;
                    }
                    Closing::Complete(length) => (length, length),
                    Closing::Broken(length) => (trim_end(&rest[..length]), length + 1),
                    Closing::Open => return false,
                };
                record(self.at..self.at + length);
                self.at += taken;
                true
            }
            // Not a record and not a separator: everything up to the next line break is rejected
            // as one record, since no closing brace can be trusted.
            Some(_) => match memchr(b'\n', rest) {
                Some(length) => {
                    record(self.at..self.at + trim_end(&rest[..length]));
                    self.at += length + 1;
                    true
                }
                None => false,
            },
        }
    }

    /// Takes `]`, and what ends the object around it: `}`, or `,"nextLink":"..."}`.
    fn leave_array(&mut self, end: End) -> bool {
        let rest = self.rest();
        let after = 1 + space(&rest[1..]);
        let taken = match rest.get(after) {
            Some(b'}') => after + 1,
            Some(b',') => match closing(&rest[after..], 1) {
                Closing::Complete(length) => after + length,
                Closing::Broken(_) => after,
                Closing::Open if end == End::Open => return false,
                Closing::Open => 1,
            },
            _ => 1,
        };
        // A block blob grows by writing over what closes it, so that is behind us only once something
        // follows it or the blob is sealed.
        if end == End::Open && taken + space(&rest[taken..]) == rest.len() {
            return false;
        }
        self.at += taken;
        self.framing = Framing::Unknown;
        true
    }
}

/// The length of the record that begins with the first of `bytes`, for reading one back from its
/// offset; `None` if its end is not among them.
pub fn record_bytes(bytes: &[u8]) -> Option<usize> {
    match closing(bytes, 0) {
        Closing::Complete(length) if bytes.starts_with(b"{") => Some(length),
        Closing::Broken(length) => Some(trim_end(&bytes[..length])),
        _ => memchr(b'\n', bytes).map(|length| trim_end(&bytes[..length])),
    }
}

fn space(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

fn trim_end(line: &[u8]) -> usize {
    line.len() - line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count()
}

/// How many bytes open the array of `{"records":[` or `{"value":[`, if that is what this is.
fn wrapper(bytes: &[u8]) -> Option<usize> {
    let mut at = 1 + space(&bytes[1..]);
    let key = [&b"\"records\""[..], &b"\"value\""[..]].into_iter().find(|key| bytes[at..].starts_with(key))?;
    at += key.len();
    at += space(&bytes[at..]);
    if bytes.get(at) != Some(&b':') {
        return None;
    }
    at += 1 + space(&bytes[at + 1..]);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    // An array of anything but records is a field of a record. What is not there yet decides
    // nothing: whoever asks asks again once more has come.
    let first = at + 1 + space(&bytes[at + 1..]);
    matches!(bytes.get(first), Some(b'{' | b']')).then_some(at + 1)
}

/// Where the brackets that are open come to be closed.
enum Closing {
    /// After this many bytes.
    Complete(usize),
    /// Nowhere: a string runs into the line break at this byte. No string spans a line, so its
    /// quote is lost, and the record ends here lest it swallow the rest of the blob.
    Broken(usize),
    /// Not within the buffer.
    Open,
}

/// Counts brackets of either kind, outside strings, until none is open. Whether they match is for
/// decoding to say.
fn closing(bytes: &[u8], mut open: usize) -> Closing {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return Closing::Complete(at + 1);
                }
            }
            b'"' => match string_end(bytes, at + 1) {
                Some(end) if bytes[end] == b'\n' => return Closing::Broken(end),
                Some(end) => at = end,
                None => return Closing::Open,
            },
            _ => {}
        }
        at += 1;
    }
    Closing::Open
}

/// The closing quote of the string whose text begins at `at`, or the line break that cuts it off.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?;
        if bytes[found] != b'\\' {
            return Some(found);
        }
        at = found + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames `text` whole and in every possible pair of reads, which must agree, and returns the
    /// records and the text that is left.
    #[track_caller]
    fn check(text: &str, end: End, expected: &[&str], left: &str) {
        for cut in 0..=text.len() {
            let mut records = Vec::new();
            let mut at = 0;
            let mut framing = Framing::Unknown;
            for (upto, end) in [(cut, End::Open), (text.len(), end)] {
                let buffer = &text.as_bytes()[at..upto];
                let framed = frame(buffer, framing, end, &mut |range| {
                    records.push(String::from_utf8_lossy(&buffer[range]).into_owned());
                });
                at += framed.consumed_bytes;
                framing = framed.framing;
            }
            assert_eq!(records, expected, "cut at {cut}");
            assert_eq!(&text[at..], left, "cut at {cut}");
        }
    }

    #[test]
    fn lines_with_blanks_and_any_line_end() {
        check(
            "{\"a\":1}\n\n  \r\n{\"b\":\"]}\"}\r\n{\"c\":3}\n",
            End::Open,
            &["{\"a\":1}", "{\"b\":\"]}\"}", "{\"c\":3}"],
            "",
        );
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        check("\u{feff}{\"a\":1}\n", End::Open, &["{\"a\":1}"], "");
    }

    #[test]
    fn a_torn_line_is_left() {
        check("{\"a\":1}\n{\"b\":", End::Open, &["{\"a\":1}"], "{\"b\":");
        check("{\"a\":1}\n{\"b\":2}", End::Open, &["{\"a\":1}"], "{\"b\":2}");
    }

    #[test]
    fn a_sealed_blob_gives_its_last_line_if_it_is_complete() {
        check("{\"a\":1}\n{\"b\":2}", End::Sealed, &["{\"a\":1}", "{\"b\":2}"], "");
        check("{\"a\":1}\n{\"b\":", End::Sealed, &["{\"a\":1}"], "{\"b\":");
    }

    #[test]
    fn broken_lines_are_records_too() {
        check("oops\n{\"a\":1}\n{\"b\":\n", End::Open, &["oops", "{\"a\":1}", "{\"b\":"], "");
    }

    #[test]
    fn wrappers_compact_and_pretty() {
        check("{\"records\":[{\"a\":1},{\"b\":[2]}]}\n", End::Open, &["{\"a\":1}", "{\"b\":[2]}"], "]}\n");
        check("{\"records\":[{\"a\":1},{\"b\":[2]}]}\n", End::Sealed, &["{\"a\":1}", "{\"b\":[2]}"], "");
        check(
            "{\n  \"records\": [\n    {\n      \"a\": 1\n    },\n    {\"b\": \"x\"}\n  ]\n}\n",
            End::Sealed,
            &["{\n      \"a\": 1\n    }", "{\"b\": \"x\"}"],
            "",
        );
        check("{\"records\":[]}", End::Sealed, &[], "");
    }

    #[test]
    fn a_wrapper_on_every_line() {
        check("{\"records\":[{\"a\":1}]}\n{\"records\":[{\"b\":2}]}\n", End::Sealed, &["{\"a\":1}", "{\"b\":2}"], "");
    }

    #[test]
    fn rest_answers_and_bare_arrays() {
        check("{\"value\":[{\"a\":1}],\"nextLink\":\"x}\"}\n", End::Sealed, &["{\"a\":1}"], "");
        check("[{\"a\":1},\n{\"b\":2}]\n", End::Sealed, &["{\"a\":1}", "{\"b\":2}"], "");
    }

    #[test]
    fn an_array_of_anything_but_records_is_a_field() {
        check("{\"value\":[1,2],\"a\":1}\n", End::Open, &["{\"value\":[1,2],\"a\":1}"], "");
    }

    #[test]
    fn a_growing_wrapper_goes_on_inside_its_array() {
        check("{\"records\":[{\"a\":1},{\"b\"", End::Open, &["{\"a\":1}"], "{\"b\"");
    }

    #[test]
    fn pretty_printed_values_outside_an_array() {
        check("{\n \"a\": 1\n}\n{\n \"b\": 2\n}\n", End::Open, &["{\n \"a\": 1\n}", "{\n \"b\": 2\n}"], "");
        check("{\n \"a\": 1\n}", End::Open, &[], "{\n \"a\": 1\n}");
        check("{\n \"a\": 1\n}", End::Sealed, &["{\n \"a\": 1\n}"], "");
    }

    #[test]
    fn a_record_is_found_again_by_its_first_byte() {
        assert_eq!(record_bytes(b"{\"a\":\"}\"}\r\n{"), Some(9));
        assert_eq!(record_bytes(b"{\n \"a\": 1\n},{"), Some(11));
        assert_eq!(record_bytes(b"oops\r\n{"), Some(4));
        assert_eq!(record_bytes(b"{\"a\":"), None);
    }

    #[test]
    fn a_lost_quote_in_an_array_costs_one_record() {
        check("[\n{\"a\":\"x},\n{\"b\":2}\n]\n", End::Sealed, &["{\"a\":\"x},", "{\"b\":2}"], "");
    }
}
