//! Metrics, every category without a table of its own, and what could not be decoded.

use whocalled_types::Table;

use super::{
    ACCOUNT, CALLER_IP, CORRELATION_ID, IP_PREFIX, LEVEL, LOCATION, PROPERTIES, RESOURCE_GROUP, RESOURCE_ID,
    SUBSCRIPTION_ID,
};
use crate::definition::{Column, Definition, Kind};

pub(super) static METRICS: Definition = Definition {
    table: Table::Metrics,
    about: "Platform metrics as exported, without dimensions: a cross-check of volumes.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "The beginning of the interval."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        Column::new("metric", Kind::Label, &["metricName"], "The metric's name."),
        Column::new("time_grain", Kind::Label, &["timeGrain"], "The interval's length, such as `PT1M`."),
        Column::new("count", Kind::Float, &["count"], "How many samples."),
        Column::new("total", Kind::Float, &["total"], "Their sum."),
        Column::new("minimum", Kind::Float, &["minimum"], "The least."),
        Column::new("maximum", Kind::Float, &["maximum"], "The greatest."),
        Column::new("average", Kind::Float, &["average"], "Their mean."),
    ],
    sort_by: &["account", "time"],
    bloom: &[],
    keep: &[],
    implied: &[],
    finish: None,
};

pub(super) static OTHER: Definition = Definition {
    table: Table::Other,
    about: "Every category without a table of its own: the common envelope, and `properties` as JSON text.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the record was emitted."),
        Column::new(
            "category",
            Kind::Label,
            &["category"],
            "The category; the one in the container's name where the record has none.",
        ),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        Column::new("operation", Kind::Label, &["operationName"], "The operation, as logged."),
        Column::new("result_type", Kind::Label, &["resultType"], "The result, as logged."),
        Column::new("result_signature", Kind::Label, &["resultSignature"], "The result's detail, as logged."),
        Column::new("duration_ms", Kind::Integer, &["durationMs"], "The duration in milliseconds."),
        CALLER_IP,
        IP_PREFIX,
        CORRELATION_ID,
        Column::new("tenant_id", Kind::GuidLabel, &["tenantId"], "The Entra tenant."),
        LEVEL,
        PROPERTIES,
    ],
    sort_by: &["category", "time"],
    bloom: &["correlation_id"],
    keep: &[],
    implied: &[],
    finish: None,
};

pub(super) static REJECTS: Definition = Definition {
    table: Table::Rejects,
    about: "Records that could not be decoded, kept with the reason. `date` is the day in the blob's name, or that of \
            1970-01-01 where it has none.",
    columns: &[
        Column::derived("category", Kind::Label, "The category in the container's name, in lower case."),
        Column::derived("reason", Kind::Label, "What was wrong, and at which byte of the record."),
        Column::derived("record_bytes", Kind::Integer, "The record's length in bytes."),
        Column::derived("record", Kind::Binary, "The record's bytes, up to a limit."),
    ],
    sort_by: &["blob", "blob_offset"],
    bloom: &[],
    keep: &[],
    implied: &[],
    finish: None,
};
