//! The categories of `Microsoft.CognitiveServices/accounts`.
//!
//! Microsoft documents the common schema and the list of categories; what their records hold is
//! known from records that were archived or published.

use whocalled_types::Table;

use super::{
    ACCOUNT, CALLER_IP, CORRELATION_ID, IP_PREFIX, LEVEL, LOCATION, OPERATION, PROPERTIES, RESOURCE_GROUP, RESOURCE_ID,
    SUBSCRIPTION_ID,
};
use crate::definition::{Column, Definition, Kind};

/// `Tenant` is the region in these records, not an Entra tenant.
const REGION: Column = Column::hidden("region", Kind::Label, &["Tenant"]);
const CATEGORY: Column = Column::hidden("category", Kind::Label, &["category"]);

pub(super) static REQUEST_RESPONSE: Definition = Definition {
    table: Table::RequestResponse,
    about: "Data-plane calls (category `RequestResponse`): one row per record. Azure delivers some records more than \
            once, and since 2026 may split a call into two; the view `calls` merges both. No record says which key was \
            used, who held it, or what the prompt was.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the record was emitted: 0.3 to 3 s after `response_time`."),
        Column::new("request_time", Kind::Ticks, &["properties>requestTime"], "When the request began."),
        Column::new("response_time", Kind::Ticks, &["properties>responseTime"], "When the response ended."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        Column::new(
            "operation",
            Kind::Label,
            &["operationName"],
            "The API's operation id, such as `ChatCompletions_Create`; an open set.",
        ),
        Column::new("api_name", Kind::Label, &["properties>apiName"], "The API and its version."),
        Column::new("status", Kind::SmallInteger, &["resultSignature"], "The HTTP status."),
        Column::new(
            "duration_ms",
            Kind::Integer,
            &["durationMs"],
            "The duration in milliseconds, as logged; negative values occur.",
        ),
        CALLER_IP,
        IP_PREFIX,
        Column::derived(
            "ip_hidden_digits",
            Kind::SmallInteger,
            "How many `*` stand for the last octet; as many, it seems, as it has digits. NULL where nothing is masked.",
        ),
        Column::new(
            "correlation_id",
            Kind::Guid,
            &["correlationId"],
            "The call's id: the response header `apim-request-id`.",
        ),
        Column::new(
            "object_id",
            Kind::GuidLabel,
            &["properties>objectId", "properties>callerObjectId"],
            "The caller's Entra object id; NULL when an API key was used.",
        ),
        Column::new("streaming", Kind::Boolean, &["properties>streamType"], "Whether the answer was streamed."),
        Column::new("deployment", Kind::Label, &["properties>modelDeploymentName"], "The deployment's name."),
        Column::new("model", Kind::Label, &["properties>modelName"], "The model's name."),
        Column::new("model_version", Kind::Label, &["properties>modelVersion"], "The model's version."),
        Column::new(
            "request_bytes",
            Kind::Integer,
            &["properties>requestLength"],
            "The size of the request's body in bytes.",
        ),
        Column::new(
            "response_bytes",
            Kind::Integer,
            &["properties>responseLength"],
            "The size of the response's body in bytes; 0 where a streamed answer succeeded.",
        ),
        Column::new(
            "prompt_tokens",
            Kind::Integer,
            &["properties>promptTokens"],
            "Tokens of the prompt, in records since 2026.",
        ),
        Column::new(
            "completion_tokens",
            Kind::Integer,
            &["properties>completionTokens"],
            "Tokens of the completion, in records since 2026.",
        ),
        CATEGORY,
        REGION,
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id", "object_id"],
    keep: &[],
    implied: &[("event", "ShoeboxCallResult")],
    finish: None,
};

pub(super) static AUDIT: Definition = Definition {
    table: Table::Audit,
    about: "Data-plane audit records (category `Audit`). The only operation ever published is `ListKey`.",
    columns: &[
        Column::new(
            "time",
            Kind::Time,
            &["time"],
            "When it happened; whole or half minutes in the records that are known.",
        ),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        OPERATION,
        Column::new(
            "object_id",
            Kind::GuidLabel,
            &["properties>objectId", "properties>callerObjectId"],
            "The Entra object id of who did it.",
        ),
        Column::new("asset_id", Kind::GuidLabel, &["AssetIdentity"], "`AssetIdentity`; its meaning is not documented."),
        Column::new("result_signature", Kind::Label, &["resultSignature"], "The result, as logged."),
        CALLER_IP,
        IP_PREFIX,
        CORRELATION_ID,
        PROPERTIES,
        CATEGORY,
        REGION,
    ],
    sort_by: &["account", "time"],
    bloom: &["object_id"],
    keep: &[],
    implied: &[],
    finish: None,
};

pub(super) static TRACE: Definition = Definition {
    table: Table::Trace,
    about: "Records of the category `Trace`, whose content nobody has published.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the record was emitted."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        OPERATION,
        LEVEL,
        Column::new("result_signature", Kind::Label, &["resultSignature"], "The result, as logged."),
        CORRELATION_ID,
        PROPERTIES,
        CATEGORY,
        REGION,
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id"],
    keep: &[],
    implied: &[],
    finish: None,
};

pub(super) static REQUEST_USAGE: Definition = Definition {
    table: Table::RequestUsage,
    about: "Token counts (category `AzureOpenAIRequestUsage`), joined to calls by `correlation_id`. No identity.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the record was emitted."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        OPERATION,
        CORRELATION_ID,
        Column::new("prompt_tokens", Kind::Integer, &["properties>promptTokens"], "Tokens of the prompt."),
        Column::new(
            "cached_tokens",
            Kind::Integer,
            &["properties>cachedTokens"],
            "Those of the prompt's tokens that were cached.",
        ),
        Column::new("generated_tokens", Kind::Integer, &["properties>generatedTokens"], "Tokens of the completion."),
        PROPERTIES,
        CATEGORY,
        REGION,
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id"],
    keep: &[],
    implied: &[("event", "ShoeboxAzureOpenAIRequestUsage")],
    finish: None,
};
