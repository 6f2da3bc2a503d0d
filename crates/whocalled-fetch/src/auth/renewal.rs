//! Tokens while a run lasts: the SDK asks for a new one five minutes before one expires, and this
//! outlasts a token endpoint that does not answer at that time.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
};
use chrono::{DateTime, Utc};
use tokio::{sync::Mutex, time::Instant};

use super::clock::Clock;

/// How an outage is borne.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long one answer is waited for, the SDK's own repetitions included.
    pub(super) answer_max: Duration,
    /// How long the endpoint is left alone after a failure.
    pub(super) pause: Duration,
    /// How long it is asked again and again where there is no valid token left.
    pub(super) outage_max: Duration,
}

impl Patience {
    pub(super) const STANDARD: Self = Self {
        answer_max: Duration::from_secs(15),
        pause: Duration::from_secs(20),
        outage_max: Duration::from_secs(300),
    };
}

/// A credential that goes on with the token it has while its endpoint fails, and waits for the
/// endpoint once that token has expired.
pub(super) struct Renewing {
    credential: Arc<dyn TokenCredential>,
    patience: Patience,
    clock: Clock,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<AccessToken>,
    failed: Option<Instant>,
}

impl Held {
    fn valid(&self, now: DateTime<Utc>) -> Option<&AccessToken> {
        self.token.as_ref().filter(|token| token.expires_on.unix_timestamp() > now.timestamp())
    }
}

impl Renewing {
    pub(super) fn new(credential: Arc<dyn TokenCredential>, patience: Patience, clock: Clock) -> Self {
        Self { credential, patience, clock, held: Mutex::default() }
    }

    async fn ask(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        // Boxed: the SDK's futures are large.
        let asked = Box::pin(self.credential.get_token(scopes, options));
        tokio::time::timeout(self.patience.answer_max, asked).await.unwrap_or_else(|_| {
            Err(azure_core::Error::with_message(ErrorKind::Io, "the token endpoint does not answer"))
        })
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TokenCredential for Renewing {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let mut held = self.held.lock().await;
        let failed_lately = held.failed.is_some_and(|failed| failed.elapsed() < self.patience.pause);
        if let Some(token) = held.valid(self.clock.now()).filter(|_| failed_lately) {
            return Ok(token.clone());
        }
        let began = Instant::now();
        loop {
            let error = match self.ask(scopes, options.clone()).await {
                Ok(token) => {
                    *held = Held { token: Some(token.clone()), failed: None };
                    return Ok(token);
                }
                Err(error) => error,
            };
            if !is_transient(&error) {
                return Err(error);
            }
            if let Some(token) = held.valid(self.clock.now()).cloned() {
                held.failed = Some(Instant::now());
                return Ok(token);
            }
            if began.elapsed() + self.patience.pause > self.patience.outage_max {
                return Err(error);
            }
            tracing::warn!("the token endpoint fails, and is asked again");
            tokio::time::sleep(self.patience.pause).await;
        }
    }
}

/// Whether a credential failed for a reason that passes: no connection, or an answer of the endpoint
/// that says nothing about the caller.
pub(crate) fn is_transient(error: &azure_core::Error) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        match error.downcast_ref::<azure_core::Error>().map(azure_core::Error::kind) {
            Some(ErrorKind::HttpResponse { status, .. }) => return matches!(u16::from(*status), 408 | 429 | 500..),
            Some(ErrorKind::Io | ErrorKind::Connection) => return true,
            _ => source = error.source(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use azure_core::{credentials::Secret, http::StatusCode, time::OffsetDateTime};

    use super::*;

    const PATIENCE: Patience = Patience {
        answer_max: Duration::from_secs(10),
        pause: Duration::from_millis(1),
        outage_max: Duration::from_millis(50),
    };

    /// Gives each answer once, and the last for ever: a token valid until then, or a failure.
    #[derive(Debug)]
    struct Endpoint {
        answers: Vec<Result<i64, u16>>,
        count: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl TokenCredential for Endpoint {
        async fn get_token(
            &self,
            _scopes: &[&str],
            _options: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            match self.answers[count.min(self.answers.len() - 1)] {
                Ok(until) => {
                    let until = OffsetDateTime::from_unix_timestamp(until).unwrap();
                    Ok(AccessToken::new(Secret::new(count.to_string()), until))
                }
                Err(status) => {
                    let status = StatusCode::from(status);
                    let http = ErrorKind::HttpResponse { status, error_code: None, raw_response: None };
                    let inner = azure_core::Error::with_message(http, "no");
                    Err(azure_core::Error::with_error(ErrorKind::Credential, inner, "failed"))
                }
            }
        }
    }

    fn renewing(answers: Vec<Result<i64, u16>>, patience: Patience) -> (Arc<Endpoint>, Renewing) {
        let endpoint = Arc::new(Endpoint { answers, count: AtomicUsize::default() });
        let clock = Clock::starting_at(DateTime::from_timestamp(1000, 0).unwrap());
        (Arc::clone(&endpoint), Renewing::new(endpoint, patience, clock))
    }

    async fn token(renewing: &Renewing) -> Result<String, azure_core::Error> {
        Ok(renewing.get_token(&["scope"], None).await?.token.secret().to_owned())
    }

    #[tokio::test]
    async fn a_valid_token_bridges_an_outage_without_asking_at_every_request() {
        let patience = Patience { pause: Duration::from_secs(3600), ..PATIENCE };
        let (endpoint, renewing) = renewing(vec![Ok(1_000_000), Err(503)], patience);
        for _ in 0..5 {
            assert_eq!(token(&renewing).await.unwrap(), "0");
        }
        assert_eq!(endpoint.count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_expired_token_waits_for_the_endpoint() {
        let (_, renewing) = renewing(vec![Ok(1), Err(503), Err(500), Err(429), Ok(2)], PATIENCE);
        assert_eq!(token(&renewing).await.unwrap(), "0");
        assert_eq!(token(&renewing).await.unwrap(), "4");
    }

    #[tokio::test]
    async fn an_outage_that_lasts_and_a_refusal_end_it() {
        let (endpoint, renewing_outage) = renewing(vec![Ok(1), Err(503)], PATIENCE);
        token(&renewing_outage).await.unwrap();
        let error = token(&renewing_outage).await.unwrap_err();
        assert!(is_transient(&error) && endpoint.count.load(Ordering::Relaxed) > 3);

        let (endpoint, renewing_refused) = renewing(vec![Ok(1_000_000), Err(401)], PATIENCE);
        token(&renewing_refused).await.unwrap();
        let error = token(&renewing_refused).await.unwrap_err();
        assert!(!is_transient(&error));
        assert_eq!(endpoint.count.load(Ordering::Relaxed), 2, "a refusal is not asked for again");
    }
}
