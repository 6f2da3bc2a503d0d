//! What can go wrong between the archive and its reader, and what its caller should do about it.

use std::{fmt, io, path::PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use whocalled_types::{BlobName, ErrorKind};

/// An error of opening, listing or reading an archive. [`Error::kind`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive's location is not one that can be opened.
    #[error("archive {location} cannot be used: {reason}")]
    Location {
        /// The location as given, without its query.
        location: String,
        /// What is wrong with it, and what to give instead.
        reason: String,
    },
    /// There is no directory of that name.
    #[error(
        "archive directory {} does not exist; check the path, or give a URL such as https://ACCOUNT.blob.core.windows.net",
        path.display()
    )]
    DirectoryMissing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path names something that is not a directory.
    #[error("archive {} is not a directory; give the directory that holds the containers", path.display())]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// A file's name cannot be the name of a blob.
    #[error(
        "file name {name} in {} is not UTF-8, so it cannot name a blob; rename it or move it out of the archive",
        directory.display()
    )]
    FileName {
        /// The directory that holds the file.
        directory: PathBuf,
        /// The name, with what is not UTF-8 replaced.
        name: String,
    },
    /// The file system refused a directory or a file.
    #[error("cannot read {}", path.display())]
    File {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A blob or container that was listed does not exist.
    #[error("{what} does not exist, or not any more")]
    Gone {
        /// The container or blob.
        what: String,
    },
    /// A blob holds fewer bytes than were listed.
    #[error(
        "blob {blob} shrank: bytes {from} to {to} were asked for, and it has {}; list it again",
        bytes.map_or_else(|| "fewer".to_owned(), |bytes| bytes.to_string())
    )]
    Shrank {
        /// The blob.
        blob: BlobName,
        /// The first byte asked for.
        from: u64,
        /// The end of the range asked for, exclusive.
        to: u64,
        /// The blob's length now, where it is known.
        bytes: Option<u64>,
    },
    /// A blob's bytes are offline.
    #[error("blob {blob} is in the archive access tier, where it cannot be read; rehydrate it to the hot or cool tier")]
    Offline {
        /// The blob.
        blob: BlobName,
    },
    /// The account's key cannot sign.
    #[error("the account key is not base64; copy it whole from the Storage Account's access keys")]
    AccountKey,
    /// No credential gave a token.
    #[error(
        "no credential works for {endpoint}: {}; run `az login`, or give an account key or a URL with a SAS, \
         or set tenant id, client id and client secret",
        attempts.join("; ")
    )]
    NoCredential {
        /// The account.
        endpoint: String,
        /// Each credential that was considered, and why it did not do.
        attempts: Vec<String>,
    },
    /// The credential that answered when the archive was opened gives no token any more.
    #[error("the {credential} gave no token for {endpoint}; {}", token_hint(*transient))]
    Token {
        /// The account.
        endpoint: String,
        /// The credential's name.
        credential: &'static str,
        /// Whether the token endpoint failed, and not the credential.
        transient: bool,
        /// Why.
        source: Cause,
    },
    /// The account does not know the caller, or does not let it read.
    #[error("{endpoint} denied {what} to the {credential} ({status} {code}); {}", denial_hint(code))]
    Denied {
        /// The account.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// The credential's name.
        credential: &'static str,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// Azure's error code.
        code: String,
    },
    /// The SAS was valid when the archive was opened, and is not any more.
    #[error(
        "the SAS for {endpoint} expired at {}, and {what} was refused; run again with a new one: \
         what was committed stays, and the next run goes on from there",
        expired_at.to_rfc3339_opts(SecondsFormat::Secs, true)
    )]
    Expired {
        /// The account.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// When the SAS expired.
        expired_at: DateTime<Utc>,
    },
    /// No connection to the account came about.
    #[error("cannot reach {host}; check the account's name, the network, and any proxy or firewall on the way")]
    Unreachable {
        /// The host, with its port where the location has one.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The account answered with an error that is none of the others.
    #[error("{endpoint} answered {what} with {status} {code}: {message}")]
    Service {
        /// The account.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Azure's error code.
        code: String,
        /// Azure's message, its first line.
        message: String,
    },
    /// The connection broke off, again and again.
    #[error("{what} broke off {attempt_count} times in a row; try again later")]
    Interrupted {
        /// What was asked for, with the offset that was reached.
        what: String,
        /// How often it was tried since the last byte came.
        attempt_count: u32,
        /// Why, the last time.
        source: Cause,
    },
    /// The account failed so often in this run that it had better be left alone.
    #[error("{endpoint} fails too often, and the run's budget of repetitions is used up; run again later")]
    Exhausted {
        /// The account.
        endpoint: String,
        /// The last failure.
        source: Cause,
    },
    /// The account's answer is not one that the protocol allows.
    #[error("{endpoint} gave an answer to {what} that cannot be used: {reason}")]
    Protocol {
        /// The account.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl Error {
    /// What the caller should do: come again later, go on without the blob, or stop.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Exhausted { .. } => ErrorKind::Retry,
            Self::Token { transient: true, .. } => ErrorKind::Retry,
            Self::Gone { .. } | Self::Shrank { .. } | Self::Offline { .. } => ErrorKind::Skip,
            // 409 and 412 are answers to a blob that changes under the request.
            Self::Service { status: 408 | 409 | 412 | 429 | 500.., .. } => ErrorKind::Retry,
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::Skip,
                io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => ErrorKind::Retry,
                _ => ErrorKind::Abort,
            },
            _ => ErrorKind::Abort,
        }
    }
}

