//! The Activity Log, as diagnostic settings export it and as the REST interface prints it.

use whocalled_types::Table;

use super::{ACCOUNT, CORRELATION_ID, IP_PREFIX, LEVEL, PROPERTIES, RESOURCE_ID, SUBSCRIPTION_ID};
use crate::decode::Row;
use crate::definition::{Column, Definition, Kind};

pub(super) static ACTIVITY: Definition = Definition {
    table: Table::Activity,
    about: "The Activity Log, all categories: who did what in the control plane, with the caller's whole address and \
            the claims of its token. An action is usually two rows, `Start` and `Success` or `Failure`, with one \
            correlation id. Reads are not logged. Both the exported shape and that of the REST interface are read. \
            `identity` (or `claims` and `authorization`) is kept whole in `extra`.",
    columns: &[
        Column::new("time", Kind::Time, &["time", "eventTimestamp"], "When it happened."),
        RESOURCE_ID,
        SUBSCRIPTION_ID,
        ACCOUNT,
        Column::new(
            "operation",
            Kind::LowerLabel,
            &["operationName", "operationName>value"],
            "The operation in lower case, such as `microsoft.cognitiveservices/accounts/listkeys/action`.",
        ),
        Column::new("category", Kind::Label, &["category", "category>value"], "The category, as logged."),
        Column::new(
            "result_type",
            Kind::Label,
            &["resultType", "status", "status>value"],
            "`Start`, `Success`, `Failure`, `Accept`, or their longer forms, as logged.",
        ),
        Column::new(
            "result_signature",
            Kind::Label,
            &["resultSignature", "subStatus", "subStatus>value"],
            "Status and sub-status, as logged.",
        ),
        Column::new(
            "caller_ip",
            Kind::Label,
            &["callerIpAddress", "httpRequest>clientIpAddress"],
            "The caller's whole address, as logged; absent from events of the platform.",
        ),
        IP_PREFIX,
        CORRELATION_ID,
        Column::new(
            "principal_id",
            Kind::GuidLabel,
            &[
                "identity>claims>http://schemas.microsoft.com/identity/claims/objectidentifier",
                "identity>claims>oid",
                "claims>http://schemas.microsoft.com/identity/claims/objectidentifier",
                "claims>oid",
            ],
            "The caller's Entra object id, from the token's claims; without them that of the role assignment which \
             allowed the action, unless it is a group's.",
        ),
        Column::derived(
            "principal_name",
            Kind::Label,
            "The best name in the token's claims: UPN, name, e-mail address, display name.",
        ),
        Column::derived(
            "principal_kind",
            Kind::Label,
            "`user`, `service_principal` or `managed_identity`, from the token's claims or the role assignment.",
        ),
        Column::new(
            "app_id",
            Kind::GuidLabel,
            &["identity>claims>appid", "claims>appid"],
            "The application whose token it was; for a user, the client used, such as the portal.",
        ),
        Column::new(
            "tenant_id",
            Kind::GuidLabel,
            &[
                "tenantId",
                "identity>claims>http://schemas.microsoft.com/identity/claims/tenantid",
                "claims>http://schemas.microsoft.com/identity/claims/tenantid",
            ],
            "The Entra tenant.",
        ),
        Column::new(
            "token_id",
            Kind::Text,
            &["identity>claims>uti", "claims>uti"],
            "The token's id (`uti`), which sign-in logs hold as `uniqueTokenIdentifier`.",
        ),
        Column::new(
            "principal_resource_id",
            Kind::LowerLabel,
            &["identity>claims>xms_mirid", "claims>xms_mirid"],
            "The Azure resource behind a managed identity, in lower case.",
        ),
        LEVEL,
        PROPERTIES,
        Column::hidden(
            "upn",
            Kind::Text,
            &[
                "identity>claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
                "claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
                "identity>claims>upn",
                "claims>upn",
            ],
        ),
        Column::hidden(
            "unique_name",
            Kind::Text,
            &[
                "identity>claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
                "claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
            ],
        ),
        Column::hidden(
            "email",
            Kind::Text,
            &[
                "identity>claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
                "claims>http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
            ],
        ),
        Column::hidden("display_name", Kind::Text, &["identity>claims>name", "claims>name"]),
        Column::hidden("caller", Kind::Text, &["caller"]),
        Column::hidden("token_kind", Kind::Label, &["identity>claims>idtyp", "claims>idtyp"]),
        Column::hidden("client_auth", Kind::Label, &["identity>claims>appidacr", "claims>appidacr"]),
        Column::hidden("passport_id", Kind::Text, &["identity>claims>puid", "claims>puid"]),
        Column::hidden(
            "assignee_id",
            Kind::GuidLabel,
            &["identity>authorization>evidence>principalId", "authorization>evidence>principalId"],
        ),
        Column::hidden(
            "assignee_kind",
            Kind::Label,
            &["identity>authorization>evidence>principalType", "authorization>evidence>principalType"],
        ),
    ],
    sort_by: &["account", "time"],
    bloom: &["correlation_id", "principal_id"],
    keep: &["identity", "claims", "authorization", "httpRequest", "caller"],
    implied: &[],
    finish: Some(name_principal),
};

/// Fills `principal_id`, `principal_name` and `principal_kind` from the claims and the role assignment.
///
/// Tokens of users carry a UPN (guests: a name or an e-mail address); tokens of applications carry
/// `idtyp` = `app` and no name, and those of managed identities the resource in `xms_mirid`. A role assignment
/// to a group says nothing of the caller.
fn name_principal(row: &mut Row<'_>) {
    let assignee_kind = match row.get("assignee_kind") {
        Some("User") => Some("user"),
        Some("ServicePrincipal") => Some("service_principal"),
        _ => None,
    };
    if assignee_kind.is_some() {
        row.copy_if_null("assignee_id", "principal_id");
    }
    row.copy_if_null("upn", "principal_name");
    // `caller` is a UPN, or the id of an application or object.
    if row.get("caller").is_some_and(|caller| caller.contains('@')) {
        row.copy_if_null("caller", "principal_name");
    }
    for source in ["unique_name", "email", "display_name"] {
        row.copy_if_null(source, "principal_name");
    }
    let is_user = row.get("upn").is_some() || row.get("passport_id").is_some();
    let assignee_kind = assignee_kind.filter(|_| row.get("assignee_id") == row.get("principal_id"));
    let kind = match row.get("token_kind") {
        _ if row.get("principal_resource_id").is_some() => "managed_identity",
        Some("app") => "service_principal",
        Some("user") => "user",
        _ if is_user => "user",
        _ if let Some(kind) = assignee_kind => kind,
        _ if row.get("principal_name").is_some() => "user",
        // Without any name, a client that proved itself by a secret or certificate is an application.
        _ if matches!(row.get("client_auth"), Some("1" | "2")) => "service_principal",
        _ => return,
    };
    row.set_if_null("principal_kind", kind);
}
