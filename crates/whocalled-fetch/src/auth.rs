//! Who the reader is: Entra credentials, tried in order until one gives a token.

mod certificate;
mod clock;
mod cloud;
mod refusals;
mod renewal;

use std::{path::PathBuf, sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, Url},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use chrono::{DateTime, Utc};

pub(crate) use renewal::is_transient;

use crate::{Error, Secret, error::Cause, location::AccountUrl};
use certificate::{Certificate, Signer};
use clock::Clock;
use refusals::Refusals;
use renewal::{Patience, Renewing};

/// The audience of Azure Storage, the same in every cloud.
const SCOPE: &str = "https://storage.azure.com/.default";
/// How long the chain waits for a managed identity: where there is none, its address does not answer.
const MANAGED_IDENTITY_PROBE_MAX: Duration = Duration::from_secs(2);
/// How long any other credential is waited for.
const TOKEN_MAX: Duration = Duration::from_secs(15);

/// What to authenticate with, as the program's settings say. A SAS in the archive's URL comes before
/// all of it.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Which credential to use.
    pub kind: AuthKind,
    /// The Entra tenant's id or domain.
    pub tenant_id: Option<String>,
    /// The client id of an application, or of a user-assigned managed identity.
    pub client_id: Option<String>,
    /// A PEM file with the application's certificate and its RSA private key.
    pub client_certificate: Option<PathBuf>,
    /// Whether the certificate goes along with what it signs, as applications need that trust an
    /// issuer's name and not one certificate.
    pub certificate_chain_sent: bool,
    /// The application's client secret.
    pub client_secret: Option<Secret>,
    /// A key of the Storage Account, in base64. A SAS is made from it; it is never sent.
    pub account_key: Option<Secret>,
    /// The file that holds a workload's federated token.
    pub federated_token_file: Option<PathBuf>,
    /// Where tokens come from, such as `https://login.microsoftonline.us`; if `None`, the authority of
    /// the cloud that the account's domain is of.
    pub authority_host: Option<String>,
}

/// A kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthKind {
    /// The account key, if there is one; otherwise workload identity, managed identity, client
    /// certificate, client secret and Azure CLI in this order: the first that gives a token.
    #[default]
    Chain,
    /// A federated token, as Kubernetes mounts it.
    WorkloadIdentity,
    /// The identity of the Azure machine or service that this runs on.
    ManagedIdentity,
    /// An application's client id and certificate.
    ClientCertificate,
    /// An application's client id and secret.
    ClientSecret,
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// A key of the Storage Account.
    AccountKey,
}

impl AuthKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Chain,
        Self::WorkloadIdentity,
        Self::ManagedIdentity,
        Self::ClientCertificate,
        Self::ClientSecret,
        Self::AzureCli,
        Self::AccountKey,
    ];

    /// The name by which settings choose it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::WorkloadIdentity => "workload-identity",
            Self::ManagedIdentity => "managed-identity",
            Self::ClientCertificate => "client-certificate",
            Self::ClientSecret => "client-secret",
            Self::AzureCli => "azure-cli",
            Self::AccountKey => "account-key",
        }
    }

    /// The kind of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the credential is called in messages.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Chain => "credential chain",
            Self::WorkloadIdentity => "workload identity",
            Self::ManagedIdentity => "managed identity",
            Self::ClientCertificate => "client certificate",
            Self::ClientSecret => "client secret",
            Self::AzureCli => "Azure CLI",
            Self::AccountKey => "account key",
        }
    }
}

/// The credentials that need no account key, in the order in which the chain tries them.
const CHAIN: [AuthKind; 5] = [
    AuthKind::WorkloadIdentity,
    AuthKind::ManagedIdentity,
    AuthKind::ClientCertificate,
    AuthKind::ClientSecret,
    AuthKind::AzureCli,
];

