//! The archive's listing against the positions in the ledger.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use whocalled_fetch::{Archive, ListedBlob};
use whocalled_lake::{BlobState, Lake};

use super::{Check, Disagreement, Verification};
use crate::context::show;

/// Lists everything, page by page, and gives the blobs of the lake that the archive does not have. A
/// blob that is longer than its position is only not committed yet.
pub(super) async fn compare<'a>(
    archive: &Archive,
    lake: &'a Lake,
    verification: &mut Verification,
) -> anyhow::Result<BTreeSet<&'a str>> {
    let positions = lake.positions().await?;
    let mut missing: BTreeSet<&str> = positions.keys().map(String::as_str).collect();
    for container in archive.containers().await? {
        let mut pages = archive.list(&container, "");
        while let Some(page) = pages.try_next().await? {
            for blob in page {
                let name = blob.name.to_string();
                missing.remove(name.as_str());
                verification.blobs_listed += 1;
                let state = positions.get(&name);
                let committed = state.map_or(0, |state| state.position.bytes);
                verification.bytes_behind += blob.bytes.saturating_sub(committed);
                verification.blobs_new += u64::from(state.is_none() && blob.bytes > 0);
                if let Some(detail) = state.and_then(|state| differs(&blob, state)) {
                    verification.disagree(Disagreement::of(Check::Listing, name, blob.bytes.min(committed), detail));
                }
            }
        }
    }
    verification.blobs_gone = missing.len() as u64;
    Ok(missing)
}

/// How a blob differs from what is committed of it.
fn differs(blob: &ListedBlob, state: &BlobState) -> Option<String> {
    let committed = state.position.bytes;
    if blob.bytes < committed {
        return Some(format!(
            "the blob has {} bytes, and {committed} are committed; `convert` reads it anew",
            blob.bytes
        ));
    }
    match (blob.created_at, state.created_at) {
        (Some(now), Some(then)) if now != then => Some(format!(
            "the blob was created at {}, and what is committed is of one created at {}; `convert` reads it anew",
            show(now),
            show(then)
        )),
        _ => None,
    }
}
