//! Which hours of an archive are in question, and how a listing in the order of names skips the rest.

use crate::BlobName;

/// An hour folder of a blob's name, as [`BlobName::hour`] gives it: year, month, day, hour.
pub type Hour = (u16, u8, u8, u8);

/// A half-open span of hour folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourSpan {
    /// The first hour.
    pub from: Hour,
    /// The first hour after it.
    pub until: Hour,
}

/// Where the next blob of a span can be, given the one that a listing has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seek {
    /// It is this one.
    Here,
    /// It is at this name or after it.
    From(String),
}

impl HourSpan {
    /// Whether the hour is in the span.
    pub fn contains(&self, hour: Hour) -> bool {
        self.from <= hour && hour < self.until
    }

    /// How many hours it has, at the most.
    pub fn hour_count_max(&self) -> u64 {
        let hours = |(year, month, day, hour): Hour| {
            ((u64::from(year) * 12 + u64::from(month)) * 31 + u64::from(day)) * 24 + u64::from(hour)
        };
        hours(self.until).saturating_sub(hours(self.from))
    }

    /// Whether `blob` is of the span, or else the first name that can be: the span's first hour of
    /// the same resource, or whatever follows the resource's last hour. A name without an hour is of
    /// every span, since it cannot be held against one.
    ///
    /// Names are listed in the order of their bytes, in which the hours of one resource follow each
    /// other.
    pub fn seek(&self, blob: &BlobName) -> Seek {
        let (Some(hour), Some(resource_end)) = (blob.hour(), blob.name.rfind("/y=")) else { return Seek::Here };
        let resource = &blob.name[..=resource_end];
        if hour < self.from {
            let (year, month, day, hour) = self.from;
            return Seek::From(format!("{resource}y={year:04}/m={month:02}/d={day:02}/h={hour:02}/"));
        }
        if hour >= self.until {
            // `>` is the byte after `=`.
            return Seek::From(format!("{resource}y>"));
        }
        Seek::Here
    }

    /// Whether a folder, by its path with a slash at the end, can hold blobs of the span; or whether a
    /// blob can be one.
    pub fn may_be_below(&self, folder: &str) -> bool {
        let Some(start) = folder.rfind("/y=") else { return true };
        let (mut first, mut last) = ([0_u16; 4], [u16::MAX; 4]);
        for (index, (part, key)) in folder[start + 1..].split('/').zip(["y=", "m=", "d=", "h="]).enumerate() {
            let Some(number) = part.strip_prefix(key).and_then(|digits| digits.parse().ok()) else { break };
            (first[index], last[index]) = (number, number);
        }
        let bounds = |(year, month, day, hour): Hour| [year, month.into(), day.into(), hour.into()];
        last >= bounds(self.from) && first < bounds(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: HourSpan = HourSpan { from: (2026, 11, 24, 8), until: (2026, 11, 25, 9) };

    fn seek(name: &str) -> Seek {
        SPAN.seek(&BlobName { container: "insights-logs-audit".to_owned(), name: name.to_owned() })
    }

    #[test]
    fn a_listing_skips_to_the_span_and_from_it_to_the_next_resource() {
        assert_eq!(
            seek("resourceId=/A/y=2019/m=01/d=01/h=00/m=00/PT1H.json"),
            Seek::From("resourceId=/A/y=2026/m=11/d=24/h=08/".to_owned())
        );
        assert_eq!(seek("resourceId=/A/y=2026/m=11/d=24/h=08/m=00/PT1H.json"), Seek::Here);
        assert_eq!(seek("resourceId=/A/y=2026/m=11/d=25/h=08/m=00/PT1H.json"), Seek::Here);
        assert_eq!(
            seek("resourceId=/A/y=2026/m=11/d=25/h=09/m=00/PT1H.json"),
            Seek::From("resourceId=/A/y>".to_owned())
        );
        assert_eq!(seek("resourceId=/A/notes.txt"), Seek::Here);
    }

    #[test]
    fn what_is_skipped_to_is_past_all_hours_and_before_the_next_resource() {
        let Seek::From(next) = seek("resourceId=/A/y=2030/m=01/d=01/h=00/m=00/PT1H.json") else { panic!("is skipped") };
        assert!(next.as_str() > "resourceId=/A/y=9999/m=12/d=31/h=23/m=00/PT1H.json");
        assert!(next.as_str() < "resourceId=/A0/y=2026/m=11/d=24/h=08/m=00/PT1H.json");
        assert!(next.as_str() < "resourceId=/A/z");
    }

    #[test]
    fn folders_without_an_hour_of_the_span_need_no_look() {
        for (folder, may) in [
            ("resourceId=/A/", true),
            ("resourceId=/A/y=2026/", true),
            ("resourceId=/A/y=2025/", false),
            ("resourceId=/A/y=2026/m=10/", false),
            ("resourceId=/A/y=2026/m=11/", true),
            ("resourceId=/A/y=2026/m=11/d=23/", false),
            ("resourceId=/A/y=2026/m=11/d=25/h=08/m=00/", true),
            ("resourceId=/A/y=2026/m=11/d=25/h=09/", false),
        ] {
            assert_eq!(SPAN.may_be_below(folder), may, "{folder}");
        }
    }
}
