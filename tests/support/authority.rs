//! An Entra token endpoint on this machine, over HTTPS, that knows one application and gives it
//! tokens which Azurite accepts.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;
use x509_cert::der::Decode as _;

use crate::certificates::Certificates;

/// The tenant's id.
pub const TENANT: &str = "3f1c0a52-7d6e-4b8f-9a21-0c5d4e6f7a80";
/// The application's client id.
pub const CLIENT: &str = "b7a9d3c4-1e2f-4053-8697-a8b9cadbecfd";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SCOPE: &str = "https://storage.azure.com/.default";

/// What proves that a caller is the application.
#[derive(Debug, Clone)]
pub enum Proof {
    /// This client secret.
    Secret(String),
    /// An assertion signed with the key of this certificate, in DER.
    Certificate(Vec<u8>),
    /// Exactly this token of another issuer.
    Federated(String),
}

#[derive(Debug)]
struct State {
    url: String,
    proof: Proof,
    token_seconds: i64,
    /// The assertions' ids, which must not repeat.
    used: HashSet<String>,
    given_count: usize,
    refused: Vec<String>,
    /// How many more requests are answered with 503.
    failures_left: usize,
}

/// A running token endpoint. It ends with the test.
#[derive(Debug)]
pub struct Authority {
    state: Arc<Mutex<State>>,
}

impl Authority {
    /// Starts an endpoint whose tokens are valid for `token_seconds`.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub fn start(certificates: &Certificates, proof: Proof, token_seconds: i64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let config = certificates.server_config()?;
        let state = Arc::new(Mutex::new(State {
            url: format!("https://{}", listener.local_addr()?),
            proof,
            token_seconds,
            used: HashSet::new(),
            given_count: 0,
            refused: Vec::new(),
            failures_left: 0,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, config) = (Arc::clone(&shared), Arc::clone(&config));
                // A caller that goes away in the middle is its own business.
                thread::spawn(move || serve(stream, config, &state).ok());
            }
        });
        Ok(Self { state })
    }

    /// What to give as `--authority-host`.
    pub fn url(&self) -> String {
        lock(&self.state).url.clone()
    }

    /// How many tokens it has given.
    pub fn given_count(&self) -> usize {
        lock(&self.state).given_count
    }

    /// Why it has refused requests.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.state).refused.clone()
    }

    /// Answers the next `count` requests with 503, and a page that is not Entra's.
    pub fn fail(&self, count: usize) {
        lock(&self.state).failures_left = count;
    }

    /// How many requests it is still to fail.
    pub fn failures_left(&self) -> usize {
        lock(&self.state).failures_left
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut request_line = String::new();
    stream.read_line(&mut request_line)?;
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim().to_ascii_lowercase().split_once(':') {
            Some(("content-length", length)) => body_bytes = length.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body)?;
    let (status, answer) = answer(&mut lock(state), &request_line, &body);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn answer(state: &mut State, request_line: &str, body: &[u8]) -> (&'static str, String) {
    if state.failures_left > 0 {
        state.failures_left -= 1;
        return ("503 Service Unavailable", "<html>come back later</html>".to_owned());
    }
    match check(state, request_line, body) {
        Ok(()) => {
            state.given_count += 1;
            let token = json!({
                "token_type": "Bearer",
                "expires_in": state.token_seconds,
                "ext_expires_in": state.token_seconds,
                "access_token": token(state.token_seconds),
            });
            ("200 OK", token.to_string())
        }
        Err(reason) => {
            state.refused.push(reason.to_string());
            let error = json!({
                "error": "invalid_client",
                "error_description": format!("AADSTS7000215: {reason}\r\nTrace ID: 0"),
                "error_codes": [7_000_215],
            });
            ("401 Unauthorized", error.to_string())
        }
    }
}

/// Whether a request is one for which Entra would give a token.
fn check(state: &mut State, request_line: &str, body: &[u8]) -> Result<()> {
    ensure!(request_line.starts_with(&format!("POST /{TENANT}/oauth2/v2.0/token ")), "no endpoint: {request_line}");
    let field = |name: &str| {
        let found = form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        found.with_context(|| format!("the field {name} is missing"))
    };
    ensure!(field("grant_type")? == "client_credentials", "another grant is asked for");
    ensure!(field("client_id")? == CLIENT, "the application is unknown");
    ensure!(field("scope")? == SCOPE, "the scope is not that of storage");
    if let Proof::Secret(secret) = &state.proof {
        ensure!(field("client_secret")? == *secret, "Invalid client secret provided.");
        return Ok(());
    }
    ensure!(field("client_assertion_type")? == ASSERTION_TYPE, "the type of the assertion is wrong");
    let assertion = field("client_assertion")?;
    match &state.proof {
        Proof::Certificate(der) => {
            let id = check_assertion(&assertion, der, &state.url)?;
            ensure!(state.used.insert(id), "the assertion's id repeats");
        }
        Proof::Federated(token) => ensure!(assertion == *token, "the federated token is another"),
        Proof::Secret(_) => {}
    }
    Ok(())
}

/// Checks the signature and claims of an assertion, and gives its id.
fn check_assertion(assertion: &str, certificate: &[u8], authority: &str) -> Result<String> {
    let (signed, signature) = assertion.rsplit_once('.').context("the assertion is no JWT")?;
    let (header, claims) = signed.split_once('.').context("the assertion is no JWT")?;
    let decode = |part: &str| -> Result<Value> { Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?) };
    let (header, claims) = (decode(header)?, decode(claims)?);
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate));
    ensure!(header["alg"] == "PS256" && header["x5t#S256"] == thumbprint.as_str(), "another certificate: {header}");

    let certificate = x509_cert::Certificate::from_der(certificate)?;
    let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key;
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.raw_bytes())
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature)?)
        .ok()
        .context("the signature is wrong")?;

    ensure!(claims["aud"] == format!("{authority}/{TENANT}/oauth2/v2.0/token"), "for another audience: {claims}");
    ensure!(claims["iss"] == CLIENT && claims["sub"] == CLIENT, "of another issuer: {claims}");
    let (from, to) = (claims["nbf"].as_i64().context("no nbf")?, claims["exp"].as_i64().context("no exp")?);
    ensure!(from <= now_seconds() && now_seconds() < to && to - from <= 600, "not of this time: {claims}");
    claims["jti"].as_str().map(str::to_owned).context("no jti")
}

/// A token for storage. Azurite checks all but the signature, so it has none.
fn token(token_seconds: i64) -> String {
    let now = now_seconds();
    let claims = json!({
        "aud": "https://storage.azure.com",
        "iss": format!("https://sts.windows.net/{TENANT}/"),
        "appid": CLIENT,
        "tid": TENANT,
        "iat": now,
        "nbf": now,
        "exp": now + token_seconds,
    });
    let header = json!({ "typ": "JWT", "alg": "RS256" });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.{}", encode(header), encode(claims), URL_SAFE_NO_PAD.encode("unsigned"))
}

#[expect(clippy::disallowed_methods, reason = "Azurite checks tokens against the machine's clock")]
fn now_seconds() -> i64 {
    let now: chrono::DateTime<chrono::Utc> = std::time::SystemTime::now().into();
    now.timestamp()
}
