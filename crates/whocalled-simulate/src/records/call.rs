//! `RequestResponse` records. They are the bulk of an archive, so that nothing here allocates.

use crate::{
    dialect::Dialect,
    records::json::{Object, push_object},
    tenant::{Account, Deployment},
    text::{Address, Guid, MILLISECOND, Ticks, TimeForm, push_int},
};

/// The category of these records, and the container that they are in.
pub(crate) const CATEGORY: &str = "RequestResponse";
pub(crate) const CONTAINER: &str = "insights-logs-requestresponse";

/// One request to the data plane, and its answer.
#[derive(Clone, Copy)]
pub(crate) struct Call<'t> {
    /// `None` where the service logs an empty one.
    pub(crate) correlation: Option<Guid>,
    pub(crate) request_at: Ticks,
    pub(crate) response_at: Ticks,
    /// When the record was queued, and when it was emitted: `time`, which a delivery changes.
    pub(crate) enqueued_at: Ticks,
    pub(crate) logged_at: Ticks,
    /// `None` where the service does not know it.
    pub(crate) address: Option<Address>,
    /// Empty for a call with a key.
    pub(crate) object_id: &'t str,
    pub(crate) operation: &'static str,
    pub(crate) api_name: &'static str,
    pub(crate) deployment: Option<&'static Deployment>,
    /// Whether the answer is streamed; `None` where that is not logged.
    pub(crate) streaming: Option<bool>,
    pub(crate) status: u16,
    pub(crate) request_bytes: i64,
    pub(crate) response_bytes: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
}

impl Call<'_> {
    /// In whole milliseconds, rounded down.
    pub(crate) fn duration_ms(&self) -> i64 {
        (self.response_at - self.request_at) / MILLISECOND
    }
}

/// Appends the record of a call.
pub(crate) fn push_call(out: &mut Vec<u8>, dialect: &Dialect, account: &Account, call: &Call<'_>) {
    push_envelope(out, dialect, account, call, |it| push_properties(it, dialect, call));
}

/// Appends the second record of a call that is split in two: the same envelope, next to no content.
pub(crate) fn push_near_empty(out: &mut Vec<u8>, dialect: &Dialect, account: &Account, call: &Call<'_>) {
    push_envelope(out, dialect, account, call, |it| {
        it.text("callerObjectId", "");
        it.text("streamType", stream_type(call.streaming.unwrap_or_default()));
    });
}

fn push_envelope(
    out: &mut Vec<u8>,
    dialect: &Dialect,
    account: &Account,
    call: &Call<'_>,
    properties: impl FnOnce(&mut Object<'_>),
) {
    push_object(out, dialect.spacing, dialect.layout.record_depth(), |it| {
        if dialect.enqueue_time {
            it.time("EnqueueTime", call.enqueued_at, TimeForm::SevenBare);
        }
        if let Some(address) = call.address {
            it.written(dialect.address_key, |out| address.push_masked(out));
        }
        it.text("category", CATEGORY);
        match call.correlation {
            Some(correlation) => it.guid("correlationId", correlation),
            None => it.text("correlationId", ""),
        }
        if dialect.duration_as_text {
            it.written("durationMs", |out| push_int(out, call.duration_ms()));
        } else {
            it.int("durationMs", call.duration_ms());
        }
        it.text("event", "ShoeboxCallResult");
        it.text("location", account.region);
        it.text("operationName", call.operation);
        if dialect.properties_as_object {
            it.object("properties", properties);
        } else {
            it.json_text("properties", properties);
        }
        it.text("resourceId", if dialect.resource_id_upper { &account.id_upper } else { &account.id });
        it.written("resultSignature", |out| push_int(out, i64::from(call.status)));
        it.time("time", call.logged_at, dialect.time_form);
        it.text("Tenant", account.region);
    });
}

fn push_properties(it: &mut Object<'_>, dialect: &Dialect, call: &Call<'_>) {
    it.text("apiName", call.api_name);
    it.int("requestTime", call.request_at.count());
    it.int("requestLength", call.request_bytes);
    it.int("responseTime", call.response_at.count());
    it.int("responseLength", call.response_bytes);
    if dialect.identity.has_object_id() {
        it.text("objectId", call.object_id);
    }
    if dialect.identity.has_caller_object_id() {
        it.text("callerObjectId", call.object_id);
    }
    if let Some(streaming) = call.streaming {
        it.text("streamType", stream_type(streaming));
    }
    let Some(deployment) = call.deployment else { return };
    it.text("modelDeploymentName", deployment.name);
    it.text("modelName", deployment.model);
    it.text("modelVersion", deployment.version);
    if dialect.tokens {
        it.int("promptTokens", call.prompt_tokens);
        it.int("completionTokens", call.completion_tokens);
    }
}

const fn stream_type(streaming: bool) -> &'static str {
    if streaming { "Streaming" } else { "Non-Streaming" }
}
