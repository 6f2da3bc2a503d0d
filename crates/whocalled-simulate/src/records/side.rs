//! The categories beside those that name callers: token usage, API Management, metrics, traces, and
//! a category that has no table of its own.

use crate::{
    records::{
        call::Call,
        json::{Spacing, push_object},
    },
    tenant::{Account, Gateway, Subscription, Work},
    text::{Address, Guid, MILLISECOND, SECOND, Ticks, TimeForm},
};

pub(crate) const USAGE: (&str, &str) = ("AzureOpenAIRequestUsage", "insights-logs-azureopenairequestusage");
pub(crate) const GATEWAY: (&str, &str) = ("GatewayLogs", "insights-logs-gatewaylogs");
pub(crate) const GATEWAY_LLM: (&str, &str) = ("GatewayLlmLogs", "insights-logs-gatewayllmlogs");
pub(crate) const METRICS: (&str, &str) = ("AllMetrics", "insights-metrics-pt1m");
pub(crate) const TRACE: (&str, &str) = ("Trace", "insights-logs-trace");
pub(crate) const NETWORK: (&str, &str) = ("NetworkSecurityGroupEvent", "insights-logs-networksecuritygroupevent");

/// Appends the token counts of a call.
pub(crate) fn push_usage(out: &mut Vec<u8>, account: &Account, call: &Call<'_>) {
    push_object(out, Spacing::Spaced, 0, |it| {
        it.text("category", USAGE.0);
        match call.correlation {
            Some(correlation) => it.guid("correlationId", correlation),
            None => it.text("correlationId", ""),
        }
        it.text("event", "ShoeboxAzureOpenAIRequestUsage");
        it.text("location", account.region);
        it.text("operationName", call.operation);
        it.json_text("properties", |it| {
            it.array_of_one("promptTokens", call.prompt_tokens);
            it.array_of_one("cachedTokens", call.prompt_tokens / 4 / 128 * 128);
            it.array_of_one("generatedTokens", call.completion_tokens);
        });
        it.text("resourceId", &account.id_upper);
        it.time("time", call.logged_at, TimeForm::Seven);
        it.text("Tenant", account.region);
    });
}

/// A call that came through API Management, as the gateway saw it.
pub(crate) struct Forwarded<'t> {
    pub(crate) gateway: &'t Gateway,
    pub(crate) account: &'t Account,
    pub(crate) call: &'t Call<'t>,
    /// The gateway's own id of the request.
    pub(crate) correlation: Guid,
    /// The object id of the user behind the call, and where they are.
    pub(crate) client_id: &'t str,
    pub(crate) client_address: Address,
    /// The subscription of API Management that the client uses.
    pub(crate) product_subscription: String,
}

/// How long the gateway itself takes.
const GATEWAY_TICKS: i64 = 7 * MILLISECOND;

/// Appends the `GatewayLogs` record, which holds the id of the call behind in a header.
pub(crate) fn push_gateway(out: &mut Vec<u8>, it: &Forwarded<'_>) {
    let call = it.call;
    let deployment = call.deployment.map_or("-", |deployment| deployment.name);
    let account = it.account.id_lower.rsplit('/').next().unwrap_or_default();
    let resource = match call.deployment.map(|deployment| deployment.work) {
        Some(Work::Embedding) => "embeddings",
        Some(Work::Completion) => "completions",
        Some(Work::Chat | Work::Reasoning) | None => "chat/completions",
    };
    let path = format!("openai/deployments/{deployment}/{resource}?api-version=2024-10-21");
    push_object(out, Spacing::Compact, 0, |record| {
        record.text("DeploymentVersion", "0.48.0.0");
        record.int("Level", 4);
        record.text("Sku", "Developer");
        record.written("callerIpAddress", |out| it.client_address.push(out));
        record.text("category", GATEWAY.0);
        record.guid("correlationId", it.correlation);
        record.int("durationMs", call.duration_ms() + GATEWAY_TICKS / MILLISECOND);
        record.bool("isRequestSuccess", call.status < 400);
        record.text("location", "Sweden Central");
        record.text("operationName", "Microsoft.ApiManagement/GatewayLogs");
        record.object("properties", |properties| {
            properties.text("method", "POST");
            properties.text("url", &format!("https://{}/{path}", it.gateway.host));
            properties.int("requestSize", call.request_bytes);
            properties.int("responseSize", call.response_bytes);
            properties.int("responseCode", i64::from(call.status));
            properties.text("backendMethod", "POST");
            properties.text("backendUrl", &format!("https://{account}.openai.azure.com/{path}"));
            properties.int("backendResponseCode", i64::from(call.status));
            properties.int("backendTime", call.duration_ms() + 2);
            properties.text("apiId", "azure-openai");
            properties.text("productId", "ai");
            properties.text("apimSubscriptionId", &it.product_subscription);
            properties.object("requestHeaders", |headers| headers.text("x-caller-oid", it.client_id));
            properties.object("backendResponseHeaders", |headers| {
                if let Some(correlation) = call.correlation {
                    headers.guid("apim-request-id", correlation);
                }
            });
        });
        record.text("resourceId", &it.gateway.id_upper);
        record.text("resultType", if call.status < 400 { "Succeeded" } else { "Failed" });
        record.time("time", call.request_at + -GATEWAY_TICKS, TimeForm::Seven);
        record.int("truncated", 0);
    });
}