/// What to do where a credential gives no token any more.
fn token_hint(transient: bool) -> &'static str {
    if transient { "run again later: what was committed stays" } else { "log in again, or use another credential" }
}

/// What to do about a denial, by Azure's error code.
fn denial_hint(code: &str) -> &'static str {
    match code {
        "AuthenticationFailed" => "check that the SAS or key is whole and has not expired",
        "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
            "check that the credential belongs to the account's own tenant"
        }
        "KeyBasedAuthenticationNotPermitted" => "the account forbids keys and their SAS: use an Entra credential",
        "AuthorizationFailure" => {
            "check the key or SAS, the account's firewall, and that the caller has the role Storage Blob Data Reader"
        }
        "AuthorizationProtocolMismatch" => "the SAS allows https only",
        "AuthorizationResourceTypeMismatch" | "AuthorizationServiceMismatch" => {
            "give a SAS for blobs that covers services, containers and objects"
        }
        _ => "give the caller the role Storage Blob Data Reader on the account, or use a SAS with permissions r and l",
    }
}

/// Why a request failed, as text: the innermost message of the SDK's chain, which is the one that
/// names the fault. The chain itself is not kept, because an HTTP client's errors hold the URL, and
/// with it the SAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self(redact(message.as_ref().trim()))
    }

    pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self::new(innermost.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Blanks the query of every URL in `text`: from a `?` that follows `://` to the next character
/// that no query holds.
pub(crate) fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let url_end = rest[scheme..].find(|c: char| c.is_whitespace() || "\"'<>()".contains(c));
        let url_end = url_end.map_or(rest.len(), |end| scheme + end);
        match rest[scheme..url_end].find('?') {
            Some(query) => {
                redacted.push_str(&rest[..=scheme + query]);
                redacted.push_str("***");
            }
            None => redacted.push_str(&rest[..url_end]),
        }
        rest = &rest[url_end..];
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_urls_are_blanked() {
        assert_eq!(
            redact("error for url (http://h/c?sv=1&sig=abc%3D): why? no idea, see https://h/x?sig=z"),
            "error for url (http://h/c?***): why? no idea, see https://h/x?***"
        );
        assert_eq!(redact("nothing here?"), "nothing here?");
    }

    #[test]
    fn kinds_follow_the_status() {
        let service = |status| Error::Service {
            endpoint: "https://a".to_owned(),
            what: "reading".to_owned(),
            status,
            code: String::new(),
            message: String::new(),
        };
        for status in [408, 409, 412, 429, 500, 503] {
            assert_eq!(service(status).kind(), ErrorKind::Retry, "{status}");
        }
        assert_eq!(service(400).kind(), ErrorKind::Abort);
        assert_eq!(Error::Gone { what: "blob c/n".to_owned() }.kind(), ErrorKind::Skip);
        assert_eq!(Error::AccountKey.kind(), ErrorKind::Abort);
        let file = |kind| Error::File { path: PathBuf::from("p"), source: io::Error::from(kind) };
        assert_eq!(file(io::ErrorKind::NotFound).kind(), ErrorKind::Skip);
        assert_eq!(file(io::ErrorKind::PermissionDenied).kind(), ErrorKind::Abort);
    }

    #[test]
    fn a_shrunken_blob_says_how_long_it_is() {
        let blob = BlobName { container: "insights-logs-audit".to_owned(), name: "n".to_owned() };
        let error = Error::Shrank { blob, from: 10, to: 20, bytes: Some(5) };
        assert_eq!(
            error.to_string(),
            "blob insights-logs-audit/n shrank: bytes 10 to 20 were asked for, and it has 5; list it again"
        );
    }
}
