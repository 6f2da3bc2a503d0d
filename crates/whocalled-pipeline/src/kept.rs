//! Receipts in the lake: what the last runs have seen, and whether another is at work.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use whocalled_fetch::Archive;
use whocalled_lake::Lake;

use crate::Error;
use crate::receipt::{Receipt, RunState};
use crate::run::Options;
use crate::scope::Seen;

/// How many of the last receipts are looked at.
const LOOK_BACK_COUNT: usize = 20;
/// How long a run at work may say nothing before it is taken for killed. It speaks after each batch.
const SILENCE_MAX: TimeDelta = TimeDelta::minutes(10);
/// How often a run that waits looks again.
const WAIT: Duration = Duration::from_secs(2);

/// What of a receipt later runs go by.
#[derive(Debug, Deserialize)]
struct Kept {
    run_id: String,
    archive: String,
    state: RunState,
    finished_at: DateTime<Utc>,
    seen: Seen,
}

/// Writes a receipt to the lake, over what the run wrote before.
pub(crate) async fn keep(lake: &Lake, receipt: &Receipt) -> Result<(), Error> {
    let json = serde_json::to_vec(receipt).map_err(|error| Error::Receipt { source: error })?;
    Ok(lake.put_receipt(receipt.started_at, &receipt.run_id, &json).await?)
}

/// What the last run over the archive has seen of it; nothing where there was none.
pub(crate) async fn seen(lake: &Lake, archive: &Archive) -> Result<Seen, Error> {
    let last = last(lake).await?.into_iter().find(|it| it.archive == archive.display());
    Ok(last.map_or_else(Seen::default, |it| it.seen))
}

/// The last receipts, the newest first. One that cannot be read says nothing.
async fn last(lake: &Lake) -> Result<Vec<Kept>, Error> {
    let receipts = lake.receipts(LOOK_BACK_COUNT).await?;
    Ok(receipts.iter().filter_map(|it| serde_json::from_slice(&it.json).ok()).collect())
}

/// Waits until no other run is at work on the lake, and loads what it committed. `waits` is told once
/// of a run that is waited for.
///
/// # Errors
/// Whatever keeps the lake from being read or recovered.
pub async fn wait_for_others(lake: &mut Lake, options: &Options, waits: &dyn Fn(&str)) -> Result<(), Error> {
    let mut told = false;
    loop {
        let now = (options.clock)();
        let is_at_work = |it: &Kept| {
            it.state == RunState::Running && it.run_id != options.run_id && now - it.finished_at < SILENCE_MAX
        };
        let Some(other) = last(lake).await?.into_iter().find(is_at_work) else { break };
        if !told {
            waits(&other.run_id);
            told = true;
        }
        if options.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        tokio::time::sleep(WAIT).await;
    }
    lake.recover((options.clock)()).await?;
    Ok(())
}
