//! Activity Log records, and the data-plane `Audit` record of a key listing.

use crate::{
    control::{Actor, Deed, Event},
    records::json::{Object, Spacing, push_object},
    tenant::{Account, Kind, Tenant},
    text::{MINUTE, Ticks, TimeForm},
};

/// The container of the audit records of Azure OpenAI.
pub(crate) const AUDIT_CONTAINER: &str = "insights-logs-audit";
/// The category of those records.
pub(crate) const AUDIT_CATEGORY: &str = "Audit";

/// Which of an action's records it is: every action is logged when it starts and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Start,
    Success,
    Failure,
}

/// What an action is called, and the resource it is about.
struct Operation {
    /// In the mixed case of the role definitions.
    name: &'static str,
    target: String,
}

fn operation(event: &Event, account: &Account) -> Operation {
    let (name, below) = match event.deed {
        Deed::ListKeys { .. } => ("Microsoft.CognitiveServices/accounts/listKeys/action", String::new()),
        Deed::RegenerateKey { .. } => ("Microsoft.CognitiveServices/accounts/regenerateKey/action", String::new()),
        Deed::WriteDeployment => {
            ("Microsoft.CognitiveServices/accounts/deployments/write", "/deployments/gpt-4o".to_owned())
        }
        Deed::AssignRole => (
            "Microsoft.Authorization/roleAssignments/write",
            format!("/providers/Microsoft.Authorization/roleAssignments/{}", event.correlation),
        ),
        Deed::WriteDiagnosticSetting => (
            "Microsoft.Insights/diagnosticSettings/write",
            "/providers/microsoft.insights/diagnosticSettings/archive".to_owned(),
        ),
        Deed::ChangeHealth => ("Microsoft.Resourcehealth/healthevent/Updated/action", String::new()),
    };
    Operation { name, target: format!("{}{below}", account.id) }
}

/// The category of an event's records. Subscriptions with an odd index log as before 2019, when
/// the category was the last part of the operation's name.
pub(crate) fn category(event: &Event, subscription: usize) -> &'static str {
    match event.deed {
        Deed::ChangeHealth => "ResourceHealth",
        _ if subscription.is_multiple_of(2) => "Administrative",
        Deed::ListKeys { .. } | Deed::RegenerateKey { .. } => "Action",
        Deed::WriteDeployment | Deed::AssignRole | Deed::WriteDiagnosticSetting => "Write",
    }
}

/// Appends one record of an event.
pub(crate) fn push_event(out: &mut Vec<u8>, tenant: &Tenant, event: &Event, at: Ticks, phase: Phase) {
    let account = &tenant.accounts[event.account];
    let operation = operation(event, account);
    let Some(actor) = event.actor else { return push_health(out, event, at, &operation) };
    let is_old = !account.subscription.is_multiple_of(2);
    push_object(out, Spacing::Compact, 0, |it| {
        if !is_old {
            it.text("RoleLocation", "Sweden Central");
            it.text("Stamp", "FDWeb");
            it.text("ReleaseVersion", "6.2026.40.1+simulated.release_2026w40");
        }
        it.time("time", at, TimeForm::Seven);
        it.text("resourceId", &operation.target.to_ascii_uppercase());
        it.text("operationName", &operation.name.to_ascii_uppercase());
        it.text("category", category(event, account.subscription));
        let (result, signature) = match phase {
            Phase::Start => ("Start", "Started."),
            Phase::Success if event.deed == Deed::WriteDeployment => ("Success", "Succeeded.Created"),
            Phase::Success => ("Success", "Succeeded.OK"),
            Phase::Failure => ("Failure", "Failed.Forbidden"),
        };
        it.text("resultType", result);
        it.text("resultSignature", signature);
        if is_old {
            it.int("durationMs", 0);
        } else {
            it.text("durationMs", "0");
        }
        it.written("callerIpAddress", |out| actor.address.push(out));
        it.guid("correlationId", event.correlation);
        it.object("identity", |it| push_identity(it, tenant, event, &actor, &operation));
        let level = if is_old { "Information" } else { "Informational" };
        it.text("level", if phase == Phase::Failure { "Error" } else { level });
        it.object("properties", |it| push_properties(it, tenant, event, phase, &operation));
        it.text("tenantId", &tenant.tenant_ids[account.tenant]);
    });
}

fn push_identity(it: &mut Object<'_>, tenant: &Tenant, event: &Event, actor: &Actor, operation: &Operation) {
    let account = &tenant.accounts[event.account];
    let principal = &tenant.principals[actor.principal];
    it.object("authorization", |it| {
        it.text("scope", &operation.target);
        it.text("action", operation.name);
        it.object("evidence", |it| {
            let scope = account.id.split("/providers/").next().unwrap_or_default();
            it.text("role", "Cognitive Services Contributor");
            it.text("roleAssignmentScope", scope);
            it.text("roleAssignmentId", &account.asset_id.to_string().replace('-', ""));
            it.text("roleDefinitionId", "25fbc0a9bd7c42a3aa1a3b75d497ee68");
            it.text("principalId", &principal.object_id.replace('-', ""));
            it.text("principalType", if principal.kind == Kind::User { "User" } else { "ServicePrincipal" });
        });
    });
    it.object("claims", |it| push_claims(it, tenant, event.at, actor));
}

