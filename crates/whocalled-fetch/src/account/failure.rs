//! The SDK's errors, told apart by what their reader can do about them.

use std::{error::Error as StdError, ops::Range};

use azure_core::{error::ErrorKind, http::headers::HeaderName};
use azure_storage_blob::StorageError;
use chrono::{DateTime, Utc};
use whocalled_types::BlobName;

use super::{Account, NoAnswer};
use crate::{
    Error,
    auth::{is_transient, reason as token_reason},
    error::Cause,
};

impl Account {
    /// What a failed request for `what` means.
    pub(super) fn failure(&self, error: azure_core::Error, what: &str) -> Error {
        let unreachable = |source| Error::Unreachable { host: self.host.clone(), source };
        match error.kind() {
            ErrorKind::HttpResponse { status, .. } => {
                let status = u16::from(*status);
                self.refusal(error, what, status)
            }
            ErrorKind::Credential => Error::Token {
                endpoint: self.identity.clone(),
                credential: self.credential,
                transient: is_transient(&error),
                source: token_reason(&error),
            },
            ErrorKind::DataConversion => self.nonsense(what, &Cause::innermost(&error).to_string()),
            ErrorKind::Connection => unreachable(Cause::innermost(&error)),
            _ if no_answer(&error) || !self.pace.has_answered() => unreachable(Cause::innermost(&error)),
            _ => Error::Interrupted { what: what.to_owned(), attempt_count: 1, source: Cause::innermost(&error) },
        }
    }

    /// What a failed read of `range` means: besides the rest, that the blob has become shorter.
    pub(super) fn read_failure(&self, error: azure_core::Error, blob: &BlobName, range: &Range<u64>) -> Error {
        if let ErrorKind::HttpResponse { status, raw_response, error_code } = error.kind() {
            if u16::from(*status) == 416 {
                // The header is then `bytes */LENGTH`.
                let header = HeaderName::from_static("content-range");
                let content_range = raw_response.as_ref().and_then(|it| it.headers().get_optional_str(&header));
                let bytes =
                    content_range.and_then(|it| it.rsplit_once('/')).and_then(|(_, length)| length.parse().ok());
                return Error::Shrank { blob: blob.clone(), from: range.start, to: range.end, bytes };
            }
            if error_code.as_deref() == Some("BlobArchived") {
                return Error::Offline { blob: blob.clone() };
            }
        }
        self.failure(error, &format!("blob {blob}"))
    }

    /// When the SAS expired, if it had when the account gave this answer.
    fn expired_at(&self, error: &azure_core::Error) -> Option<DateTime<Utc>> {
        let answered_at = answered_at(error)?;
        self.sas_expires_at.filter(|expires_at| *expires_at <= answered_at)
    }

    /// What an HTTP status other than success means.
    fn refusal(&self, error: azure_core::Error, what: &str, status: u16) -> Error {
        let code = match error.kind() {
            ErrorKind::HttpResponse { error_code: Some(code), .. } => code.clone(),
            _ => String::new(),
        };
        let (endpoint, what) = (self.identity.clone(), what.to_owned());
        match status {
            404 => Error::Gone { what },
            401 | 403 if let Some(expired_at) = self.expired_at(&error) => {
                Error::Expired { endpoint, what, expired_at }
            }
            401 | 403 => Error::Denied { endpoint, what, credential: self.credential, status, code },
            _ => {
                let detail = StorageError::try_from(error).ok();
                let message = detail.as_ref().and_then(|it| it.message.as_deref()).and_then(|it| it.lines().next());
                let mut message = message.unwrap_or_default().to_owned();
                if let Some(id) = detail.as_ref().and_then(|it| it.request_id.as_deref()) {
                    message += &format!(" (request {id})");
                }
                Error::Service { endpoint, what, status, code, message }
            }
        }
    }
}

/// When the answer was given, by the account's own clock.
fn answered_at(error: &azure_core::Error) -> Option<DateTime<Utc>> {
    let ErrorKind::HttpResponse { raw_response: Some(response), .. } = error.kind() else { return None };
    let date = response.headers().get_optional_str(&HeaderName::from_static("date"))?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
}

/// Whether no answer came in time.
fn no_answer(error: &azure_core::Error) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<NoAnswer>() {
            return true;
        }
        source = error.source();
    }
    false
}
