//! A client certificate: an application proves who it is by signing with the certificate's key.
//!
//! What is signed is the client assertion of "Microsoft identity platform application authentication
//! certificate credentials" on Microsoft Learn. Why it is signed here and not by the SDK is in
//! docs/decisions/0006.

use std::{fmt, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair},
};
use azure_core::{error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use x509_cert::der::Decode as _;

use super::clock::Clock;
use crate::error::Cause;

/// How long an assertion can be used: Entra asks for five to ten minutes.
const ASSERTION_VALIDITY: TimeDelta = TimeDelta::minutes(10);

/// A certificate and its private key.
pub(super) struct Certificate {
    key: RsaKeyPair,
    /// In DER, the certificate itself first.
    chain: Vec<Vec<u8>>,
}

impl Certificate {
    /// Reads a PEM file with a certificate, perhaps those of its issuers, and the certificate's RSA
    /// key, in any order.
    ///
    /// # Errors
    /// Why the file cannot serve, with its name and what to do.
    pub(super) fn read(path: &Path, now: DateTime<Utc>) -> Result<Self, Cause> {
        let wrong = |reason: &str| Cause::new(format!("certificate file {} {reason}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let (mut chain, key) = sections(&pem).map_err(wrong)?;
        let is_of_key =
            |der: &Vec<u8>| public_key(der).is_some_and(|public_key| public_key == key.public_key().as_ref());
        let own = chain.iter().position(is_of_key).ok_or_else(|| {
            wrong("holds a private key that is not that of its certificate; give the two that were made together")
        })?;
        chain[..=own].rotate_right(1);
        let expired_at = expiry(&chain[0]).filter(|expires_at| *expires_at <= now);
        if let Some(expired_at) = expired_at {
            let expired_at = expired_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            return Err(wrong(&format!(
                "holds a certificate that expired at {expired_at}; make a new one and add it to the application"
            )));
        }
        Ok(Self { key, chain })
    }

    /// A signed assertion that `client_id` may be given a token by `audience`, the URL of the token
    /// endpoint.
    ///
    /// # Errors
    /// Where the key cannot sign.
    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        chain_sent: bool,
        now: DateTime<Utc>,
    ) -> azure_core::Result<String> {
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.chain[0]));
        let mut header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
        if chain_sent {
            header["x5c"] = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        }
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": Uuid::new_v4().to_string(),
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": (now + ASSERTION_VALIDITY).timestamp(),
        });
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| azure_core::Error::with_message(ErrorKind::Credential, "the certificate's key cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The certificates and the one key of a PEM file.
fn sections(pem: &[u8]) -> Result<(Vec<Vec<u8>>, RsaKeyPair), &'static str> {
    let (mut chain, mut key) = (Vec::new(), None);
    if pem.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED") {
        return Err("holds an encrypted key; decrypt it with `openssl pkey`, and protect the file by its permissions");
    }
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| "is damaged: its PEM cannot be decoded")?;
        let read = match kind {
            SectionKind::Certificate => {
                chain.push(der);
                continue;
            }
            SectionKind::PrivateKey => RsaKeyPair::from_pkcs8(&der),
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(&der),
            SectionKind::EcPrivateKey => return Err("holds a key that is not RSA, which Entra needs"),
            _ => continue,
        };
        key = Some(read.map_err(|_| "holds a key that is damaged or not RSA, which Entra needs")?);
    }
    if chain.is_empty() {
        return Err("holds no certificate in PEM; convert a PFX with `openssl pkcs12 -in FILE -nodes`");
    }
    Ok((chain, key.ok_or("holds no private key; append it to the certificate, as PEM")?))
}

fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes().to_vec())
}

fn expiry(certificate: &[u8]) -> Option<DateTime<Utc>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_system_time().into())
}

/// Signs an assertion whenever a token is asked for.
pub(super) struct Signer {
    pub(super) certificate: Certificate,
    pub(super) client_id: String,
    /// The URL of the token endpoint.
    pub(super) audience: String,
    /// Whether the certificates are sent along, as applications need that trust an issuer's name.
    pub(super) chain_sent: bool,
    pub(super) clock: Clock,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("Signer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Signer {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.certificate.assertion(&self.client_id, &self.audience, self.chain_sent, self.clock.now())
    }
}

#[cfg(test)]
mod tests;
