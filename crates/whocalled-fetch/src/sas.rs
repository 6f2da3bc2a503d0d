//! Account SAS: what an account key is turned into, so that keys and SAS take one path.
//!
//! The string to sign is that of "Create an account SAS" in Azure Storage's REST reference, for
//! versions from 2020-12-06 on, which added the line of the encryption scope.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::form_urlencoded;

use crate::{Error, Secret};

/// Reading blobs and listing them: all that an archive needs.
pub(crate) const PERMISSIONS_READ: &str = "rl";

const VERSION: &str = "2022-11-02";
/// How long a SAS is valid, from now: longer than any run, and no longer than a day, since it
/// cannot be revoked without rotating the key. It has no beginning, so that clocks may differ.
const VALIDITY: TimeDelta = TimeDelta::hours(24);

/// Signs an account SAS: a query string for the blob service, its containers and its blobs.
///
/// `permissions` are the letters of the `sp` field, such as `rl` for reading and listing.
/// `http_allowed` lets the SAS be sent over plain HTTP, as to Azurite. It expires a day after `now`.
///
/// # Errors
/// [`Error::AccountKey`] where `key` is not base64.
pub fn account_sas(
    account: &str,
    key: &Secret,
    permissions: &str,
    http_allowed: bool,
    now: DateTime<Utc>,
) -> Result<Secret, Error> {
    let protocol = if http_allowed { "https,http" } else { "https" };
    let expires_at = (now + VALIDITY).to_rfc3339_opts(SecondsFormat::Secs, true);
    // Empty are the start, the address range and the encryption scope.
    let to_sign = format!("{account}\n{permissions}\nb\nsco\n\n{expires_at}\n\n{protocol}\n{VERSION}\n\n");
    let key = STANDARD.decode(key.expose().trim()).map_err(|_| Error::AccountKey)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Error::AccountKey)?;
    mac.update(to_sign.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("sv", VERSION)
        .append_pair("ss", "b")
        .append_pair("srt", "sco")
        .append_pair("sp", permissions)
        .append_pair("se", &expires_at)
        .append_pair("spr", protocol)
        .append_pair("sig", &signature)
        .finish();
    Ok(Secret::new(query))
}

/// Why a SAS that a user gave cannot work, as far as its own fields tell: it has expired, or lacks
/// reading or listing. What it does not say (a stored access policy may say it instead) is left to
/// the service.
pub(crate) fn refusal(sas: &Secret, now: DateTime<Utc>) -> Option<String> {
    if field(sas, "sig").is_none_or(|signature| signature.is_empty()) {
        return Some(
            "its query is not a SAS: it has no sig field; quote the URL, so that the shell keeps its &".to_owned(),
        );
    }
    if let Some(expired_at) = expires_at(sas).filter(|expires_at| *expires_at < now) {
        let expired_at = expired_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        return Some(format!("its SAS expired at {expired_at}; create a new one"));
    }
    if let Some(permissions) = field(sas, "sp") {
        let missing: Vec<&str> = [("r", "r (read)"), ("l", "l (list)")]
            .iter()
            .filter(|(letter, _)| !permissions.contains(letter))
            .map(|(_, name)| *name)
            .collect();
        if !missing.is_empty() {
            return Some(format!("its SAS has no permission {}; create one with r and l", missing.join(" and ")));
        }
    }
    None
}

/// When a SAS expires, or the key of a user that signed it, whichever is earlier; `None` where it does
/// not say.
pub(crate) fn expires_at(sas: &Secret) -> Option<DateTime<Utc>> {
    ["se", "ske"].into_iter().filter_map(|name| instant(&field(sas, name)?)).min()
}

/// An instant in one of the three forms that a SAS may have it in: to the day, the minute, the second.
pub(crate) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.trim_end_matches('Z')),
        _ => text.to_owned(),
    };
    DateTime::parse_from_rfc3339(&whole).ok().map(|instant| instant.to_utc())
}

/// A field of a SAS, decoded.
pub(crate) fn field(sas: &Secret, name: &str) -> Option<String> {
    form_urlencoded::parse(sas.expose().as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_793_538_000, 0).unwrap_or_default()
    }

    // The signature was computed apart from this crate, with
    // python3 -c 'import hmac,hashlib,base64 as b;print(b.b64encode(hmac.new(b"key-of-tests",
    //   b"acct\nrl\nb\nsco\n\n2026-11-02T13:00:00Z\n\nhttps\n2022-11-02\n\n",hashlib.sha256).digest()))'
    #[test]
    fn signature_is_the_published_one() {
        let sas = account_sas("acct", &Secret::new("a2V5LW9mLXRlc3Rz"), "rl", false, now());
        assert_eq!(
            sas.as_ref().map(Secret::expose).ok(),
            Some(
                "sv=2022-11-02&ss=b&srt=sco&sp=rl&se=2026-11-02T13%3A00%3A00Z&spr=https&sig=WtYcfyVnggMpHXB9i0hvzakMZw7GTAhDp75%2BebRoCQk%3D"
            )
        );
    }

    #[test]
    fn a_key_that_is_not_base64_is_named_but_not_shown() {
        let error = account_sas("acct", &Secret::new("s3cr3t!"), "rl", true, now());
        assert!(matches!(&error, Err(Error::AccountKey)));
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_sas_that_cannot_work_is_refused_before_it_is_sent() {
        let refusal = |sas: &str| refusal(&Secret::new(sas), now()).unwrap_or_default();
        assert_eq!(refusal("sp=rl&se=2026-11-02T00:00:00Z&sig=x"), "");
        assert_eq!(refusal("si=policy&sig=x"), "");
        assert!(refusal("sp=rl&se=2026-10-01T00%3A00%3A00Z&sig=x").contains("expired at 2026-10-01T00:00:00Z"));
        assert!(refusal("sp=rl&se=2026-11-01T11%3A59Z&sig=x").contains("expired at 2026-11-01T11:59:00Z"));
        assert!(refusal("sp=rl&se=2026-10-31&sig=x").contains("expired at 2026-10-31T00:00:00Z"));
        assert!(refusal("sp=rl&se=2027-01-01&ske=2026-10-31T00:00:00Z&sig=x").contains("expired at 2026-10-31"));
        assert!(refusal("sp=r&sig=x").contains("l (list)"));
        assert!(refusal("sp=rl").contains("no sig field"));
    }
}
