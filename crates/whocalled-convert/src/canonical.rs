//! The canonical forms that `convert` applies once, so that SQL can compare without functions.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends a GUID in lower case with hyphens, whether it was written with hyphens, without, or in
/// braces; the Activity Log's evidence ids come as 32 bare digits. Any other text is lower-cased.
pub(crate) fn push_guid(text: &str, out: &mut String) {
    let bare = text.trim_matches(['{', '}']);
    if bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        for (index, byte) in bare.bytes().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(char::from(byte.to_ascii_lowercase()));
        }
    } else {
        push_lower(bare, out);
    }
}

/// Whether [`push_guid`] would give just this text, and it needs no look at more than its length and its
/// letters.
pub(crate) fn is_canonical_guid(text: &str) -> bool {
    // Folded instead of searched, so that all 36 bytes are looked at side by side.
    let bytes = text.as_bytes();
    bytes.len() == 36 && !bytes.iter().fold(false, |any, byte| any | matches!(byte, b'A'..=b'Z' | b'{' | b'}'))
}

/// Whether the text is a GUID with hyphens.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Appends the text with its ASCII letters in lower case.
pub(crate) fn push_lower(text: &str, out: &mut String) {
    let start = out.len();
    out.push_str(text);
    out[start..].make_ascii_lowercase();
}

/// What an address shows of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix<'a> {
    /// The three visible octets of an IPv4 address, and how many `*` hide the fourth.
    V4(&'a str, Option<i32>),
    /// The first 64 bits of an IPv6 address.
    V6([u16; 4]),
    /// Three octets that had to be computed, of an IPv4 address written as IPv6.
    Mapped([u8; 3]),
}

impl<'a> Prefix<'a> {
    /// Three octets, or four groups of IPv6.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::V4(octets, _) => Cow::Borrowed(octets),
            Self::V6([a, b, c, d]) => Cow::Owned(format!("{a:x}:{b:x}:{c:x}:{d:x}")),
            Self::Mapped([a, b, c]) => Cow::Owned(format!("{a}.{b}.{c}")),
        }
    }

    /// How many `*` hide the last octet, where one is hidden.
    pub(crate) fn hidden_digits(self) -> Option<i32> {
        if let Self::V4(_, digits) = self { digits } else { None }
    }
}

/// The visible network of a logged caller address: `20.236.11.***` (masked by Azure OpenAI),
/// `20.236.11.7`, `20.236.11.7:443` (as Azure Storage logs it), IPv6 with or without brackets.
/// `None` for anything else.
pub(crate) fn ip_prefix(text: &str) -> Option<Prefix<'_>> {
    let last_dot = text.rfind('.');
    if let Some(dot) = last_dot {
        let (head, tail) = (&text[..dot], &text[dot + 1..]);
        let is_octet =
            |part: &str| part.len() <= 3 && part.bytes().all(|it| it.is_ascii_digit()) && part.parse::<u8>().is_ok();
        if head.split('.').count() == 3 && head.split('.').all(is_octet) {
            let tail = tail.split_once(':').map_or(tail, |(octet, _port)| octet);
            if is_octet(tail) {
                return Some(Prefix::V4(head, None));
            }
            let is_mask = (1..=3).contains(&tail.len()) && tail.bytes().all(|it| it == b'*');
            return is_mask.then(|| Prefix::V4(head, i32::try_from(tail.len()).ok()));
        }
    }
    let bare = text.strip_prefix('[').and_then(|it| it.split_once(']')).map_or(text, |(address, _port)| address);
    let bare = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    match bare.parse::<IpAddr>().ok()? {
        IpAddr::V6(address) => Some(v6(address)),
        IpAddr::V4(_) => None,
    }
}

fn v6(address: Ipv6Addr) -> Prefix<'static> {
    match address.to_ipv4_mapped().map(|it: Ipv4Addr| it.octets()) {
        Some([a, b, c, _]) => Prefix::Mapped([a, b, c]),
        None => {
            let [a, b, c, d, ..] = address.segments();
            Prefix::V6([a, b, c, d])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid(text: &str) -> String {
        let mut out = String::new();
        push_guid(text, &mut out);
        out
    }

    #[test]
    fn guids_get_hyphens_and_lower_case() {
        let canonical = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        for text in [canonical, "0A1B2C3D4E5F60718293A4B5C6D7E8F9", "{0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9}"] {
            assert_eq!(guid(text), canonical);
        }
        assert_eq!(guid("Not-A-Guid"), "not-a-guid");
    }

    #[test]
    fn prefixes() {
        assert_eq!(ip_prefix("20.236.11.***"), Some(Prefix::V4("20.236.11", Some(3))));
        assert_eq!(ip_prefix("104.28.201.**"), Some(Prefix::V4("104.28.201", Some(2))));
        assert_eq!(ip_prefix("203.0.113.10"), Some(Prefix::V4("203.0.113", None)));
        assert_eq!(ip_prefix("203.0.113.10:51234"), Some(Prefix::V4("203.0.113", None)));
        assert_eq!(ip_prefix("2001:db8:0:1:2:3:4:5"), Some(Prefix::V6([0x2001, 0xdb8, 0, 1])));
        assert_eq!(ip_prefix("[2001:db8::1]:443"), Some(Prefix::V6([0x2001, 0xdb8, 0, 0])));
        assert_eq!(ip_prefix("::ffff:203.0.113.10"), Some(Prefix::Mapped([203, 0, 113])));
        for junk in ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.****", "1.2.3.4/24", "***.***.***.***"]
        {
            assert_eq!(ip_prefix(junk), None, "{junk}");
        }
    }
}
