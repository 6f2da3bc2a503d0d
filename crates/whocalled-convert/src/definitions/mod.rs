//! The tables, one definition each, and which of them a record belongs to.

mod activity;
mod azure_openai;
mod entra;
mod gateway;
mod general;

use whocalled_types::Table;

use crate::definition::{Column, Definition, Kind};

/// The definition of every table that rows are decoded into, and of `rejects`.
pub static DEFINITIONS: [&Definition; 11] = [
    &azure_openai::REQUEST_RESPONSE,
    &azure_openai::AUDIT,
    &azure_openai::TRACE,
    &azure_openai::REQUEST_USAGE,
    &activity::ACTIVITY,
    &entra::SIGN_INS,
    &gateway::GATEWAY,
    &gateway::GATEWAY_LLM,
    &general::METRICS,
    &general::OTHER,
    &general::REJECTS,
];

/// The Activity Log's categories: those of today's export, and the last words of operation names
/// that stood in their place before.
const ACTIVITY_CATEGORIES: &[&str] = &[
    "administrative",
    "servicehealth",
    "resourcehealth",
    "alert",
    "autoscale",
    "security",
    "policy",
    "recommendation",
    "action",
    "write",
    "delete",
];

/// The table of a record, by its category and resource id, both in lower case.
///
/// `Audit`, `Trace` and `RequestResponse` are names that other resource types use as well: only
/// Cognitive Services' records belong to the tables of that name, the others go to `other`.
pub(crate) fn route(category: &str, resource_id: Option<&str>) -> Table {
    let cognitive = resource_id.is_none_or(|id| id.contains("/microsoft.cognitiveservices/"));
    match category {
        "requestresponse" if cognitive => Table::RequestResponse,
        "audit" if cognitive => Table::Audit,
        "trace" if cognitive => Table::Trace,
        "azureopenairequestusage" if cognitive => Table::RequestUsage,
        "gatewaylogs" => Table::Gateway,
        "gatewayllmlogs" => Table::GatewayLlm,
        "signinlogs"
        | "noninteractiveusersigninlogs"
        | "serviceprincipalsigninlogs"
        | "managedidentitysigninlogs"
        | "microsoftserviceprincipalsigninlogs" => Table::SignIns,
        "metrics" => Table::Metrics,
        it if ACTIVITY_CATEGORIES.contains(&it) => Table::Activity,
        _ => Table::Other,
    }
}

// Columns that many tables share, so that a word means the same in each.

const RESOURCE_ID: Column = Column::new(
    "resource_id",
    Kind::LowerLabel,
    &["resourceId"],
    "The resource's id in lower case; the one in the blob's name where the record has none.",
);
const SUBSCRIPTION_ID: Column = Column::derived("subscription_id", Kind::Label, "The subscription in `resource_id`.");
const RESOURCE_GROUP: Column =
    Column::derived("resource_group", Kind::Label, "The resource group in `resource_id`, in lower case.");
const ACCOUNT: Column = Column::derived(
    "account",
    Kind::Label,
    "The name of the top-level resource in `resource_id`, such as the Azure OpenAI account.",
);
const LOCATION: Column = Column::new("location", Kind::Label, &["location"], "The Azure region, as logged.");
const OPERATION: Column = Column::new("operation", Kind::Label, &["operationName"], "The operation, as logged.");
const CALLER_IP: Column = Column::new(
    "caller_ip",
    Kind::Label,
    &["callerIpAddress"],
    "The caller's address, as logged; Azure OpenAI masks its last octet.",
);
const IP_PREFIX: Column = Column::derived(
    "ip_prefix",
    Kind::Label,
    "What `caller_ip` shows of its network: three octets of IPv4, 64 bits of IPv6.",
);
const CORRELATION_ID: Column =
    Column::new("correlation_id", Kind::Guid, &["correlationId"], "The correlation id, in lower case.");
const PROPERTIES: Column =
    Column::new("properties", Kind::Json, &["properties"], "The record's `properties`, as JSON text.");
const LEVEL: Column = Column::new("level", Kind::Label, &["level"], "The severity, as logged.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_names_go_by_resource_type() {
        let account = Some("/subscriptions/s/resourcegroups/g/providers/microsoft.cognitiveservices/accounts/a");
        let workspace = Some("/subscriptions/s/resourcegroups/g/providers/microsoft.operationalinsights/workspaces/w");
        assert_eq!(route("audit", account), Table::Audit);
        assert_eq!(route("audit", workspace), Table::Other);
        assert_eq!(route("requestresponse", None), Table::RequestResponse);
        assert_eq!(route("write", workspace), Table::Activity);
        assert_eq!(route("auditlogs", None), Table::Other);
    }

    #[test]
    fn every_data_table_has_one_definition_with_distinct_columns() {
        let tables: Vec<Table> = DEFINITIONS.iter().map(|it| it.table).collect();
        assert_eq!(tables, Table::data().collect::<Vec<_>>());
        for definition in DEFINITIONS {
            let mut names: Vec<&str> = definition.columns.iter().map(|column| column.name).collect();
            names.extend(
                definition
                    .visible_columns()
                    .filter(|it| it.from.is_empty())
                    .map(|it| it.name)
                    .filter(|it| !definition.columns.iter().any(|column| column.name == *it)),
            );
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", definition.table);
            assert!(definition.visible_columns().all(|column| !column.about.is_empty()), "{}", definition.table);
        }
    }
}
