//! A pull scanner over JSON text that hands out slices and copies nothing.
//!
//! It knows the grammar of RFC 8259 and nothing of records. Strings come back as the raw text
//! between the quotes, with a mark whether it holds escapes, so that the common case costs no copy.

use memchr::memchr2;

/// What stops a scan: a sentence for the `reason` of a reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanError {
    /// What was wrong.
    pub(crate) what: String,
    /// The byte of the scanned text at which it was noticed.
    pub(crate) at: usize,
}

/// A string token: the range between the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawText {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether it holds a backslash, so that it must be unescaped before use.
    pub(crate) escaped: bool,
}

pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub(crate) at: usize,
    nesting_max: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, nesting_max: usize) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, nesting_max }
    }

    pub(crate) fn text(&self, range: std::ops::Range<usize>) -> &'a str {
        &self.text[range]
    }

    pub(crate) fn error<T>(&self, what: impl Into<String>) -> Result<T, ScanError> {
        Err(ScanError { what: what.into(), at: self.at })
    }

    fn expected<T>(&self, what: &str) -> Result<T, ScanError> {
        match self.text[self.at.min(self.text.len())..].chars().next() {
            Some(found) => self.error(format!("expected {what}, found {found:?}")),
            None => self.error(format!("expected {what}, found the end of the record")),
        }
    }

    /// The next byte that is not white space, without taking it; 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<(), ScanError> {
        if self.peek() != byte {
            return self.expected(what);
        }
        self.at += 1;
        Ok(())
    }

    pub(crate) fn begin_object(&mut self) -> Result<(), ScanError> {
        self.take(b'{', "an object")
    }

    /// The next key of an object and the colon after it; `None` after its closing brace.
    pub(crate) fn next_key(&mut self, first: bool) -> Result<Option<RawText>, ScanError> {
        match self.peek() {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if !first => self.at += 1,
            _ if first => {}
            _ => return self.expected("`,` or `}`"),
        }
        let key = self.string()?;
        self.take(b':', "`:`")?;
        self.peek();
        Ok(Some(key))
    }

    pub(crate) fn string(&mut self) -> Result<RawText, ScanError> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        while let Some(found) = self.bytes.get(self.at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            self.at += found;
            if self.bytes[self.at] == b'"' {
                let end = self.at;
                self.at += 1;
                return Ok(RawText { start, end, escaped });
            }
            escaped = true;
            self.at += 2;
        }
        self.at = self.bytes.len();
        self.error("a string has no closing quote")
    }

    /// A number, `true`, `false` or `null`, as its text.
    pub(crate) fn scalar(&mut self) -> Result<&'a str, ScanError> {
        self.peek();
        let start = self.at;
        let is_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        while self.bytes.get(self.at).is_some_and(is_scalar) {
            self.at += 1;
        }
        let text = self.text(start..self.at);
        if matches!(text, "true" | "false" | "null") || is_number(text.as_bytes()) {
            return Ok(text);
        }
        self.at = start;
        self.expected("a value")
    }

    /// Passes over any value, checking its grammar and nesting, and gives its text.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<&'a str, ScanError> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' => {
                self.descend(depth)?;
                self.begin_object()?;
                let mut is_first = true;
                while self.next_key(is_first)?.is_some() {
                    is_first = false;
                    self.skip(depth + 1)?;
                }
            }
            b'[' => {
                self.descend(depth)?;
                self.at += 1;
                let mut is_first = true;
                while self.next_element(is_first)? {
                    is_first = false;
                    self.skip(depth + 1)?;
                }
            }
            _ => {
                self.scalar()?;
            }
        }
        Ok(self.text(start..self.at))
    }

    /// Whether another element of an array follows; the closing bracket is taken.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, ScanError> {
        match self.peek() {
            b']' => {
                self.at += 1;
                Ok(false)
            }
            b',' if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => self.expected("`,` or `]`"),
        }
    }

    pub(crate) fn descend(&self, depth: usize) -> Result<(), ScanError> {
        if depth >= self.nesting_max {
            return self.error(format!("nested deeper than the limit of {} levels", self.nesting_max));
        }
        Ok(())
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            0 if self.at >= self.bytes.len() => Ok(()),
            _ => self.expected("the end of the record"),
        }
    }
}

