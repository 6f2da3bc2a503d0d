//! How the archive is reached, as whom, and whether that is more than it takes.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use chrono::{DateTime, TimeDelta, Utc};
use whocalled_fetch::{Archive, Endpoint, Error, Greeting, Reach, RetryPolicy, SasTerms};

use super::Area::Archive as AREA;
use super::{Line, containers, reason};
use crate::args::ArchiveArgs;
use crate::context::{Context, now, show};

/// How far the clocks may be apart: from here on it is worth a word, and then SAS and tokens are refused.
const SKEW_WARN: TimeDelta = TimeDelta::seconds(60);
const SKEW_FAIL: TimeDelta = TimeDelta::minutes(5);
/// How long before its end a SAS had better be renewed.
const EXPIRY_WARN: TimeDelta = TimeDelta::hours(24);
/// How many addresses of a name are shown.
const ADDRESSES_SHOWN: usize = 4;

/// All checks of the archive.
pub(super) async fn check(context: &Context, args: &ArchiveArgs) -> Vec<Line> {
    let location = match context.archive_location(args.archive.as_ref()) {
        Ok(location) => location,
        Err(error) => return vec![Line::fail(AREA, "archive", error.0, "add it to the command or to whocalled.toml")],
    };
    let endpoint = match Endpoint::of(&location) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![Line::fail(AREA, "archive", reason(error), "give another location")],
    };
    let mut lines = Vec::new();
    if let Some(endpoint) = &endpoint {
        lines.extend(network(context, endpoint).await);
        lines.extend(endpoint.sas().into_iter().flat_map(|sas| sas_lines(sas, endpoint.is_https(), now())));
    }
    let archive = match open(context, args, &location).await {
        Ok(archive) => archive,
        Err(error) => {
            lines.push(not_opened(error));
            return lines;
        }
    };
    lines.push(credential(&archive));
    if let (Some(endpoint), Some(greeting)) = (&endpoint, archive.greet().await) {
        let answered = greeting.answered_at.is_some();
        lines.extend(answer(endpoint, greeting, now()));
        if !answered {
            return lines;
        }
    }
    let sas = endpoint.as_ref().and_then(Endpoint::sas);
    let probes = archive.credential() != "account key" && !sas.is_some_and(SasTerms::says_permissions);
    lines.extend(containers::check(&archive, &location, probes).await);
    lines
}

/// Opens the archive with less patience than a run has.
async fn open(context: &Context, args: &ArchiveArgs, location: &str) -> anyhow::Result<Archive> {
    let policy = RetryPolicy { attempt_count_max: 2, ..RetryPolicy::default() };
    Ok(Archive::open_with(location, context.auth(&args.auth)?, now(), policy).await?)
}

/// Why the archive could not be opened, which ends the checks of it.
fn not_opened(error: anyhow::Error) -> Line {
    let check = "credential";
    match error.downcast_ref() {
        Some(Error::NoCredential { attempts, .. }) => Line::fail(
            AREA,
            check,
            format!("none works: {}", attempts.join("; ")),
            "run `az login`, or give an account key or a URL with a SAS, or set tenant id, client id and client secret",
        ),
        Some(Error::DirectoryMissing { .. } | Error::NotADirectory { .. } | Error::File { .. }) => {
            Line::fail(AREA, "archive", reason(error), "name the directory that holds the containers")
        }
        _ => Line::fail(AREA, check, reason(error), "mend that first: nothing more of the archive can be looked at"),
    }
}

/// The name of the account's host, and a connection to it.
async fn network(context: &Context, endpoint: &Endpoint) -> Vec<Line> {
    // Through a proxy, neither is this machine's business.
    let proxy = context.proxy(endpoint.is_https());
    let bad = |check: &str, found: String, next: &str| match &proxy {
        Some(proxy) => Line::warn(AREA, check, found, format!("nothing, if {proxy} is right: a proxy does it then")),
        None => Line::fail(AREA, check, found, next),
    };
    let host = endpoint.host();
    let addresses = match endpoint.addresses().await {
        Ok(addresses) => addresses,
        Err(error) => {
            let next = "check the account's name; a private endpoint needs the private DNS zone privatelink.blob.core.windows.net here";
            return vec![bad("dns", format!("{host} has no address: {error}"), next)];
        }
    };
    let connection = match endpoint.connect(&addresses).await {
        Ok(took) => Line::pass(AREA, "connection", format!("made in {} ms", took.as_millis())),
        Err(error) => {
            let next = "check the network, and any firewall or proxy on the way (HTTPS_PROXY)";
            bad("connection", format!("none to {host}: {error}"), next)
        }
    };
    vec![Line::pass(AREA, "dns", described(host, &addresses)), connection]
}

/// What a name stands for, and on which kind of network that is.
fn described(host: &str, addresses: &[SocketAddr]) -> String {
    let unique: BTreeSet<_> = addresses.iter().map(SocketAddr::ip).collect();
    let shown: Vec<String> = unique.iter().take(ADDRESSES_SHOWN).map(ToString::to_string).collect();
    let reaches: BTreeSet<Reach> = unique.iter().map(|address| Reach::of(*address)).collect();
    let kind = match reaches.into_iter().collect::<Vec<_>>()[..] {
        [Reach::Loopback] => "this machine",
        [Reach::Private] => "private: a private endpoint",
        [Reach::Public] => "public: not a private endpoint",
        _ => "on several kinds of network: is the private DNS zone complete?",
    };
    let shown = shown.join(", ");
    if host.trim_matches(['[', ']']) == shown {
        format!("{host} ({kind})")
    } else {
        format!("{host} is {shown} ({kind})")
    }
}

