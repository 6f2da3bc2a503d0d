//! Numbers, GUIDs, addresses and instants as bytes, written without allocating: this is what every
//! record consists of.

use std::ops::{Add, Sub};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, Timelike, Utc};

/// Ticks in a millisecond.
pub(crate) const MILLISECOND: i64 = 10_000;
/// Ticks in a second.
pub(crate) const SECOND: i64 = 1_000 * MILLISECOND;
/// Ticks in a minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Ticks in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// An instant as .NET counts it: in 100 ns since the year 1, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(i64);

/// Ticks at 1970-01-01T00:00:00Z.
const UNIX_EPOCH: i64 = 621_355_968_000_000_000;

impl Ticks {
    pub(crate) fn from_utc(at: DateTime<Utc>) -> Self {
        Self(UNIX_EPOCH + at.timestamp() * SECOND + i64::from(at.timestamp_subsec_nanos() / 100))
    }

    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        let since = self.0 - UNIX_EPOCH;
        DateTime::from_timestamp(since.div_euclid(SECOND), self.fraction() * 100).unwrap_or_default()
    }

    pub(crate) const fn count(self) -> i64 {
        self.0
    }

    /// The last whole multiple of `unit` before or at this instant.
    pub(crate) const fn floor(self, unit: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(unit))
    }

    /// What is left of the second, in ticks.
    #[expect(clippy::cast_possible_truncation, reason = "below ten million")]
    fn fraction(self) -> u32 {
        self.0.rem_euclid(SECOND).cast_unsigned() as u32
    }
}

impl Add<i64> for Ticks {
    type Output = Self;
    fn add(self, ticks: i64) -> Self {
        Self(self.0 + ticks)
    }
}

impl Sub for Ticks {
    type Output = i64;
    fn sub(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

/// How an instant is spelled. Azure's services do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// `2026-11-02T08:00:00.1234567Z`, by far the most frequent.
    Seven,
    /// `2026-11-02T08:00:00.1234567`, which is UTC nevertheless.
    SevenBare,
    /// `2026-11-02T08:00:00.123Z`; drops what is below a millisecond.
    Three,
    /// `2026-11-02T08:00:00.123456Z`, as in the files of truth.
    Six,
    /// `2026-11-02T08:00:00.123456+00:00`
    SixOffset,
    /// `2026-11-02T08:00:00.123456700Z`
    Nine,
    /// `11/2/2026 8:00:00 AM`; drops what is below a second.
    UnitedStates,
}

/// Appends an instant.
pub(crate) fn push_time(out: &mut Vec<u8>, at: Ticks, form: TimeForm) {
    let utc = at.to_utc();
    let fraction = u64::from(at.fraction());
    if form == TimeForm::UnitedStates {
        return push_united_states(out, utc);
    }
    push_padded(out, u64::from(utc.year().unsigned_abs()), 4);
    out.push(b'-');
    push_padded(out, u64::from(utc.month()), 2);
    out.push(b'-');
    push_padded(out, u64::from(utc.day()), 2);
    out.push(b'T');
    push_padded(out, u64::from(utc.hour()), 2);
    out.push(b':');
    push_padded(out, u64::from(utc.minute()), 2);
    out.push(b':');
    push_padded(out, u64::from(utc.second()), 2);
    out.push(b'.');
    let (value, width, zone): (u64, usize, &[u8]) = match form {
        TimeForm::Seven | TimeForm::UnitedStates => (fraction, 7, b"Z"),
        TimeForm::SevenBare => (fraction, 7, b""),
        TimeForm::Three => (fraction / 10_000, 3, b"Z"),
        TimeForm::Six => (fraction / 10, 6, b"Z"),
        TimeForm::SixOffset => (fraction / 10, 6, b"+00:00"),
        TimeForm::Nine => (fraction * 100, 9, b"Z"),
    };
    push_padded(out, value, width);
    out.extend_from_slice(zone);
}

fn push_united_states(out: &mut Vec<u8>, utc: DateTime<Utc>) {
    let (afternoon, hour) = utc.hour12();
    for (value, end) in [(utc.month(), b'/'), (utc.day(), b'/'), (utc.year().unsigned_abs(), b' '), (hour, b':')] {
        push_int(out, i64::from(value));
        out.push(end);
    }
    push_padded(out, u64::from(utc.minute()), 2);
    out.push(b':');
    push_padded(out, u64::from(utc.second()), 2);
    out.extend_from_slice(if afternoon { b" PM" } else { b" AM" });
}

/// Appends the last `width` decimal digits of a number, with leading zeros.
pub(crate) fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Appends a whole number.
pub(crate) fn push_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A GUID, as its bytes in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guid([u8; 16]);

impl Guid {
    /// Makes random bits a GUID of version 4.
    pub(crate) fn version_4(random: u128) -> Self {
        let mut bytes = random.to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Appends it in lower case with hyphens.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        for (index, byte) in self.0.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.extend_from_slice(&[HEXADECIMAL[usize::from(byte >> 4)], HEXADECIMAL[usize::from(byte & 15)]]);
        }
    }

