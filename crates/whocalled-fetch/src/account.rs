//! Archives in a Storage Account, through Azure's SDK.

mod failure;
mod listing;
mod probe;
mod read;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use azure_core::{
    error::ErrorKind,
    http::{ClientOptions, RetryOptions, UserAgentOptions},
};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use chrono::{DateTime, Utc};
use whocalled_types::Limits;

use crate::{
    Auth, AuthKind, Counters, Error, RetryPolicy, Secret,
    auth::token_credential,
    buffers::Buffers,
    error::Cause,
    location::AccountUrl,
    pace::{Pace, Pass},
    retry::{Trial, Verdict},
    sas,
};

/// A Storage Account's blob service.
pub(crate) struct Account {
    service: BlobServiceClient,
    identity: String,
    host: String,
    container: Option<String>,
    credential: &'static str,
    /// The credentials that did not do, and why.
    passed_over: Vec<String>,
    /// When the SAS expires, where there is one and it says so.
    sas_expires_at: Option<DateTime<Utc>>,
    counters: Arc<Counters>,
    policy: RetryPolicy,
    pace: Pace,
    buffers: Arc<Buffers>,
}

impl Account {
    /// Settles how to authenticate. Nothing is sent to the account.
    pub(crate) async fn open(
        url: AccountUrl,
        auth: Auth,
        now: DateTime<Utc>,
        policy: RetryPolicy,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Location { location: url.identity(), reason };
        let mut endpoint = url.endpoint.clone();
        let (mut token, mut passed_over) = (None, Vec::new());
        let mut sas_expires_at = None;
        let credential = if let Some(sas) = &url.sas {
            if let Some(reason) = sas::refusal(sas, now) {
                return Err(refuse(reason));
            }
            sas_expires_at = sas::expires_at(sas);
            endpoint.set_query(Some(sas.expose()));
            "SAS"
        } else if let Some(key) = account_key(&auth).map_err(|reason| refuse(reason.to_owned()))? {
            let Some(account) = &url.account else {
                return Err(refuse(
                    "a custom domain does not tell the account that the key is of; \
                    give https://ACCOUNT.blob.core.windows.net, or a SAS"
                        .to_owned(),
                ));
            };
            let http = endpoint.scheme() == "http";
            let sas = sas::account_sas(account, key, sas::PERMISSIONS_READ, http, now)?;
            sas_expires_at = sas::expires_at(&sas);
            endpoint.set_query(Some(sas.expose()));
            AuthKind::AccountKey.label()
        } else if endpoint.scheme() == "http" {
            return Err(refuse(
                "over plain http a token would be readable; give an https URL, a SAS or an account key".to_owned(),
            ));
        } else {
            let (answered, label, attempts) = token_credential(&auth, &url, now).await?;
            (token, passed_over) = (Some(answered), attempts);
            label
        };
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            user_agent: UserAgentOptions { application_id: Some("whocalled".to_owned()) },
            ..ClientOptions::default()
        };
        let options = BlobServiceClientOptions { client_options, ..BlobServiceClientOptions::default() };
        let service = BlobServiceClient::new(endpoint, token, Some(options))
            .map_err(|error| refuse(Cause::innermost(&error).to_string()))?;
        Ok(Self {
            service,
            identity: url.identity(),
            host: url.host(),
            container: url.container,
            credential,
            passed_over,
            sas_expires_at,
            counters,
            pace: Pace::new(Limits::STANDARD.concurrent_reads_max, policy.budget),
            buffers: Arc::default(),
            policy,
        })
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn display(&self) -> String {
        match &self.container {
            Some(container) => format!("{}/{container}", self.identity),
            None => self.identity.clone(),
        }
    }

    pub(crate) fn credential(&self) -> &'static str {
        self.credential
    }

    /// Sends a request for a listing until it is answered well, as often as the policy has it.
    async fn persist<T, F: Future<Output = azure_core::Result<T>>>(
        &self,
        what: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut trial = Trial::new(&self.policy, what);
        loop {
            self.counters.count_list_request();
            match self.send(request()).await {
                Ok((pass, answer)) => {
                    pass.succeeded();
                    return Ok(answer);
                }
                Err(error) => {
                    let verdict = Verdict::of(&error);
                    self.wait(&mut trial, verdict, self.failure(error, what)).await?;
                }
            }
        }
    }

    /// Sends a request once, as soon as it may be sent.
    async fn send<T>(
        &self,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<(Pass<'_>, T), azure_core::Error> {
        let pass = self.pace.enter().await;
        self.counters.count_request();
        let answered = self.pace.has_answered();
        let limit = self.policy.answer_max(answered);
        // Boxed: the SDK's futures are large.
        match tokio::time::timeout(limit, Box::pin(request)).await {
            Ok(Ok(answer)) => {
                self.pace.answered();
                Ok((pass, answer))
            }
            Ok(Err(error)) => {
                if matches!(error.kind(), ErrorKind::HttpResponse { .. }) {
                    self.pace.answered();
                }
                if let Verdict::Throttled(after) = Verdict::of(&error) {
                    pass.throttled(after.map(|after| after.min(self.policy.retry_after_max)));
                }
                Err(error)
            }
            // An account that never answered would only be waited for as long again.
            Err(_) => {
                let kind = if answered { ErrorKind::Io } else { ErrorKind::Other };
                Err(azure_core::Error::new(kind, NoAnswer(limit)))
            }
        }
    }

    /// Waits until a failed operation is to be tried again, or gives its error.
    async fn wait(&self, trial: &mut Trial<'_>, verdict: Verdict, mut error: Error) -> Result<(), Error> {
        let Some(delay) = trial.failed(verdict, self.pace.has_answered()) else {
            if let Error::Interrupted { attempt_count, .. } = &mut error {
                *attempt_count = trial.attempt_count();
            }
            return Err(error);
        };
        if !self.pace.repeat() {
            let source = Cause::new(error.to_string());
            return Err(Error::Exhausted { endpoint: self.identity.clone(), source });
        }
        tracing::debug!(%error, ?delay, "is tried again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn nonsense(&self, what: &str, reason: &str) -> Error {
        Error::Protocol { endpoint: self.identity.clone(), what: what.to_owned(), reason: reason.to_owned() }
    }
}

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
struct NoAnswer(Duration);

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client, whose URL holds the SAS.
        f.debug_struct("Account")
            .field("identity", &self.identity)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// The key to make a SAS from, where `auth` wants that.
fn account_key(auth: &Auth) -> Result<Option<&Secret>, &'static str> {
    match (auth.kind, &auth.account_key) {
        (AuthKind::Chain | AuthKind::AccountKey, Some(key)) => Ok(Some(key)),
        (AuthKind::AccountKey, None) => Err("an account key is asked for, and none is given"),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