/// What a SAS says of itself.
fn sas_lines(sas: &SasTerms, https: bool, now: DateTime<Utc>) -> Vec<Line> {
    let mut lines = vec![sas_validity(sas, now)];
    let excess = sas.excess();
    lines.push(if !sas.says_permissions() {
        let policy = sas.policy.as_deref().unwrap_or("that it does not name");
        Line::pass(AREA, "sas permissions", format!("as the stored access policy {policy} has them"))
    } else if excess.is_empty() {
        Line::pass(AREA, "sas permissions", "reading and listing, and no more")
    } else {
        let found = format!("more than reading and listing: {}", excess.join(", "));
        Line::warn(AREA, "sas permissions", found, "make one with the permissions r and l, for blobs only")
    });
    if https && !sas.https_only {
        let found = "it may be sent in plain http, where it can be read on the way";
        lines.push(Line::warn(AREA, "sas protocol", found, "make one for https only (spr=https)"));
    }
    lines
}

fn sas_validity(sas: &SasTerms, now: DateTime<Utc>) -> Line {
    let check = "sas validity";
    if let Some(starts_at) = sas.starts_at.filter(|it| *it > now) {
        let found = format!("valid from {} on, which is in {}", show(starts_at), age(starts_at - now));
        return Line::fail(AREA, check, found, "wait, or make one without a start time");
    }
    let renew = "make a new one, best from a user delegation key; runs go on where they stopped";
    match sas.expires_at {
        None => Line::pass(AREA, check, "its stored access policy says how long"),
        Some(expires_at) if expires_at <= now => {
            Line::fail(AREA, check, format!("expired at {}", show(expires_at)), renew)
        }
        Some(expires_at) => {
            let found = format!("until {}, another {}", show(expires_at), age(expires_at - now));
            if expires_at - now < EXPIRY_WARN {
                Line::warn(AREA, check, found, renew)
            } else {
                Line::pass(AREA, check, found)
            }
        }
    }
}

/// Which credential answered; those that did not are details.
fn credential(archive: &Archive) -> Line {
    let (check, shown) = ("credential", archive.display());
    let line = match archive.credential() {
        "none" => Line::pass(AREA, "archive", format!("directory {shown}")),
        key @ "account key" => Line::warn(
            AREA,
            check,
            format!("{key} for {shown}, which opens everything in the account"),
            "use an Entra credential with the role Storage Blob Data Reader, or a SAS with r and l",
        ),
        other => Line::pass(AREA, check, format!("{other} for {shown}")),
    };
    Line { details: archive.passed_over().to_vec(), ..line }
}

/// What the account's first answer shows.
fn answer(endpoint: &Endpoint, greeting: Greeting, now: DateTime<Utc>) -> Vec<Line> {
    let took = greeting.took.as_millis();
    let Some(answered_at) = greeting.answered_at else {
        let error = greeting.error.map_or_else(|| "no answer".to_owned(), reason);
        let next = "check the URL, the certificates that this machine trusts, and any proxy that opens TLS";
        return vec![Line::fail(AREA, "answer", format!("none after {took} ms: {error}"), next)];
    };
    let mut lines = vec![tls(endpoint), Line::pass(AREA, "answer", format!("in {took} ms"))];
    // The answer was made about now; its time has whole seconds.
    lines.push(clock(answered_at - now));
    lines.push(listing(endpoint, greeting.error.as_ref()));
    lines
}

fn tls(endpoint: &Endpoint) -> Line {
    let loopback = matches!(endpoint.host(), "localhost" | "127.0.0.1" | "[::1]");
    if endpoint.is_https() {
        Line::pass(AREA, "tls", "the account's certificate is trusted")
    } else if loopback {
        Line::pass(AREA, "tls", "none: plain http to this machine")
    } else {
        Line::warn(AREA, "tls", "none: logs and SAS can be read on the way", "give an https:// URL")
    }
}

fn clock(skew: TimeDelta) -> Line {
    let apart = skew.abs();
    let order = if skew > TimeDelta::zero() { "behind" } else { "ahead of" };
    let next = "set this machine's clock by NTP";
    if apart > SKEW_FAIL {
        let found = format!("{} {order} the account's: SAS and tokens are refused", age(apart));
        Line::fail(AREA, "clock", found, next)
    } else if apart > SKEW_WARN {
        Line::warn(AREA, "clock", format!("{} {order} the account's", age(apart)), next)
    } else {
        Line::pass(AREA, "clock", format!("{} s off the account's, or less", apart.num_seconds() + 1))
    }
}

/// Whether containers may be listed, or the blobs of the one that the location names.
fn listing(endpoint: &Endpoint, error: Option<&Error>) -> Line {
    let (check, allowed) = match endpoint.container() {
        Some(_) => ("list blobs", "allowed"),
        None => ("list containers", "allowed"),
    };
    match error {
        None => Line::pass(AREA, check, allowed),
        Some(error @ Error::Denied { .. }) if endpoint.container().is_none() => Line::warn(
            AREA,
            check,
            error.to_string(),
            "nothing, if the usual containers are all: they are tried by name; a role on the account or a SAS with srt=sco finds others",
        ),
        Some(error) => Line::fail(AREA, check, error.to_string(), "see docs/how-to/troubleshooting.md, section 3"),
    }
}

/// A length of time for people, to two units at most.
pub(super) fn age(length: TimeDelta) -> String {
    let (days, hours, minutes) = (length.num_days(), length.num_hours() % 24, length.num_minutes() % 60);
    match (days, length.num_hours()) {
        (0, 0) if length.num_minutes() == 0 => format!("{} s", length.num_seconds()),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        (1..=6, _) => format!("{days} d {hours} h"),
        _ => format!("{days} d"),
    }
}
