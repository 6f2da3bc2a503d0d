//! Entra sign-in records. Their blobs are named by tenant, and their lines end with CR LF.

use crate::{
    control::{SignIn, Target},
    records::json::{Object, Spacing, push_object},
    tenant::{Kind, Tenant},
    text::{Guid, Ticks, TimeForm},
};

/// The category of a sign-in, and the container that it is in.
pub(crate) fn category(tenant: &Tenant, sign_in: &SignIn) -> (&'static str, &'static str) {
    match tenant.principals[sign_in.principal].kind {
        Kind::User if sign_in.interactive => ("SignInLogs", "insights-logs-signinlogs"),
        Kind::User => ("NonInteractiveUserSignInLogs", "insights-logs-noninteractiveusersigninlogs"),
        Kind::ServicePrincipal => ("ServicePrincipalSignInLogs", "insights-logs-serviceprincipalsigninlogs"),
        Kind::ManagedIdentity => ("ManagedIdentitySignInLogs", "insights-logs-managedidentitysigninlogs"),
    }
}

/// Appends a sign-in as it is delivered at a time. That of a managed identity has no address.
pub(crate) fn push_sign_in(out: &mut Vec<u8>, tenant: &Tenant, sign_in: &SignIn, delivered_at: Ticks, form: TimeForm) {
    let principal = &tenant.principals[sign_in.principal];
    let tenant_id = &tenant.tenant_ids[principal.tenant];
    let is_user = principal.kind == Kind::User;
    // Any id will do, as long as a second delivery has the same one.
    let correlation = Guid::version_4(u128::from(sign_in.at.count().unsigned_abs()) << 64 | sign_in.principal as u128);
    push_object(out, Spacing::Spaced, 0, |it| {
        it.time("time", delivered_at, form);
        it.text("resourceId", &format!("/tenants/{tenant_id}/providers/Microsoft.aadiam"));
        it.text("operationName", "Sign-in activity");
        it.text("operationVersion", "1.0");
        it.text("category", category(tenant, sign_in).0);
        it.text("tenantId", tenant_id);
        it.text("resultType", "0");
        it.text("resultSignature", "SUCCESS");
        it.int("durationMs", 0);
        if principal.kind != Kind::ManagedIdentity {
            it.written("callerIpAddress", |out| sign_in.address.push(out));
        }
        it.guid("correlationId", correlation);
        if is_user {
            it.text("identity", &principal.display_name);
        }
        it.int("Level", 4);
        if is_user {
            it.text("location", "SE");
        }
        it.object("properties", |it| push_properties(it, tenant, sign_in, correlation));
    });
}

fn push_properties(it: &mut Object<'_>, tenant: &Tenant, sign_in: &SignIn, correlation: Guid) {
    let principal = &tenant.principals[sign_in.principal];
    let (application, application_name) = sign_in.client.application(tenant, sign_in.principal);
    it.guid("id", sign_in.id);
    it.time("createdDateTime", sign_in.at, TimeForm::SixOffset);
    if principal.kind == Kind::User {
        it.text("userDisplayName", &principal.display_name);
        it.text("userPrincipalName", &principal.name);
        it.text("userId", &principal.object_id);
        it.text("userType", "Member");
        it.text("appDisplayName", application_name);
        it.text("servicePrincipalId", "");
    } else {
        it.null("userId");
        it.text("servicePrincipalName", &principal.name);
        it.text("servicePrincipalId", &principal.object_id);
    }
    it.text("appId", application);
    if principal.kind == Kind::ManagedIdentity {
        it.text("ipAddress", "");
    } else {
        it.written("ipAddress", |out| sign_in.address.push(out));
    }
    it.object("status", |it| it.int("errorCode", 0));
    it.guid("correlationId", correlation);
    it.bool("isInteractive", sign_in.interactive && principal.kind == Kind::User);
    let (target_name, target) = match sign_in.target {
        Target::ResourceManager => ("Azure Resource Manager", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        Target::CognitiveServices => ("Microsoft Cognitive Services", "7d312290-28c8-473c-a0ed-8e53749b6d6d"),
    };
    it.text("resourceDisplayName", target_name);
    it.text("resourceId", target);
    it.text("homeTenantId", &tenant.tenant_ids[principal.tenant]);
    it.text("uniqueTokenIdentifier", &sign_in.id.token_identifier());
    it.text("incomingTokenType", "none");
}