/// A credential that has given a token, what it is called, and those before it that gave none.
pub(crate) type Answered = (Arc<dyn TokenCredential>, &'static str, Vec<String>);

/// The first credential of `auth` that really gives a token for the account at `url`.
pub(crate) async fn token_credential(auth: &Auth, url: &AccountUrl, now: DateTime<Utc>) -> Result<Answered, Error> {
    let clock = Clock::starting_at(now);
    let authority = cloud::authority(auth.authority_host.as_deref(), url.endpoint.host_str().unwrap_or_default());
    let chain = auth.kind == AuthKind::Chain;
    let kinds = if chain { CHAIN.to_vec() } else { vec![auth.kind] };
    let mut attempts = Vec::new();
    for kind in kinds {
        let probing = chain && kind == AuthKind::ManagedIdentity;
        let limit = if probing { MANAGED_IDENTITY_PROBE_MAX } else { TOKEN_MAX };
        match try_credential(kind, auth, &authority, clock, limit).await {
            Ok(credential) => {
                tracing::debug!(credential = kind.label(), "credential answered");
                let credential = Renewing::new(credential, Patience::STANDARD, clock);
                return Ok((Arc::new(credential), kind.label(), attempts));
            }
            Err(reason) => {
                tracing::debug!(credential = kind.label(), %reason, "credential does not do");
                attempts.push(format!("{}: {reason}", kind.label()));
            }
        }
    }
    Err(Error::NoCredential { endpoint: url.identity(), attempts })
}

async fn try_credential(
    kind: AuthKind,
    auth: &Auth,
    authority: &str,
    clock: Clock,
    limit: Duration,
) -> Result<Arc<dyn TokenCredential>, Cause> {
    let credential = build(kind, auth, authority, clock)?;
    // Boxed: the SDK's futures are large.
    match tokio::time::timeout(limit, Box::pin(credential.get_token(&[SCOPE], None))).await {
        Ok(Ok(_token)) => Ok(credential),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err(Cause::new(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn build(kind: AuthKind, auth: &Auth, authority: &str, clock: Clock) -> Result<Arc<dyn TokenCredential>, Cause> {
    let missing = |name: &str| Cause::new(format!("skipped, since there is no {name}"));
    let tenant_id = auth.tenant_id.as_deref().ok_or_else(|| missing("tenant id"));
    let client_id = auth.client_id.clone().ok_or_else(|| missing("client id"));
    let client_options = ClientOptions {
        cloud: Some(Arc::new(cloud::configuration(authority))),
        per_try_policies: vec![Arc::new(Refusals)],
        ..ClientOptions::default()
    };
    let credential: azure_core::Result<Arc<dyn TokenCredential>> = match kind {
        AuthKind::WorkloadIdentity => {
            let token_file = auth.federated_token_file.clone().ok_or_else(|| missing("federated token file"))?;
            WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options },
                client_id: Some(client_id?),
                tenant_id: Some(tenant_id?.to_owned()),
                token_file_path: Some(token_file),
            }))
            .map(|it| it as _)
        }
        // Which endpoint serves the identity is something that the SDK reads from the environment
        // itself, and cannot be told.
        AuthKind::ManagedIdentity => ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            user_assigned_id: auth.client_id.clone().map(UserAssignedId::ClientId),
            ..ManagedIdentityCredentialOptions::default()
        }))
        .map(|it| it as _),
        AuthKind::ClientCertificate => {
            let file = auth.client_certificate.as_deref().ok_or_else(|| missing("client certificate"))?;
            let (tenant_id, client_id) = (tenant_id?, client_id?);
            let signer = Signer {
                certificate: Certificate::read(file, clock.now())?,
                client_id: client_id.clone(),
                audience: token_endpoint(authority, tenant_id)?,
                chain_sent: auth.certificate_chain_sent,
                clock,
            };
            let options = ClientAssertionCredentialOptions { client_options };
            ClientAssertionCredential::new(tenant_id.to_owned(), client_id, signer, Some(options)).map(|it| it as _)
        }
        AuthKind::ClientSecret => {
            let secret = auth.client_secret.as_ref().ok_or_else(|| missing("client secret"))?;
            ClientSecretCredential::new(
                tenant_id?,
                client_id?,
                secret.expose().to_owned().into(),
                Some(ClientSecretCredentialOptions { client_options }),
            )
            .map(|it| it as _)
        }
        AuthKind::AzureCli => AzureCliCredential::new(Some(AzureCliCredentialOptions {
            tenant_id: auth.tenant_id.clone(),
            ..AzureCliCredentialOptions::default()
        }))
        .map(|it| it as _),
        AuthKind::AccountKey | AuthKind::Chain => return Err(Cause::new("gives no token")),
    };
    credential.map_err(|error| reason(&error))
}

/// The URL that the SDK asks for tokens, which is the audience of a client assertion.
fn token_endpoint(authority: &str, tenant_id: &str) -> Result<String, Cause> {
    let url = Url::parse(authority).and_then(|url| url.join(&format!("/{tenant_id}/oauth2/v2.0/token")));
    url.map(Into::into).map_err(|error| Cause::new(format!("the authority {authority} is not a URL: {error}")))
}

/// The first lines of what a credential says, without its own name and its links to documentation.
pub(crate) fn reason(error: &azure_core::Error) -> Cause {
    let outer = error.to_string();
    let outer = outer.split_once("authentication failed. ").map_or(outer.as_str(), |(_, said)| said).to_owned();
    let inner = Cause::innermost(error).to_string();
    let said = if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") };
    let line = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("To troubleshoot"));
    Cause::new(line.take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for kind in AuthKind::ALL {
            assert_eq!(AuthKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(AuthKind::from_name("password"), None);
    }

    #[test]
    fn what_is_not_set_up_is_skipped_with_the_reason() {
        let auth = Auth { tenant_id: Some("t".to_owned()), ..Auth::default() };
        let clock = Clock::starting_at(DateTime::UNIX_EPOCH);
        let reason = |kind| {
            let built = build(kind, &auth, "https://login.example.com", clock);
            built.err().map(|reason| reason.to_string()).unwrap_or_default()
        };
        assert_eq!(reason(AuthKind::WorkloadIdentity), "skipped, since there is no federated token file");
        assert_eq!(reason(AuthKind::ClientCertificate), "skipped, since there is no client certificate");
        assert_eq!(reason(AuthKind::ClientSecret), "skipped, since there is no client secret");
        assert_eq!(reason(AuthKind::AzureCli), "");
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = Auth {
            client_secret: Some(Secret::new("hush-1")),
            account_key: Some(Secret::new("hush-2")),
            ..Auth::default()
        };
        assert!(!format!("{auth:?}").contains("hush"));
    }
}
