//! Certificate files as users have them, made anew for each test.

use std::fs;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

use super::*;

const AUDIENCE: &str = "https://login.example.com/t/oauth2/v2.0/token";

/// 2026-11-01T12:00:00Z.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_793_534_400, 0).unwrap()
}

/// A key, and a certificate of it that is valid up to the beginning of `expiry_year`.
fn made(expiry_year: i32) -> (KeyPair, rcgen::Certificate) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(expiry_year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    (key, certificate)
}

fn read(text: &str) -> Result<Certificate, String> {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("application.pem");
    fs::write(&path, text).unwrap();
    Certificate::read(&path, now()).map_err(|cause| cause.to_string())
}

fn decode(part: &str) -> serde_json::Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_what_entra_documents() {
    let (key, certificate) = made(2030);
    let (_, issuer) = made(2030);
    // The issuer's certificate stands first, as in some files, and is not taken for the application's.
    let file = read(&format!("{}{}{}", issuer.pem(), certificate.pem(), key.serialize_pem())).unwrap();
    let assertion = file.assertion("client-1", AUDIENCE, true, now()).unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();

    let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, file.key.public_key().as_ref());
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let header = decode(header);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("PS256"), Some("JWT")));
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der()));
    assert_eq!(header["x5t#S256"].as_str(), Some(thumbprint.as_str()));
    assert_eq!(header["x5c"], json!([STANDARD.encode(certificate.der()), STANDARD.encode(issuer.der())]));

    let claims = decode(claims);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("client-1"), &json!("client-1"), &json!(AUDIENCE))
    );
    assert_eq!(claims["nbf"], now().timestamp());
    assert_eq!(claims["exp"], now().timestamp() + 600);

    let next = file.assertion("client-1", AUDIENCE, false, now()).unwrap();
    assert_eq!(decode(next.split('.').next().unwrap())["x5c"], json!(null));
    assert_ne!(decode(next.split('.').nth(1).unwrap())["jti"], claims["jti"], "an assertion is used once");
}

#[test]
fn a_key_in_the_older_form_is_read_too() {
    let (key, certificate) = made(2030);
    // PKCS#1 is what PKCS#8 wraps, after 26 bytes for a key of 2048 bits.
    let pkcs1 = STANDARD.encode(&key.serialized_der()[26..]);
    let label = "RSA PRIVATE KEY";
    let pem = format!("{}-----BEGIN {label}-----\n{pkcs1}\n-----END {label}-----\n", certificate.pem());
    assert!(read(&pem).is_ok());
}

#[test]
fn what_cannot_serve_is_named_with_the_reason() {
    let (key, certificate) = made(2030);
    let (other_key, expired) = made(2026);
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let elliptic = KeyPair::generate().unwrap().serialize_pem();
    for (text, reason) in [
        (key.clone(), "no certificate"),
        (certificate.clone(), "no private key"),
        (format!("{certificate}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")), "encrypted key"),
        (format!("{certificate}{}", other_key.serialize_pem()), "not that of its certificate"),
        (format!("{certificate}{elliptic}"), "not RSA"),
        (format!("{certificate}{}", &key[..key.len() / 2]), "damaged"),
        (format!("{}{}", expired.pem(), other_key.serialize_pem()), "expired at 2026-01-01T00:00:00Z"),
    ] {
        let error = read(&text).err().unwrap_or_default();
        assert!(error.contains(reason) && error.contains("application.pem"), "{reason}: {error}");
    }
    let missing = Certificate::read(Path::new("nowhere.pem"), now()).err().map(|cause| cause.to_string());
    assert!(missing.unwrap_or_default().contains("nowhere.pem cannot be read"));
}
