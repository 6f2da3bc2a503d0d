//! The many ways in which Azure's logs write an instant, as microseconds since 1970 in UTC.
//!
//! Sources: Microsoft's common schema for resource logs documents ISO 8601 with seven fractional
//! digits; archived records also hold two to nine digits, numeric offsets, no zone at all (which
//! is UTC), US forms with and without AM/PM, and .NET ticks.

use chrono::NaiveDate;

/// .NET ticks (100 ns since 0001-01-01) at 1970-01-01.
const TICKS_AT_EPOCH: i64 = 621_355_968_000_000_000;
/// .NET ticks at the end of the year 9999, `DateTime.MaxValue`.
const TICKS_MAX: i64 = 3_155_378_975_999_999_999;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// .NET ticks as microseconds; `None` outside what a .NET `DateTime` can hold, and for 0, which
/// services write when they mean "no time".
pub(crate) fn micros_from_ticks(ticks: i64) -> Option<i64> {
    (1..=TICKS_MAX).contains(&ticks).then(|| (ticks - TICKS_AT_EPOCH).div_euclid(10))
}

/// A textual timestamp of any known form as microseconds; finer digits are cut. `None` where it
/// is of no known form or not a real date.
pub(crate) fn micros_from_text(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    if text.as_bytes().get(4) == Some(&b'-') { iso(text.as_bytes()) } else { american(text) }
}

/// Days since 1970 of an instant, as a partition date.
pub(crate) fn date_of_micros(micros: i64) -> i32 {
    // Timestamps of four-digit years are less than three million days from 1970.
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).unwrap_or(0)
}

/// `2025-11-04T02:03:59.9910000Z`, with a `T` or a space, 0 to 9 digits, `Z`, an offset or nothing.
fn iso(text: &[u8]) -> Option<i64> {
    // Nearly every timestamp comes here, so that its digits are taken from where they have to be.
    let (second, rest) = text.split_first_chunk::<19>()?;
    let [a, b, c, d, b'-', e, f, b'-', g, h, b'T' | b't' | b' ', i, j, b':', k, l, b':', m, n] = *second else {
        return None;
    };
    let digits = [a, b, c, d, e, f, g, h, i, j, k, l, m, n].map(|byte| byte.wrapping_sub(b'0'));
    if digits.iter().fold(false, |any, digit| any | (*digit > 9)) {
        return None;
    }
    let two = |at: usize| i64::from(digits[at]) * 10 + i64::from(digits[at + 1]);
    let day = days(two(0) * 100 + two(2), two(4), two(6))?;
    let (fraction, rest) = fraction(rest)?;
    let time = clock(two(8), two(10), two(12))? + fraction;
    Some(day * MICROS_PER_DAY + time - offset(rest.trim_ascii_start())?)
}

/// `05/28/2025 01:15:14`, `11/14/2025 1:48:53 AM`, `10/30/2025, 10:03:45.464 PM`; UTC.
fn american(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once([' ', ','])?;
    let mut parts = date.split('/').map(|part| digits(part.as_bytes()));
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1000..=9999).contains(&year) {
        return None;
    }
    let mut words = rest.split([' ', ',']).filter(|word| !word.is_empty());
    let (time, half) = (words.next()?, words.next());
    let mut parts = time.splitn(3, ':');
    let (hour, minute, second) = (digits(parts.next()?.as_bytes())?, digits(parts.next()?.as_bytes())?, parts.next()?);
    let second_digits = second.find('.').unwrap_or(second.len());
    let (fraction, rest) = fraction(&second.as_bytes()[second_digits..])?;
    let hour = match half.map(str::to_ascii_uppercase).as_deref() {
        None => hour,
        Some("AM") if (1..=12).contains(&hour) => hour % 12,
        Some("PM") if (1..=12).contains(&hour) => hour % 12 + 12,
        Some(_) => return None,
    };
    if !rest.is_empty() || words.next().is_some() {
        return None;
    }
    let time = clock(hour, minute, digits(&second.as_bytes()[..second_digits])?)? + fraction;
    Some(days(year, month, day)? * MICROS_PER_DAY + time)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 9 {
        return None;
    }
    bytes.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)?;
    Some(i64::from(date.to_epoch_days()))
}

