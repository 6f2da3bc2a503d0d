//! `whocalled verify`: holds a lake against its archive, and against itself.

mod listing;
mod records;
mod rows;
mod tables;

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::output::json;
use super::progress::Display;
use crate::args::{Shape, Verify};
use crate::context::{Context, show_bytes};
use crate::exit::{Ended, Exit};

/// How many disagreements are kept in words; all are counted.
const DISAGREEMENTS_MAX: usize = 1000;
/// How many of them a table shows.
const SHOWN_MAX: usize = 50;

/// What was compared, and what does not agree.
#[derive(Debug, Default, Serialize)]
struct Verification {
    blobs_listed: u64,
    /// Blobs of the archive of which nothing is committed yet.
    blobs_new: u64,
    /// Blobs of the lake that the archive no longer has, which a lifecycle rule may explain.
    blobs_gone: u64,
    /// Bytes of the archive that are not committed yet.
    bytes_behind: u64,
    /// Ranges in the ledger, all generations.
    ranges_checked: u64,
    /// Rows and rejects that were counted in the tables.
    rows_counted: u64,
    /// What the choice of the sample follows from; the same seed gives the same sample.
    seed: u64,
    /// Blobs whose committed bytes were read, hashed and decoded again.
    blobs_recounted: u64,
    bytes_recounted: u64,
    /// Blobs that could not be read for that.
    blobs_unread: u64,
    disagreement_count: u64,
    /// The first of them.
    disagreements: Vec<Disagreement>,
}

/// The parts of a verification, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    /// The archive's listing against the positions.
    Listing,
    /// The ledger's ranges against each other.
    Ledger,
    /// The rows in the tables against the ledger.
    Rows,
    /// Whether every row's place in the archive is its own.
    Places,
    /// The committed bytes against the ledger and the rows.
    Records,
}

impl Check {
    const ALL: [Self; 5] = [Self::Listing, Self::Ledger, Self::Rows, Self::Places, Self::Records];

    const fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Ledger => "ledger",
            Self::Rows => "rows",
            Self::Places => "places",
            Self::Records => "records",
        }
    }
}

/// Something that does not agree.
#[derive(Debug, Serialize)]
struct Disagreement {
    check: Check,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    /// The byte of the blob at which it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    detail: String,
    /// How many of the kind there are in all, where that is more than one.
    #[serde(skip)]
    count: u64,
}

impl Disagreement {
    fn of(check: Check, blob: impl Into<String>, byte: u64, detail: impl Into<String>) -> Self {
        Self { check, blob: Some(blob.into()), byte: Some(byte), detail: detail.into(), count: 1 }
    }
}

impl Verification {
    fn disagree(&mut self, disagreement: Disagreement) {
        self.disagreement_count += disagreement.count;
        if self.disagreements.len() < DISAGREEMENTS_MAX {
            self.disagreements.push(disagreement);
        }
    }

    /// Counts what there was no room to keep.
    fn disagree_unseen(&mut self, count: u64) {
        self.disagreement_count += count;
    }

    /// What a check was about, in figures.
    fn extent(&self, check: Check) -> String {
        match check {
            Check::Listing => {
                let behind = show_bytes(self.bytes_behind);
                format!(
                    "{} blobs: {} not committed yet, {} gone; {behind} still to commit",
                    self.blobs_listed, self.blobs_new, self.blobs_gone
                )
            }
            Check::Ledger => format!("{} ranges", self.ranges_checked),
            Check::Rows | Check::Places => format!("{} rows and rejects", self.rows_counted),
            Check::Records => {
                let unread = match self.blobs_unread {
                    0 => String::new(),
                    count => format!("; {count} could not be read"),
                };
                let bytes = show_bytes(self.bytes_recounted);
                format!("{} blobs read again, {bytes} (seed {}){unread}", self.blobs_recounted, self.seed)
            }
        }
    }

    /// The table of checks, and under it what does not agree.
    fn table(&self) -> String {
        let mut text = String::new();
        for check in Check::ALL {
            let found = self.disagreements.iter().any(|it| it.check == check);
            let verdict = if found { "FAIL" } else { "ok" };
            text.push_str(&format!("{verdict:4}  {:8}  {}\n", check.name(), self.extent(check)));
        }
        for disagreement in self.disagreements.iter().take(SHOWN_MAX) {
            let blob = disagreement.blob.as_deref().unwrap_or_default();
            let byte = disagreement.byte.map_or_else(String::new, |byte| format!(" at byte {byte}"));
            text.push_str(&format!("\n{}: {blob}{byte}\n    {}", disagreement.check.name(), disagreement.detail));
        }
        if !self.disagreements.is_empty() {
            text.push('\n');
        }
        let shown = self.disagreements.len().min(SHOWN_MAX) as u64;
        if self.disagreement_count > shown {
            let more = self.disagreement_count - shown;
            text.push_str(&format!("\nand {more} more; --format json has the first {DISAGREEMENTS_MAX}\n"));
        }
        text
    }
}

pub(super) async fn run(context: &Context, args: &Verify) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let lake = context.lake(args.lake.lake.as_ref()).await?;
    let session = context.session(lake.snapshot(), &args.engine)?;
    // Each night's sample is another one, and each can be taken again.
    let seed = args.seed.unwrap_or_else(|| lake.last_batch().unsigned_abs());
    let mut verification = Verification { seed, ..Verification::default() };
    context.say("comparing the listing");
    let gone = listing::compare(&archive, &lake, &mut verification).await?;
    context.say("counting rows");
    tables::ledger(&session, &mut verification).await?;
    tables::rows(&session, &lake, &mut verification).await?;
    tables::places(&session, &lake, &mut verification).await?;
    context.say("reading committed bytes again");
    let sample = if args.all { usize::MAX } else { args.sample };
    let display = Display::new(context);
    let source = records::Source { archive: &archive, lake: &lake, session: &session, gone: &gone };
    let compared = records::compare(&source, sample, &display, &mut verification).await;
    display.finish();
    compared?;
    let shape = args.format.unwrap_or(if std::io::stdout().is_terminal() { Shape::Table } else { Shape::Json });
    let text = match shape {
        Shape::Table => verification.table(),
        Shape::Json => json(&verification)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    let count = verification.disagreement_count;
    context.say(if count == 0 { "everything agrees".to_owned() } else { format!("{count} disagreements") });
    if count == 0 { Ok(()) } else { Err(Ended(Exit::Incomplete).into()) }
}