    /// As `uti` and `uniqueTokenIdentifier` have it: base64url of the bytes in .NET's order, where
    /// the first three fields are little-endian.
    pub(crate) fn token_identifier(self) -> String {
        let mut bytes = self.0;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(36);
        self.push(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// An IPv4 address, as the /24 that it is in and its last octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) prefix: [u8; 3],
    pub(crate) host: u8,
}

impl Address {
    /// Appends the address in full.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        push_prefix(out, self.prefix);
        out.push(b'.');
        push_int(out, i64::from(self.host));
    }

    /// Appends the address as Azure OpenAI masks it: with a star for every digit of the last octet.
    pub(crate) fn push_masked(self, out: &mut Vec<u8>) {
        push_prefix(out, self.prefix);
        let stars: &[u8] = match self.host {
            0..=9 => b".*",
            10..=99 => b".**",
            _ => b".***",
        };
        out.extend_from_slice(stars);
    }
}

/// Appends the first three octets of an address.
pub(crate) fn push_prefix(out: &mut Vec<u8>, prefix: [u8; 3]) {
    for (index, octet) in prefix.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        push_int(out, i64::from(octet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn instants_in_every_form() {
        // The example of a real record: 638978186277847539 ticks.
        let at = Ticks(638_978_186_277_847_539);
        for (form, expected) in [
            (TimeForm::Seven, "2025-11-04T02:03:47.7847539Z"),
            (TimeForm::SevenBare, "2025-11-04T02:03:47.7847539"),
            (TimeForm::Three, "2025-11-04T02:03:47.784Z"),
            (TimeForm::SixOffset, "2025-11-04T02:03:47.784753+00:00"),
            (TimeForm::Nine, "2025-11-04T02:03:47.784753900Z"),
            (TimeForm::UnitedStates, "11/4/2025 2:03:47 AM"),
        ] {
            assert_eq!(written(|out| push_time(out, at, form)), expected);
        }
        assert_eq!(Ticks::from_utc(at.to_utc()), at);
    }

    #[test]
    fn token_identifiers_are_little_endian() {
        let guid = Guid(std::array::from_fn(|index| u8::try_from(index).unwrap_or_default()));
        assert_eq!(guid.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(
            URL_SAFE_NO_PAD.decode(guid.token_identifier()).ok(),
            Some(vec![3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15])
        );
    }

    #[test]
    fn a_masked_address_has_a_star_for_every_hidden_digit() {
        for (host, expected) in [(7, "100.64.3.*"), (42, "100.64.3.**"), (200, "100.64.3.***")] {
            assert_eq!(written(|out| Address { prefix: [100, 64, 3], host }.push_masked(out)), expected);
        }
    }
}
