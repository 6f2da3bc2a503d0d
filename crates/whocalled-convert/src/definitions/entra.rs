//! Sign-ins of Entra ID, from the five categories that log them.

use whocalled_types::Table;

use super::{CORRELATION_ID, IP_PREFIX, PROPERTIES};
use crate::decode::Row;
use crate::definition::{Column, Definition, Kind};

pub(super) static SIGN_INS: Definition = Definition {
    table: Table::SignIns,
    about: "Sign-ins of users, service principals and managed identities: one row per record, one sign-in per token, \
            not per call. A few percent are delivered again with another `received_at`; `sign_in_id` tells. Records \
            of managed identities never hold an address.",
    columns: &[
        Column::new(
            "time",
            Kind::Time,
            &["properties>createdDateTime"],
            "When the sign-in happened; `received_at` where the record does not say.",
        ),
        Column::new(
            "received_at",
            Kind::Time,
            &["time"],
            "When the record was ingested, half a minute to minutes later.",
        ),
        Column::new("category", Kind::Label, &["category"], "Which of the five sign-in categories."),
        Column::new("sign_in_id", Kind::Guid, &["properties>id"], "The sign-in's id, the same in every delivery."),
        Column::new(
            "token_id",
            Kind::Text,
            &["properties>uniqueTokenIdentifier"],
            "The token's id, which the Activity Log holds as the claim `uti`.",
        ),
        Column::new("tenant_id", Kind::GuidLabel, &["tenantId"], "The Entra tenant."),
        Column::new(
            "object_id",
            Kind::GuidLabel,
            &["properties>userId", "properties>servicePrincipalId"],
            "The object id of who signed in.",
        ),
        Column::new(
            "principal_name",
            Kind::Label,
            &["properties>userPrincipalName", "properties>servicePrincipalName"],
            "The UPN, or the service principal's name.",
        ),
        Column::new("display_name", Kind::Label, &["properties>userDisplayName", "identity"], "The display name."),
        Column::derived(
            "principal_kind",
            Kind::Label,
            "`user`, `service_principal` or `managed_identity`, from the category.",
        ),
        Column::new(
            "app_id",
            Kind::GuidLabel,
            &["properties>appId"],
            "The application that signed in, or the client a user used.",
        ),
        Column::new("app_name", Kind::Label, &["properties>appDisplayName"], "The client's display name."),
        Column::new("target_app_id", Kind::GuidLabel, &["properties>resourceId"], "The application the token is for."),
        Column::new(
            "target_name",
            Kind::Label,
            &["properties>resourceDisplayName"],
            "The display name of the application the token is for.",
        ),
        Column::new("result_type", Kind::Label, &["resultType"], "`0`, or an AADSTS error code."),
        Column::new(
            "caller_ip",
            Kind::Label,
            &["properties>ipAddress", "callerIpAddress"],
            "The whole address, IPv4 or IPv6.",
        ),
        IP_PREFIX,
        CORRELATION_ID,
        PROPERTIES,
    ],
    sort_by: &["object_id", "time"],
    bloom: &["object_id"],
    keep: &[],
    implied: &[],
    finish: Some(name_kind),
};

fn name_kind(row: &mut Row<'_>) {
    row.copy_if_null("received_at", "time");
    let kind = match row.get("category").map(str::to_ascii_lowercase).as_deref() {
        Some("managedidentitysigninlogs") => "managed_identity",
        Some("serviceprincipalsigninlogs" | "microsoftserviceprincipalsigninlogs") => "service_principal",
        _ => "user",
    };
    row.set_if_null("principal_kind", kind);
}
