//! What was simulated, in numbers that a reader of the archive must find again.

use std::collections::BTreeMap;

use serde::Serialize;
use whocalled_types::{CONTAINER_LOGS_PREFIX, Table};

use crate::{archive::Contents, options::Options, traffic::Counts};

/// The exact contents of an archive; also `truth/summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// What it was made from.
    pub options: Options,
    /// Bytes of all blobs.
    pub archive_bytes: u64,
    /// Blobs, all containers together.
    pub blob_count: u64,
    /// Records, whole and damaged, all containers together: what rows and rejects must add up to.
    pub record_count: u64,
    /// Damaged records: what must be rejected.
    pub damaged_count: u64,
    /// Bytes after the last complete record of the first account's last blob.
    pub torn_bytes: u64,
    /// Distinct calls, as many as were asked for.
    pub call_count: u64,
    /// Records of calls that were delivered before.
    pub redelivered_count: u64,
    /// Nearly empty second records of calls.
    pub split_count: u64,
    /// Records of calls that are in the blob of the next hour.
    pub late_count: u64,
    /// Events by which somebody obtained a key, without attempts that were refused.
    pub grant_count: u64,
    /// Distinct calls by the best tier that the logs allow: `object_id`, `key_holder`, `none`.
    pub calls_by_tier: BTreeMap<&'static str, u64>,
    /// Whole records by container, then category.
    pub records: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Damaged records by container.
    pub damaged: BTreeMap<String, u64>,
    /// Rows by table of the lake, once all blobs are converted.
    pub rows_by_table: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn new(
        options: &Options,
        contents: Contents,
        counts: Counts,
        calls_by_tier: BTreeMap<&'static str, u64>,
        grant_count: u64,
    ) -> Self {
        let damaged_count = contents.damaged.values().sum();
        let mut rows_by_table = BTreeMap::new();
        for (container, categories) in &contents.records {
            *rows_by_table.entry(table(container).name()).or_default() += categories.values().sum::<u64>();
        }
        if damaged_count > 0 {
            rows_by_table.insert(Table::Rejects.name(), damaged_count);
        }
        Self {
            options: options.clone(),
            archive_bytes: contents.bytes,
            blob_count: contents.blob_count,
            record_count: rows_by_table.values().sum(),
            damaged_count,
            torn_bytes: contents.torn_bytes,
            call_count: calls_by_tier.values().sum(),
            redelivered_count: counts.redelivered,
            split_count: counts.split,
            late_count: counts.late,
            grant_count,
            calls_by_tier,
            records: contents.records,
            damaged: contents.damaged,
            rows_by_table,
        }
    }
}

/// The table that the records of a container become rows of.
fn table(container: &str) -> Table {
    match container.strip_prefix(CONTAINER_LOGS_PREFIX) {
        Some("requestresponse") => Table::RequestResponse,
        Some("audit") => Table::Audit,
        Some("trace") => Table::Trace,
        Some("azureopenairequestusage") => Table::RequestUsage,
        Some("gatewaylogs") => Table::Gateway,
        Some("gatewayllmlogs") => Table::GatewayLlm,
        Some(category) if category.ends_with("signinlogs") => Table::SignIns,
        Some(_) => Table::Other,
        None if container == whocalled_types::CONTAINER_METRICS => Table::Metrics,
        None => Table::Activity,
    }
}