/// The number grammar of RFC 8259 section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |from: usize| text[from..].iter().take_while(|it| it.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let integer = digits(at);
    if integer == 0 || (integer > 1 && text[at] == b'0') {
        return false;
    }
    at += integer;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == text.len()
}

/// Appends the text of a raw string to `out`, its escapes resolved.
pub(crate) fn unescape(raw: &str, out: &mut String) -> Result<(), &'static str> {
    let mut rest = raw;
    while let Some(slash) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..slash]);
        let escape = rest.as_bytes().get(slash + 1).copied().unwrap_or(0);
        rest = rest.get(slash + 2..).ok_or("a string ends in a backslash")?;
        match escape {
            b'"' | b'\\' | b'/' => out.push(char::from(escape)),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let (character, used) = unicode_escape(rest)?;
                out.push(character);
                rest = &rest[used..];
            }
            _ => return Err("a string holds an unknown escape"),
        }
    }
    out.push_str(rest);
    Ok(())
}

/// The character of the four hexadecimal digits that `rest` starts with, or of a surrogate pair,
/// and how many bytes it took.
fn unicode_escape(rest: &str) -> Result<(char, usize), &'static str> {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 4).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|it| u16::from_str_radix(it, 16).ok()).ok_or("a \\u escape lacks four hexadecimal digits")
    };
    let first = unit(0)?;
    if !(0xD800..0xE000).contains(&first) {
        return char::from_u32(u32::from(first)).map(|it| (it, 4)).ok_or("a \\u escape is no character");
    }
    if rest.get(4..6) != Some("\\u") {
        return Err("a \\u escape holds half a surrogate pair");
    }
    let pair = [first, unit(6)?];
    match char::decode_utf16(pair).next() {
        Some(Ok(character)) => Ok((character, 10)),
        _ => Err("a \\u escape holds half a surrogate pair"),
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub(crate) fn escape(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<&str, ScanError> {
        let mut scanner = Scanner::new(text, 4);
        let value = scanner.skip(0)?;
        scanner.end()?;
        Ok(value)
    }

    #[test]
    fn whole_values_are_passed_over() {
        for text in ["{}", "[]", r#"{"a":[1,-2.5e3,{"b":"\"}"}],"c":null}"#, "true", r#" "x" "#, "[[1],[2]]"] {
            assert_eq!(skip(text).map(str::trim), Ok(text.trim()), "{text}");
        }
    }

    #[test]
    fn broken_values_are_refused() {
        for text in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "01",
            "1.",
            "nul",
            "\"a",
            "{'a':1}",
            "1 2",
            "[1 2]",
        ] {
            assert!(skip(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        assert!(skip("[[[[1]]]]").is_ok());
        assert!(skip("[[[[[1]]]]]").is_err_and(|error| error.what.contains("limit of 4 levels")));
    }

    #[test]
    fn escapes_are_resolved() {
        let mut out = String::new();
        assert_eq!(unescape(r#"a\"\\\/\n\u00e9\ud83d\ude00z"#, &mut out), Ok(()));
        assert_eq!(out, "a\"\\/\né😀z");
        for broken in [r"\x", r"\u12", r"\ud83d", r"\ud83dx", r"\ud83d\u0041", "\\"] {
            assert!(unescape(broken, &mut String::new()).is_err(), "{broken}");
        }
    }

    #[test]
    fn escape_and_unescape_are_inverse() {
        let text = "quote \" slash \\ line \n bell \u{7} é";
        let mut quoted = String::new();
        escape(text, &mut quoted);
        let mut back = String::new();
        assert_eq!(unescape(&quoted[1..quoted.len() - 1], &mut back), Ok(()));
        assert_eq!(back, text);
    }
}
