//! `whocalled verify`: holds a lake against its archive.

use std::collections::BTreeMap;
use std::io::Write;

use futures::TryStreamExt;
use serde::Serialize;
use whocalled_fetch::Archive;
use whocalled_lake::{BlobState, Lake};
use whocalled_report::{Format, Parameters, Session, render};
use whocalled_types::{BlobName, Table};

use super::output::json;
use crate::args::Verify;
use crate::context::Context;
use crate::exit::{Ended, Exit};

/// What was compared, and what does not agree.
#[derive(Debug, Default, Serialize)]
struct Verification {
    blobs_listed: u64,
    /// Blobs of the lake that the archive no longer has, which a lifecycle rule may explain.
    blobs_gone: u64,
    /// Bytes of the archive that are not committed yet.
    bytes_behind: u64,
    hashes_compared: u64,
    rows_counted: u64,
    /// Sentences, one for each thing that does not agree.
    disagreements: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &Verify) -> anyhow::Result<()> {
    let archive = context.archive(args.archive.archive.as_ref(), &args.archive.auth).await?;
    let lake = context.lake(args.lake.lake.as_ref()).await?;
    let session = context.session(&lake, &args.engine).await?;
    let mut verification = Verification::default();
    lengths(&archive, &lake, &mut verification).await?;
    let sample = if args.all { usize::MAX } else { args.sample };
    hashes(&archive, &lake, sample, &mut verification).await?;
    counts(&session, &lake, &mut verification).await?;
    context.say(format!(
        "{} blobs, {} hashes and {} rows compared: {} disagreements",
        verification.blobs_listed,
        verification.hashes_compared,
        verification.rows_counted,
        verification.disagreements.len()
    ));
    std::io::stdout().write_all(json(&verification)?.as_bytes())?;
    if verification.disagreements.is_empty() { Ok(()) } else { Err(Ended(Exit::Incomplete).into()) }
}

/// Compares the lengths of the archive's blobs with their positions.
async fn lengths(archive: &Archive, lake: &Lake, verification: &mut Verification) -> anyhow::Result<()> {
    let mut missing: BTreeMap<&str, &BlobState> =
        lake.positions().iter().map(|(blob, state)| (&**blob, state)).collect();
    for container in archive.containers().await? {
        let mut pages = archive.list(&container, "");
        while let Some(page) = pages.try_next().await? {
            for blob in page {
                verification.blobs_listed += 1;
                let name = blob.name.to_string();
                let committed = missing.remove(name.as_str()).map_or(0, |state| state.position.bytes);
                if blob.bytes < committed {
                    let text = format!("blob {name} has {} bytes, of which {committed} are committed", blob.bytes);
                    verification.disagreements.push(text);
                } else {
                    verification.bytes_behind += blob.bytes - committed;
                }
            }
        }
    }
    verification.blobs_gone = missing.len() as u64;
    Ok(())
}

/// Reads the last committed bytes of some blobs again, spread over all of them.
async fn hashes(archive: &Archive, lake: &Lake, sample: usize, verification: &mut Verification) -> anyhow::Result<()> {
    let blob_count = lake.positions().len();
    let step = (blob_count / sample.max(1)).max(1);
    for (blob, state) in lake.positions().iter().step_by(step) {
        let position = &state.position;
        let Some(name) = BlobName::from_column(blob) else { continue };
        let tail = match archive.read(&name, position.bytes - position.tail_bytes..position.bytes).await {
            Ok(tail) => tail,
            // Gone or shrunken, which the lengths have told.
            Err(error) if error.kind() == whocalled_types::ErrorKind::Skip => continue,
            Err(error) => return Err(error.into()),
        };
        verification.hashes_compared += 1;
        if whocalled_pipeline::tail_hash(&tail) != position.tail_hash {
            let text = format!("blob {blob} has other bytes before {} than were committed", position.bytes);
            verification.disagreements.push(text);
        }
    }
    Ok(())
}

/// Counts the rows of every blob, and compares them with the ledger.
async fn counts(session: &Session, lake: &Lake, verification: &mut Verification) -> anyhow::Result<()> {
    let mut counted: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for table in Table::data() {
        let sql = format!("SELECT blob, count(*) AS row_count FROM {table} GROUP BY blob");
        let mut text = Vec::new();
        render(session.query(&sql, &Parameters::new()).await?, Format::Ndjson, &mut text).await?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: serde_json::Value = serde_json::from_slice(line)?;
            let (blob, count) =
                (row["blob"].as_str().unwrap_or_default(), row["row_count"].as_u64().unwrap_or_default());
            let counts = counted.entry(blob.to_owned()).or_default();
            if table == Table::Rejects {
                counts.1 += count;
            } else {
                counts.0 += count;
            }
            verification.rows_counted += count;
        }
    }
    for (blob, state) in lake.positions() {
        let (rows, rejects) = counted.remove(blob).unwrap_or_default();
        if (rows, rejects) != (state.row_count, state.reject_count) {
            verification.disagreements.push(format!(
                "blob {blob} has {rows} rows and {rejects} rejects, and the ledger {} and {}",
                state.row_count, state.reject_count
            ));
        }
    }
    let unknown = counted.into_keys().map(|blob| format!("blob {blob} has rows, and the ledger does not know it"));
    verification.disagreements.extend(unknown);
    Ok(())
}
