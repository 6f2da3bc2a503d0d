//! API Management in front of Azure OpenAI.

use whocalled_types::Table;

use super::{
    ACCOUNT, CALLER_IP, CORRELATION_ID, IP_PREFIX, LOCATION, OPERATION, PROPERTIES, RESOURCE_GROUP, RESOURCE_ID,
    SUBSCRIPTION_ID,
};
use crate::canonical::is_guid;
use crate::decode::Row;
use crate::definition::{Column, Definition, Kind};

const CATEGORY: Column = Column::hidden("category", Kind::Label, &["category"]);

const SENT_CALLER_OID: Column =
    Column::hidden("sent x-caller-oid", Kind::Guid, &["properties>backendRequestHeaders>x-caller-oid"]);
const CALLER_OID: Column = Column::hidden("x-caller-oid", Kind::Guid, &["properties>requestHeaders>x-caller-oid"]);
const SENT_CLIENT_PRINCIPAL_ID: Column = Column::hidden(
    "sent x-ms-client-principal-id",
    Kind::Guid,
    &["properties>backendRequestHeaders>x-ms-client-principal-id"],
);
const CLIENT_PRINCIPAL_ID: Column =
    Column::hidden("x-ms-client-principal-id", Kind::Guid, &["properties>requestHeaders>x-ms-client-principal-id"]);

/// The headers in which a gateway may log the caller's object id, as it sent them on and as they came.
/// `x-ms-client-principal-id` is that of App Service's authentication.
const CALLER_HEADERS: [Column; 4] = [SENT_CALLER_OID, CALLER_OID, SENT_CLIENT_PRINCIPAL_ID, CLIENT_PRINCIPAL_ID];

pub(super) static GATEWAY: Definition = Definition {
    table: Table::Gateway,
    about: "Requests through API Management (category `GatewayLogs`). Its correlation id is not that of the Azure \
            OpenAI call behind it, which is `backend_correlation_id` where the gateway logs that header.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the gateway began with the request."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        OPERATION,
        Column::new("status", Kind::SmallInteger, &["properties>responseCode"], "The HTTP status sent to the client."),
        Column::new("duration_ms", Kind::Integer, &["durationMs"], "The duration in milliseconds."),
        CALLER_IP,
        IP_PREFIX,
        CORRELATION_ID,
        Column::new("method", Kind::Label, &["properties>method"], "The HTTP method."),
        Column::new("url", Kind::Text, &["properties>url"], "The URL that was asked for."),
        Column::new(
            "backend_url",
            Kind::Text,
            &["properties>backendUrl"],
            "The URL that was asked of the backend; its host is the account, its path names the deployment.",
        ),
        Column::new(
            "backend_status",
            Kind::SmallInteger,
            &["properties>backendResponseCode"],
            "The HTTP status of the backend.",
        ),
        Column::new(
            "backend_correlation_id",
            Kind::Guid,
            &["properties>backendResponseHeaders>apim-request-id", "properties>responseHeaders>apim-request-id"],
            "The header `apim-request-id` of the answer, where it is logged: the call's `correlation_id`.",
        ),
        Column::derived(
            "caller_object_id",
            Kind::Guid,
            "The caller's object id, where a header `x-caller-oid` or `x-ms-client-principal-id` is logged that \
             holds a GUID; NULL where such headers differ.",
        ),
        SENT_CALLER_OID,
        CALLER_OID,
        SENT_CLIENT_PRINCIPAL_ID,
        CLIENT_PRINCIPAL_ID,
        Column::new("api_id", Kind::Label, &["properties>apiId"], "The API."),
        Column::new("product_id", Kind::Label, &["properties>productId"], "The product."),
        Column::new("user_id", Kind::Label, &["properties>userId"], "The gateway's own user, not one of Entra."),
        Column::new(
            "apim_subscription_id",
            Kind::Label,
            &["properties>apimSubscriptionId"],
            "The gateway's subscription whose key was used.",
        ),
        PROPERTIES,
        CATEGORY,
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id", "backend_correlation_id"],
    keep: &[],
    implied: &[],
    finish: Some(name_caller),
};

/// Gives the caller that all headers agree on: a client can send any of them, so one of several proves nothing.
fn name_caller(row: &mut Row<'_>) {
    let mut named = CALLER_HEADERS.iter().map(|column| column.name).filter(|name| row.get(name).is_some_and(is_guid));
    if let Some(first) = named.next()
        && named.all(|name| row.get(name) == row.get(first))
    {
        row.copy_if_null(first, "caller_object_id");
    }
}

pub(super) static GATEWAY_LLM: Definition = Definition {
    table: Table::GatewayLlm,
    about: "What API Management logs of model calls (category `GatewayLlmLogs`): several rows per call by \
            `sequence_number`, of which the first holds deployment and tokens. Identity only through `gateway`, by \
            `correlation_id`. No archived record has been published; the names are those of the documented table.",
    columns: &[
        Column::new("time", Kind::Time, &["time"], "When the record was emitted."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        RESOURCE_GROUP,
        ACCOUNT,
        LOCATION,
        OPERATION,
        CORRELATION_ID,
        Column::new("deployment", Kind::Label, &["properties>deploymentName"], "The deployment's name."),
        Column::new("model", Kind::Label, &["properties>modelName"], "The model's name."),
        Column::new("streaming", Kind::Boolean, &["properties>isStreamCompletion"], "Whether the answer was streamed."),
        Column::new("prompt_tokens", Kind::Integer, &["properties>promptTokens"], "Tokens of the prompt."),
        Column::new("completion_tokens", Kind::Integer, &["properties>completionTokens"], "Tokens of the completion."),
        Column::new("total_tokens", Kind::Integer, &["properties>totalTokens"], "Tokens of both."),
        Column::new(
            "sequence_number",
            Kind::Integer,
            &["properties>sequenceNumber"],
            "0 for the metadata, 1 for the request, then chunks of the answer.",
        ),
        Column::new("request_id", Kind::Text, &["properties>requestId"], "The model's own request id."),
        PROPERTIES,
        CATEGORY,
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id"],
    keep: &[],
    implied: &[],
    finish: None,
};
