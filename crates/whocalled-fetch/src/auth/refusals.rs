//! What a token endpoint refuses with, in a form that the SDK can read.
//!
//! `azure_identity` 1.0 borrows the description from the answer, and so fails on one with an escape
//! in it. Entra's descriptions have line breaks, and every refusal would come out as "expected a
//! borrowed string", without the status by which a refusal is told from an outage.

use std::sync::Arc;

use azure_core::http::{
    AsyncRawResponse, Context, Request,
    policies::{Policy, PolicyResult},
};
use serde_json::{Value, json};

/// Rewrites the bodies of refusals.
#[derive(Debug)]
pub(super) struct Refusals;

#[expect(elided_lifetimes_in_paths, reason = "async_trait counts lifetimes as the SDK's trait writes them")]
#[async_trait::async_trait]
impl Policy for Refusals {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((first, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Other,
                "no transport policy follows",
            ));
        };
        let answer = first.send(ctx, request, rest).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers, body) = answer.deconstruct();
        let body = readable(&body.collect().await?, u16::from(status));
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

/// The first line of a refusal's description, or its status where it is not of Entra's form: a
/// gateway's page, say.
fn readable(body: &[u8], status: u16) -> String {
    let refusal: Value = serde_json::from_slice(body).unwrap_or_default();
    let description = refusal["error_description"].as_str().and_then(|it| it.lines().next());
    let description = description.map_or_else(|| format!("the token endpoint answered {status}"), str::to_owned);
    // What JSON would escape is replaced.
    let description = description.replace(char::is_control, " ").replace('"', "'").replace('\\', "/");
    let codes = refusal["error_codes"].as_array().cloned().unwrap_or_default();
    json!({ "error_codes": codes, "error_description": description }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entras_description_needs_no_escape_afterwards() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7: \"x\\y\" is no\u0020secret.\r\nTrace ID: 1","error_codes":[7]}"#;
        assert_eq!(readable(body, 401), r#"{"error_codes":[7],"error_description":"AADSTS7: 'x/y' is no secret."}"#);
    }

    #[test]
    fn a_page_that_is_not_entras_is_its_status() {
        assert!(readable(b"<html>", 502).contains("the token endpoint answered 502"));
        assert!(readable(b"{\"error\":1}", 400).contains("the token endpoint answered 400"));
    }
}
