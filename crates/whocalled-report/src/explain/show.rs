//! An explanation for people.

use std::fmt;

use super::{Candidate, ExplainedCall, Explanation, RecordSource};
use crate::render::rounded;

/// What the codes of `attributed_calls.reason` mean.
fn reason_sentence(reason: &str) -> &str {
    match reason {
        "unauthenticated" => "the service refused the call (401): nobody's valid key was used",
        "no_grant_seen" => "no log shows anybody obtaining a key of this account that could still be valid",
        "unseen_caller" => "a caller whom no log names is likelier than all key holders together",
        "undecided" => "a caller whom no log names is likelier than any one key holder",
        "address_hidden" => "the record has no caller address to compare",
        "address_unseen" => "no key holder was seen at this address prefix",
        "shared_address" => "several key holders were seen at this address prefix",
        "key_not_logged" => "the record does not say which key was used: the address and the grant are all there is",
        other => other,
    }
}

/// Which log, or which setting, would have told who made the call.
fn remedy(reason: &str) -> Option<&str> {
    Some(match reason {
        "no_grant_seen" => {
            "archive the subscription's Activity Log, then regenerate both keys: who needs one must obtain it anew, \
             where it is logged"
        }
        "unseen_caller" => "regenerate both keys, and see in key_access who comes for the new ones; a stranger cannot",
        "address_hidden" => {
            "turn on Entra authentication (disableLocalAuth), whose records name the caller; calls through service \
             endpoints log no address"
        }
        "undecided" | "address_unseen" | "shared_address" | "key_not_logged" => {
            "turn on Entra authentication (disableLocalAuth), whose records name the caller, or log the headers \
             apim-request-id and x-caller-oid at your gateway"
        }
        _ => return None,
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            writeln!(f, "call {}", self.correlation_id)?;
            write!(f, "{call}")?;
        }
        writeln!(f, "  records")?;
        for record in &self.records {
            let RecordSource { table, time, blob, generation, blob_offset } = record;
            let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            writeln!(f, "    {time}  {table}  {blob}  generation {generation}  byte {blob_offset}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  time       {}", self.time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))?;
        writeln!(f, "  account    {}", self.resource_id)?;
        let status = self.status.map(|status| format!("  (status {status})")).unwrap_or_default();
        writeln!(f, "  operation  {}{status}", self.operation.as_deref().unwrap_or("not logged"))?;
        writeln!(f, "  address    {}", self.caller_ip.as_deref().unwrap_or("not logged"))?;
        let caller = who(self.principal_id.as_deref(), self.principal_name.as_deref());
        match self.confidence {
            Some(confidence) => writeln!(f, "  caller     {caller}  {}  ({})", rounded(confidence), self.tier)?,
            None => writeln!(f, "  caller     not attributed")?,
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "  why        {} ({reason})", reason_sentence(reason))?;
            if let Some(remedy) = remedy(reason) {
                writeln!(f, "  remedy     {remedy}")?;
            }
        }
        if let Some(runner_up) = self.runner_up() {
            let who = who(runner_up.principal_id.as_deref(), runner_up.principal_name.as_deref());
            writeln!(f, "  runner-up  {who}  {}", rounded(runner_up.confidence))?;
        }
        if !self.candidates.is_empty() {
            writeln!(f, "  candidates {} weighed", self.candidate_count)?;
        }
        self.candidates.iter().try_for_each(|candidate| candidate.fmt(f))
    }
}

impl ExplainedCall {
    /// The likeliest candidate but the one that the call is attributed to.
    fn runner_up(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|it| it.principal_id != self.principal_id || self.tier == "none")
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = who(self.principal_id.as_deref(), self.principal_name.as_deref());
        writeln!(f, "    {}  {who}", rounded(self.confidence))?;
        // What adds nothing says nothing.
        for line in self.evidence.iter().filter(|line| line.contribution.abs() >= 0.005) {
            writeln!(f, "           {:+6.2}  {}  [{}]", line.contribution, line.sentence, line.name)?;
        }
        if !self.evidence.is_empty() {
            writeln!(f, "           {:+6.2}  in all", self.score)?;
        }
        Ok(())
    }
}

fn who(id: Option<&str>, name: Option<&str>) -> String {
    match (id, name) {
        (Some(id), Some(name)) => format!("{name}  {id}"),
        (Some(id), None) => id.to_owned(),
        (None, _) => "somebody whom no log names".to_owned(),
    }
}