fn clock(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // A leap second is taken as the first of the next minute, as Unix time has it.
    let is_real = hour < 24 && minute < 60 && second <= 60;
    is_real.then_some((hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND)
}

/// Microseconds of an optional fraction such as `.9910000`, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let (mut kept, mut digit_count) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = rest.get(digit_count) {
        if digit_count < 6 {
            kept = kept * 10 + i64::from(digit - b'0');
        }
        digit_count += 1;
    }
    let micros = kept * [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1][digit_count.min(6)];
    (1..=9).contains(&digit_count).then(|| (micros, &rest[digit_count..]))
}

/// Microseconds east of UTC of `Z`, `+01:00`, `-0530`, `+02`, or nothing.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _] => (rest, &b"00"[..]),
        [_, _, _, _] => rest.split_at(2),
        [_, _, b':', _, _] => (&rest[..2], &rest[3..]),
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn show(text: &str) -> Option<String> {
        let instant = DateTime::from_timestamp_micros(micros_from_text(text)?)?;
        Some(instant.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    }

    #[test]
    fn known_forms() {
        for (text, expected) in [
            ("2025-11-04T02:03:59.9910000Z", "2025-11-04T02:03:59.991000"),
            ("2025-11-04T02:03:59.9460000", "2025-11-04T02:03:59.946000"),
            ("2020-06-12T13:07:46.766Z", "2020-06-12T13:07:46.766000"),
            ("2020-06-12T13:07:46.22Z", "2020-06-12T13:07:46.220000"),
            ("2020-06-12T13:07:46Z", "2020-06-12T13:07:46.000000"),
            ("2025-04-11T03:19:15.332641+00:00", "2025-04-11T03:19:15.332641"),
            ("2025-04-11T03:19:15.123456789Z", "2025-04-11T03:19:15.123456"),
            ("2025-04-11T03:19:15+05:30", "2025-04-10T21:49:15.000000"),
            ("2025-04-11T03:19:15-0800", "2025-04-11T11:19:15.000000"),
            ("2025-04-11 03:19:15", "2025-04-11T03:19:15.000000"),
            ("05/28/2025 01:15:14", "2025-05-28T01:15:14.000000"),
            ("11/14/2025 1:48:53 AM", "2025-11-14T01:48:53.000000"),
            ("11/14/2025 12:00:00 AM", "2025-11-14T00:00:00.000000"),
            ("11/14/2025 12:00:00 PM", "2025-11-14T12:00:00.000000"),
            ("10/30/2025, 10:03:45.464 PM", "2025-10-30T22:03:45.464000"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000"),
        ] {
            assert_eq!(show(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in [
            "",
            "today",
            "2020-10-14T17:xx:xx.xx",
            "2025-02-30T00:00:00Z",
            "2025-11-04T25:00:00Z",
            "2025-11-04",
            "13/01/2025 00:00:00",
            "11/14/2025 13:00:00 PM",
            "2025-11-04T02:03:59.Z",
            "2025-11-04T02:03:59+99:00",
            "2025-11-04T02:03:59Zulu",
            "2025-11-04T02:03:5",
            "2025-11-04T02:03:Z",
            "2025-11-04T02:03:",
            "2025-11-04T02:03:5é",
            "1/2/25 00:00:00",
        ] {
            assert_eq!(show(text), None, "{text}");
        }
    }

    #[test]
    fn ticks() {
        assert_eq!(micros_from_ticks(638_978_186_277_847_539), Some(1_762_221_827_784_753));
        assert_eq!(micros_from_ticks(TICKS_AT_EPOCH), Some(0));
        assert_eq!(micros_from_ticks(0), None);
        assert_eq!(micros_from_ticks(i64::MAX), None);
    }

    #[test]
    fn dates() {
        assert_eq!(date_of_micros(0), 0);
        assert_eq!(date_of_micros(-1), -1);
        assert_eq!(date_of_micros(MICROS_PER_DAY), 1);
    }
}