/// The claims of the caller's token. Every value is a string.
fn push_claims(it: &mut Object<'_>, tenant: &Tenant, at: Ticks, actor: &Actor) {
    const IDENTITY: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
    const TENANT: &str = "http://schemas.microsoft.com/identity/claims/tenantid";
    const NAME: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name";
    const UPN: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn";
    let principal = &tenant.principals[actor.principal];
    let tenant_id = &tenant.tenant_ids[principal.tenant];
    let (application, _) = actor.client.application(tenant, actor.principal);
    let issued = at.to_utc().timestamp() - 900;
    it.text("aud", "https://management.core.windows.net/");
    it.text("iss", &format!("https://sts.windows.net/{tenant_id}/"));
    it.text("iat", &issued.to_string());
    it.text("exp", &(issued + 5_400).to_string());
    it.text("appid", application);
    it.text(IDENTITY, &principal.object_id);
    it.text(TENANT, tenant_id);
    it.text("uti", &actor.token.token_identifier());
    it.text("ver", "1.0");
    match principal.kind {
        Kind::User => {
            it.text("appidacr", "0");
            it.text("idtyp", "user");
            it.text(UPN, &principal.name);
            it.text(NAME, &principal.name);
            it.text("name", &principal.display_name);
            it.written("ipaddr", |out| actor.address.push(out));
        }
        Kind::ServicePrincipal => {
            it.text("appidacr", "1");
            it.text("idtyp", "app");
        }
        Kind::ManagedIdentity => {
            it.text("appidacr", "2");
            it.text("idtyp", "app");
            it.text("xms_mirid", &principal.managed_resource);
        }
    }
}

fn push_properties(it: &mut Object<'_>, tenant: &Tenant, event: &Event, phase: Phase, operation: &Operation) {
    let account = &tenant.accounts[event.account];
    match (event.deed, phase) {
        (Deed::RegenerateKey { number }, Phase::Start) => {
            it.json_text("requestbody", |it| it.text("keyName", ["Key1", "Key2"][number]));
        }
        (Deed::AssignRole, Phase::Start) => it.json_text("requestbody", |it| {
            it.guid("Id", event.correlation);
            it.object("Properties", |it| {
                let assignee = &tenant.principals[event.account % tenant.principals.len()];
                it.text("PrincipalId", &assignee.object_id);
                it.text("PrincipalType", if assignee.kind == Kind::User { "User" } else { "ServicePrincipal" });
                it.text(
                    "RoleDefinitionId",
                    "/providers/Microsoft.Authorization/roleDefinitions/5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
                );
                it.text("Scope", &account.id);
            });
        }),
        (_, Phase::Success) => it.text("statusCode", "OK"),
        (_, Phase::Failure) => {
            it.text("statusCode", "Forbidden");
            it.json_text("statusMessage", |it| {
                it.object("error", |it| it.text("code", "AuthorizationFailed"));
            });
        }
        (_, Phase::Start) => {}
    }
    it.text("eventCategory", "Administrative");
    it.text("entity", &operation.target);
    it.text("message", operation.name);
    let subscription = tenant.subscriptions[account.subscription].id;
    it.text("hierarchy", &format!("{}/{subscription}", tenant.tenant_ids[account.tenant]));
}

/// A health event names nobody, and is spelled by another service.
fn push_health(out: &mut Vec<u8>, event: &Event, at: Ticks, operation: &Operation) {
    push_object(out, Spacing::Spaced, 0, |it| {
        it.time("time", at, TimeForm::Three);
        it.text("resourceId", &operation.target.to_ascii_uppercase());
        it.guid("correlationId", event.correlation);
        it.text("operationName", operation.name);
        it.text("level", "Information");
        it.text("resultType", "Updated");
        it.text("category", "ResourceHealth");
        it.object("properties", |it| {
            it.text("eventCategory", "ResourceHealth");
            it.object("eventProperties", |it| {
                it.text("title", "Simulated: requests are slower than usual");
                it.text("currentHealthStatus", "Degraded");
                it.text("previousHealthStatus", "Available");
                it.text("cause", "PlatformInitiated");
            });
        });
    });
}

/// Appends the audit record of a key listing: it has no address, no correlation id, and a time
/// that is cut to half a minute.
pub(crate) fn push_audit(out: &mut Vec<u8>, account: &Account, object_id: &str, at: Ticks) {
    push_object(out, Spacing::Compact, 0, |it| {
        it.guid("AssetIdentity", account.asset_id);
        it.text("Tenant", account.region);
        it.text("category", AUDIT_CATEGORY);
        it.text("operationName", "ListKey");
        it.object("properties", |it| it.text("objectId", object_id));
        it.text("resourceId", &account.id_upper);
        it.time("time", at.floor(MINUTE / 2), TimeForm::Seven);
    });
}
