//! The views, each an SQL file under `sql/views`, in the order in which they build on each other.

use whocalled_types::Table;

use crate::error::Error;
use crate::header::{self, Header};

/// A view: its name, what its header says, and the query behind it.
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) header: Header,
    pub(crate) sql: &'static str,
    /// Whether a session computes it once; see [`crate::kept`].
    pub(crate) kept: bool,
    /// Of a view whose rows may be in the lake: the columns by which they are sorted there; see
    /// [`crate::materialized`].
    pub(crate) sorted_by: Option<&'static [&'static str]>,
}

/// The views that others read more than once, and that are small: as many rows as grants, as days
/// on which principals were seen at addresses, or as hours in which keys were used. Also, the columns by which their
/// rows are sorted in a lake, so that questions about a day or a call find them together.
const KEPT: &[(&str, &[&str])] = &[
    ("key_requests", &["time"]),
    ("key_audits", &["time"]),
    ("key_access", &["time"]),
    ("sightings", &["hour", "account_id"]),
    ("deployment_days", &["date", "account_id"]),
    ("principals", &["principal_id"]),
    ("observed_hours", &["hour", "spot"]),
    ("presence", &["date", "ip_prefix"]),
    ("usual_hours", &["principal_id", "hour_of_day"]),
    ("accounts", &["account_number"]),
    ("places", &["place"]),
    ("log_spans", &["subscription_id"]),
    ("gateway_callers", &["correlation_id"]),
    ("grants", &["granted_at"]),
    ("pieces", &["hour", "account_number"]),
    ("slots", &["slot"]),
    ("holder_steps", &["step"]),
    ("account_sums", &["slot_at", "account_number"]),
    ("leaders", &["slot_at", "account_number"]),
    ("place_holders", &["date", "place"]),
    ("weighed_holders", &["slot"]),
    ("slot_sums", &["slot"]),
    ("slot_callers", &["hour", "account_id"]),
];

/// The view that may be in the lake, and is too large to be kept in memory where it is not, or to be sorted.
const MERGED_CALLS: (&str, &[&str]) = ("merged_calls", &[]);

/// Every view, a view after those it reads.
const FILES: &[(&str, &str)] = &[
    ("known_apps.sql", include_str!("sql/views/known_apps.sql")),
    ("weights.sql", include_str!("sql/views/weights.sql")),
    ("repeated_records.sql", include_str!("sql/views/repeated_records.sql")),
    ("single_records.sql", include_str!("sql/views/single_records.sql")),
    ("merged_calls.sql", include_str!("sql/views/merged_calls.sql")),
    ("calls.sql", include_str!("sql/views/calls.sql")),
    ("key_requests.sql", include_str!("sql/views/key_requests.sql")),
    ("key_audits.sql", include_str!("sql/views/key_audits.sql")),
    ("key_access.sql", include_str!("sql/views/key_access.sql")),
    ("sightings.sql", include_str!("sql/views/sightings.sql")),
    ("deployment_days.sql", include_str!("sql/views/deployment_days.sql")),
    ("principals.sql", include_str!("sql/views/principals.sql")),
    ("gateway_callers.sql", include_str!("sql/views/gateway_callers.sql")),
    ("observations.sql", include_str!("sql/views/observations.sql")),
    ("observed_hours.sql", include_str!("sql/views/observed_hours.sql")),
    ("observed_days.sql", include_str!("sql/views/observed_days.sql")),
    ("presence.sql", include_str!("sql/views/presence.sql")),
    ("usual_hours.sql", include_str!("sql/views/usual_hours.sql")),
    ("log_spans.sql", include_str!("sql/views/log_spans.sql")),
    ("grants.sql", include_str!("sql/views/grants.sql")),
    ("holders.sql", include_str!("sql/views/holders.sql")),
    ("accounts.sql", include_str!("sql/views/accounts.sql")),
    ("pieces.sql", include_str!("sql/views/pieces.sql")),
    ("places.sql", include_str!("sql/views/places.sql")),
    ("slots.sql", include_str!("sql/views/slots.sql")),
    ("holder_steps.sql", include_str!("sql/views/holder_steps.sql")),
    ("account_sums.sql", include_str!("sql/views/account_sums.sql")),
    ("leaders.sql", include_str!("sql/views/leaders.sql")),
    ("place_holders.sql", include_str!("sql/views/place_holders.sql")),
    ("weighed_holders.sql", include_str!("sql/views/weighed_holders.sql")),
    ("slot_sums.sql", include_str!("sql/views/slot_sums.sql")),
    ("candidates.sql", include_str!("sql/views/candidates.sql")),
    ("slot_callers.sql", include_str!("sql/views/slot_callers.sql")),
    ("call_slots.sql", include_str!("sql/views/call_slots.sql")),
    ("attribution.sql", include_str!("sql/views/attribution.sql")),
    ("attributed_calls.sql", include_str!("sql/views/attributed_calls.sql")),
];

/// Every view, parsed.
pub(crate) fn all() -> Result<Vec<View>, Error> {
    FILES
        .iter()
        .map(|(file, text)| {
            let (header, sql) = header::parse(file, text)?;
            let named = |(name, _): &&(&str, _)| *name == header.name;
            let kept = KEPT.iter().find(named);
            let sorted_by = kept.or(Some(&MERGED_CALLS).filter(named)).map(|(_, columns)| *columns);
            Ok(View { name: header.name, kept: kept.is_some(), sorted_by, header, sql })
        })
        .collect()
}

/// What a row of a table is, for listings; the tables' own reference says more.
pub(crate) const fn table_summary(table: Table) -> &'static str {
    match table {
        Table::RequestResponse => "A RequestResponse record: a data-plane request, as often as it was delivered.",
        Table::Audit => "An Audit record of the data plane, such as ListKey.",
        Table::Trace => "A Trace record.",
        Table::RequestUsage => "An AzureOpenAIRequestUsage record: the token counts of a call.",
        Table::Activity => "An Activity Log record of any category.",
        Table::SignIns => "An Entra sign-in: by a user, a service principal or a managed identity.",
        Table::Gateway => "A GatewayLogs record of API Management.",
        Table::GatewayLlm => "A GatewayLlmLogs record of API Management.",
        Table::Metrics => "A minute of a platform metric.",
        Table::Other => "A record of any other category.",
        Table::Rejects => "A record that could not be decoded, with the reason and its bytes.",
        Table::Ledger => "A range of a blob, or a file of a table, that a batch committed.",
    }
}
