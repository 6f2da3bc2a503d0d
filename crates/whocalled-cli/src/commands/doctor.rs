//! `whocalled doctor`: what works, what does not, and what to do.

use std::io::Write;

use futures::TryStreamExt;
use whocalled_convert::{BlobPart, Converter};
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_types::{Framing, Limits};

use crate::args::Doctor;
use crate::context::{Context, now};
use crate::exit::{Ended, Exit};

/// How much of the newest blob is read to see whether its records decode.
const PROBE_BYTES: u64 = 1 << 20;
/// After how long without new bytes a container is worth a warning, in hours.
const STALE_HOURS: i64 = 24;

/// Prints findings, and remembers whether one failed.
struct Findings {
    failed: bool,
}

impl Findings {
    fn say(&mut self, verdict: &str, subject: &str, text: &str) -> anyhow::Result<()> {
        self.failed |= verdict == "fail";
        Ok(writeln!(std::io::stdout(), "{verdict:4}  {subject:12}  {text}")?)
    }

    fn pass(&mut self, subject: &str, text: &str) -> anyhow::Result<()> {
        self.say("pass", subject, text)
    }

    fn warn(&mut self, subject: &str, text: &str) -> anyhow::Result<()> {
        self.say("warn", subject, text)
    }

    fn fail(&mut self, subject: &str, text: &str) -> anyhow::Result<()> {
        self.say("fail", subject, text)
    }
}

pub(super) async fn run(context: &Context, args: &Doctor) -> anyhow::Result<()> {
    let mut findings = Findings { failed: false };
    match context.archive(args.archive.archive.as_ref(), &args.archive.auth).await {
        Ok(archive) => {
            findings.pass("credential", &format!("{} for {}", archive.credential(), archive.display()))?;
            containers(&archive, &mut findings).await?;
        }
        Err(error) => findings.fail("archive", &format!("{error:#}"))?,
    }
    if args.lake.lake.is_none() && context.settings.lake.is_none() {
        findings.warn("lake", "none was given, so none was looked at: add --lake LAKE")?;
        return conclude(&findings);
    }
    match context.lake(args.lake.lake.as_ref()).await {
        Ok(lake) => {
            let text = format!("{}: batch {}, {} blobs", lake.location(), lake.last_batch(), lake.positions().len());
            findings.pass("lake", &text)?;
        }
        Err(error) => match error.downcast_ref() {
            Some(whocalled_lake::Error::Missing { location }) => {
                findings.warn("lake", &format!("there is none at {location} yet: convert makes it"))?;
            }
            _ => findings.fail("lake", &format!("{error:#}"))?,
        },
    }
    conclude(&findings)
}

fn conclude(findings: &Findings) -> anyhow::Result<()> {
    if findings.failed { Err(Ended(Exit::Incomplete).into()) } else { Ok(()) }
}

async fn containers(archive: &Archive, findings: &mut Findings) -> anyhow::Result<()> {
    let present = match archive.containers().await {
        Ok(present) => present,
        Err(error) => return findings.fail("containers", &error.to_string()),
    };
    for (needed, purpose) in [
        ("insights-logs-requestresponse", "the calls: turn on RequestResponse in the accounts' diagnostic settings"),
        ("insights-activity-logs", "who obtained keys: export the subscription's Activity Log to this account"),
        ("insights-logs-audit", "key listings in the data plane: turn on Audit in the accounts' diagnostic settings"),
    ] {
        if !present.iter().any(|it| it == needed) {
            findings.warn("containers", &format!("no {needed}, which holds {purpose}"))?;
        }
    }
    if present.is_empty() {
        return findings.fail("containers", "none that diagnostic settings write to");
    }
    for container in present {
        match newest(archive, &container).await {
            Ok(None) => findings.warn(&container, "no blobs")?,
            Ok(Some((blob, count))) => age(archive, &blob, count, findings).await?,
            Err(error) => findings.fail(&container, &error.to_string())?,
        }
    }
    Ok(())
}

async fn newest(archive: &Archive, container: &str) -> Result<Option<(ListedBlob, u64)>, whocalled_fetch::Error> {
    let mut pages = archive.list(container, "");
    let mut newest: Option<ListedBlob> = None;
    let mut count = 0;
    while let Some(page) = pages.try_next().await? {
        count += page.len() as u64;
        newest = newest.into_iter().chain(page).max_by_key(|blob| blob.modified_at);
    }
    Ok(newest.map(|blob| (blob, count)))
}

async fn age(archive: &Archive, blob: &ListedBlob, count: u64, findings: &mut Findings) -> anyhow::Result<()> {
    let container = &blob.name.container;
    let hours = blob.modified_at.map_or(0, |at| (now() - at).num_hours());
    let bytes = match archive.read(&blob.name, 0..blob.bytes.min(PROBE_BYTES)).await {
        Ok(bytes) => bytes,
        Err(error) => return findings.fail(container, &error.to_string()),
    };
    let mut converter = Converter::new(Limits::STANDARD);
    let part =
        BlobPart { name: blob.name.clone(), generation: 0, from: 0, framing: Framing::Unknown, tail: Vec::new() };
    let mut reading = converter.begin(part);
    reading.feed(&bytes);
    let converted = reading.finish(false);
    let text = format!(
        "{count} blobs, the newest {hours} h old: {} of its first {} records decode",
        converted.row_count, converted.record_count
    );
    if converted.reject_count > 0 {
        findings.warn(container, &text)
    } else if hours >= STALE_HOURS {
        findings.warn(container, &format!("{text}; nothing new for a day: are the diagnostic settings still there?"))
    } else {
        findings.pass(container, &text)
    }
}
