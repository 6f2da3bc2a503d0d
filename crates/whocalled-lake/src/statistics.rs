//! The statistics of a data file that Delta keeps in its log, so that readers can leave files out.

use arrow::array::{Array, AsArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::DateTime;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::layout::Layout;

/// The longest text that is kept as a bound; blob names are at most 1024 bytes, and mostly 250.
pub(crate) const TEXT_BYTES_MAX: usize = 512;

/// The columns that are worth a place in the log: those by which files are told apart.
const COLUMNS: [&str; 11] = [
    "time",
    "account",
    "operation",
    "status",
    "ip_prefix",
    "correlation_id",
    "object_id",
    "blob",
    "generation",
    "batch",
    "committed_at",
];

/// The statistics of a new file, from its own footer.
pub(crate) fn of_file(layout: &Layout, metadata: &ParquetMetaData) -> Result<String, Error> {
    let failed = |source| Error::Parquet { path: format!("new file of {}", layout.table), source };
    let schema = layout.file_schema();
    let (mut lowest, mut highest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in COLUMNS {
        let Ok(field) = schema.field_with_name(name) else { continue };
        let parquet = metadata.file_metadata().schema_descr();
        let converter = StatisticsConverter::try_new(name, &schema, parquet).map_err(failed)?;
        let groups = metadata.row_groups();
        let null_count = converter.row_group_null_counts(groups.iter()).map_err(failed)?;
        nulls.insert(name.to_owned(), json!(null_count.values().iter().sum::<u64>()));
        let lows = converter.row_group_mins(groups.iter()).map_err(failed)?;
        let highs = converter.row_group_maxes(groups.iter()).map_err(failed)?;
        // A group without a bound holds only NULL here, or a text too long to be cut.
        if lows.null_count() + highs.null_count() > 0 {
            continue;
        }
        if let Some((low, high)) = bounds(field.data_type(), &lows, &highs) {
            lowest.insert(name.to_owned(), low);
            highest.insert(name.to_owned(), high);
        }
    }
    let statistics = json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": lowest,
        "maxValues": highest,
        "nullCount": nulls,
    });
    Ok(statistics.to_string())
}

fn bounds(data_type: &DataType, lows: &dyn Array, highs: &dyn Array) -> Option<(Value, Value)> {
    match data_type {
        DataType::Int32 => {
            Some((min(lows.as_primitive::<Int32Type>())?.into(), max(highs.as_primitive::<Int32Type>())?.into()))
        }
        DataType::Int64 => {
            Some((min(lows.as_primitive::<Int64Type>())?.into(), max(highs.as_primitive::<Int64Type>())?.into()))
        }
        DataType::Timestamp(..) => {
            let low = min(lows.as_primitive_opt::<TimestampMicrosecondType>()?)?;
            let high = max(highs.as_primitive_opt::<TimestampMicrosecondType>()?)?;
            Some((instant(low)?.into(), instant(high)?.into()))
        }
        DataType::Utf8 => {
            let (low, high) = (min_string(lows.as_string::<i32>())?, max_string(highs.as_string::<i32>())?);
            // Parquet cuts a bound so that it still is one, unless it cannot.
            (low.len().max(high.len()) <= TEXT_BYTES_MAX).then(|| (low.into(), high.into()))
        }
        _ => None,
    }
}

fn instant(microseconds: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(microseconds)?;
    Some(instant.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

/// The row count in a file's statistics.
pub(crate) fn row_count(statistics: Option<&str>) -> Option<u64> {
    /// Of all that there is the one field, for this is asked of every file whenever a lake is opened.
    #[derive(Deserialize)]
    struct Counted {
        #[serde(rename = "numRecords")]
        row_count: u64,
    }
    Some(serde_json::from_str::<Counted>(statistics?).ok()?.row_count)
}

/// The smallest and the largest value of a text column.
pub(crate) fn text_bounds(statistics: Option<&str>, column: &str) -> Option<(String, String)> {
    let statistics = parse(statistics)?;
    let bound = |which: &str| Some(statistics.get(which)?.get(column)?.as_str()?.to_owned());
    Some((bound("minValues")?, bound("maxValues")?))
}

/// The largest value of an integer column.
pub(crate) fn largest(statistics: Option<&str>, column: &str) -> Option<i64> {
    parse(statistics)?.get("maxValues")?.get(column)?.as_i64()
}

fn parse(statistics: Option<&str>) -> Option<Value> {
    serde_json::from_str(statistics?).ok()
}
