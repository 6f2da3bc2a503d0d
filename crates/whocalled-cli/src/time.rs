//! Time arguments: RFC 3339, dates, `-7d`, `-24h`, `now`, `today`, `yesterday`.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::exit::Usage;

/// Which end of a range an argument names: a day stands for its beginning or for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    From,
    To,
}

/// The instant that `text` names.
pub(crate) fn instant(text: &str, bound: Bound, now: DateTime<Utc>) -> Result<DateTime<Utc>, Usage> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.with_timezone(&Utc));
    }
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = text.strip_prefix('-') {
        return Ok(now - duration(ago)?);
    }
    let day = date(text, now)?;
    let day = if bound == Bound::To { day.succ_opt().unwrap_or(day) } else { day };
    Ok(day.and_time(chrono::NaiveTime::MIN).and_utc())
}

/// The day that `text` names: a date, `today`, `yesterday`, or `-7d`.
pub(crate) fn date(text: &str, now: DateTime<Utc>) -> Result<NaiveDate, Usage> {
    let today = now.date_naive();
    match text {
        "today" => Ok(today),
        "yesterday" => Ok(today.pred_opt().unwrap_or(today)),
        _ => match text.strip_prefix('-') {
            Some(ago) => Ok((now - duration(ago)?).date_naive()),
            None => text.parse().map_err(|_| {
                Usage(format!(
                    "{text:?} is not a time: give RFC 3339 such as 2026-11-01T13:00:00Z, a date such as 2026-11-01, \
                     -7d, -24h, now, today or yesterday"
                ))
            }),
        },
    }
}

/// A duration such as `3h`, `30m`, `90s` or `7d`.
pub(crate) fn duration(text: &str) -> Result<TimeDelta, Usage> {
    let wrong = || Usage(format!("{text:?} is not a duration: give a whole number with s, m, h or d, such as 3h"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let duration = match unit {
        's' => TimeDelta::try_seconds(count),
        'm' => TimeDelta::try_minutes(count),
        'h' => TimeDelta::try_hours(count),
        'd' => TimeDelta::try_days(count),
        _ => None,
    };
    // A hundred years is more than any archive holds, and far from where instants overflow.
    duration.filter(|it| *it >= TimeDelta::zero() && *it <= TimeDelta::days(36_500)).ok_or_else(wrong)
}