/// Appends the `GatewayLlmLogs` record with the token counts of a forwarded call.
pub(crate) fn push_gateway_llm(out: &mut Vec<u8>, it: &Forwarded<'_>) {
    let call = it.call;
    push_object(out, Spacing::Compact, 0, |record| {
        record.text("category", GATEWAY_LLM.0);
        record.guid("correlationId", it.correlation);
        record.text("location", "Sweden Central");
        record.text("operationName", "Microsoft.ApiManagement/GatewayLlmLogs");
        record.object("properties", |properties| {
            if let Some(deployment) = call.deployment {
                properties.text("deploymentName", deployment.name);
                properties.text("modelName", deployment.model);
            }
            properties.int("promptTokens", call.prompt_tokens);
            properties.int("completionTokens", call.completion_tokens);
            properties.int("totalTokens", call.prompt_tokens + call.completion_tokens);
            properties.bool("isStreamCompletion", call.streaming.unwrap_or_default());
            properties.int("sequenceNumber", 0);
        });
        record.text("resourceId", &it.gateway.id_upper);
        record.time("time", call.response_at, TimeForm::Seven);
    });
}

/// Appends the number of requests that an account got in a minute.
pub(crate) fn push_metric(out: &mut Vec<u8>, account: &Account, minute: Ticks, request_count: i64) {
    push_object(out, Spacing::Compact, 0, |it| {
        it.int("count", request_count);
        it.int("total", request_count);
        it.int("minimum", 1);
        it.int("maximum", 1);
        it.int("average", 1);
        it.text("resourceId", &account.id_upper);
        it.time("time", minute, TimeForm::Seven);
        it.text("metricName", "AzureOpenAIRequests");
        it.text("timeGrain", "PT1M");
    });
}

/// Appends a trace of an account; what real ones say is not published.
pub(crate) fn push_trace(out: &mut Vec<u8>, account: &Account, correlation: Guid, at: Ticks) {
    push_object(out, Spacing::Spaced, 0, |it| {
        it.text("category", TRACE.0);
        it.guid("correlationId", correlation);
        it.text("level", "Informational");
        it.text("location", account.region);
        it.text("operationName", "Deployment_Warmup");
        it.object("properties", |it| it.text("message", "simulated trace"));
        it.text("resourceId", &account.id_upper);
        it.text("resultSignature", "200");
        it.time("time", at, TimeForm::Seven);
    });
}

/// The resource id of a subscription's network security group.
pub(crate) fn network_group_id(subscription: &Subscription) -> String {
    let subscription = subscription.id;
    format!(
        "/subscriptions/{subscription}/resourceGroups/rg-network/providers/Microsoft.Network/networkSecurityGroups/nsg-ai"
    )
}

/// Appends a rule of a network security group, as it is applied.
pub(crate) fn push_network(out: &mut Vec<u8>, group_id: &str, at: Ticks) {
    push_object(out, Spacing::Compact, 0, |it| {
        it.time("time", at.floor(SECOND), TimeForm::Seven);
        it.text("category", NETWORK.0);
        it.text("resourceId", &group_id.to_ascii_uppercase());
        it.text("operationName", "NetworkSecurityGroupEvents");
        it.object("properties", |it| {
            it.text("subnetPrefix", "10.3.0.0/24");
            it.text("ruleName", "DefaultRule_AllowVnetInBound");
            it.text("direction", "In");
            it.int("priority", 65_000);
            it.text("type", "allow");
        });
    });
}
