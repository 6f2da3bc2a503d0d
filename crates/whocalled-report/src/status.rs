//! How a lake is doing: what is committed of each resource, and how its last runs went.
//!
//! Neither needs SQL: both are read from what an open lake holds in memory or beside its tables. For
//! people ([`Format::Table`], [`Format::Markdown`]) a row has rounded figures and fits 120 columns;
//! programs get whole figures and a column for each.

mod resources;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use whocalled_lake::{BlobState, KeptReceipt};

use crate::error::Error;
use crate::render::Format;
use crate::session::Answer;

/// What is committed, a row for each container and resource.
///
/// `lag` is how long ago the newest hour ended of which something is committed, and zero while it
/// lasts: up to when the lake knows what happened. For blobs without an hour in their name it is the
/// time since one was last modified.
///
/// # Errors
/// When the columns cannot be built, which is a defect.
pub fn status(
    positions: &BTreeMap<String, BlobState>,
    seal_after: TimeDelta,
    now: DateTime<Utc>,
    format: Format,
) -> Result<Answer, Error> {
    let resources = resources::of(positions, seal_after, now);
    if is_for_people(format) { resources::for_people(&resources, now) } else { resources::for_programs(&resources) }
}

/// How runs went, a row for each receipt, in the order given. One that cannot be read says so in its
/// `state`.
///
/// # Errors
/// When the columns cannot be built, which is a defect.
pub fn runs(receipts: &[KeptReceipt], format: Format) -> Result<Answer, Error> {
    let runs: Vec<_> = receipts.iter().map(runs::Run::of).collect();
    if is_for_people(format) { runs::for_people(&runs) } else { runs::for_programs(&runs) }
}

const fn is_for_people(format: Format) -> bool {
    matches!(format, Format::Table | Format::Markdown)
}

/// The columns of an answer, one value for each of `rows`.
struct Columns<'a, T> {
    rows: &'a [T],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a, T> Columns<'a, T> {
    fn of(rows: &'a [T]) -> Self {
        Self { rows, fields: Vec::new(), arrays: Vec::new() }
    }

    fn with(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
        self
    }

    fn text<S: AsRef<str>>(self, name: &str, value: impl Fn(&'a T) -> Option<S>) -> Self {
        let array = self.rows.iter().map(value).collect::<StringArray>();
        self.with(name, Arc::new(array))
    }

    fn count(self, name: &str, value: impl Fn(&T) -> Option<u64>) -> Self {
        let values = self.rows.iter().map(|row| value(row).map(|it| i64::try_from(it).unwrap_or(i64::MAX)));
        let array = values.collect::<Int64Array>();
        self.with(name, Arc::new(array))
    }

    fn instant(self, name: &str, value: impl Fn(&T) -> Option<DateTime<Utc>>) -> Self {
        let values = self.rows.iter().map(|row| value(row).map(|it| it.timestamp_micros()));
        let array = values.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        self.with(name, Arc::new(array))
    }

    fn seconds(self, name: &str, value: impl Fn(&T) -> Option<TimeDelta>) -> Self {
        let array = self.rows.iter().map(|row| value(row).map(|it| it.as_seconds_f64())).collect::<Float64Array>();
        self.with(name, Arc::new(array))
    }

    fn answer(self) -> Result<Answer, Error> {
        let schema = Arc::new(Schema::new(self.fields));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), self.arrays, &options)
            .map_err(|error| Error::running(error.into()))?;
        Ok(Answer { schema, batches: stream::iter([Ok(batch)]).boxed() })
    }
}

/// Bytes for people: `512 B`, `1.5 MiB`.
fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    // Tenths, so that no number loses digits in a float.
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit - 1])
}

/// A length of time for people, in its two largest units: `3d 4h`, `2h 05m`, `45s`.
fn show_duration(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}
