//! `whocalled status`: what is committed, by container and resource.

use whocalled_report::{Format, Parameters};

use super::output::to_stdout;
use crate::args::Status;
use crate::context::Context;

/// The last generation of every blob, added up. A blob's name is its container, then its resource
/// up to the hour.
const STATUS: &str = "
WITH ranges AS (
    SELECT *, max(generation) OVER (PARTITION BY blob) AS last_generation
    FROM ledger WHERE kind = 'range'
), blobs AS (
    SELECT blob,
           split_part(blob, '/', 1) AS container,
           coalesce(regexp_replace(substr(blob, strpos(blob, '=') + 1), '/[yY]=.*$', ''), '') AS resource,
           max(to_bytes) AS committed_bytes,
           max(listed_bytes) AS listed_bytes,
           sum(row_count) AS row_count,
           sum(reject_count) AS reject_count,
           max(modified_at) AS modified_at,
           max(committed_at) AS committed_at,
           max(batch) AS last_batch
    FROM ranges WHERE generation = last_generation
    GROUP BY blob
)
SELECT container, resource, count(*) AS blobs, sum(committed_bytes) AS committed_bytes,
       sum(listed_bytes - committed_bytes) AS torn_bytes, sum(row_count) AS rows, sum(reject_count) AS rejects,
       max(modified_at) AS last_modified_at, max(committed_at) AS last_committed_at, max(last_batch) AS last_batch
FROM blobs GROUP BY container, resource ORDER BY container, resource";

pub(super) async fn run(context: &Context, args: &Status) -> anyhow::Result<()> {
    let format = context.format(args.format.as_ref(), Format::Table)?;
    let lake = context.lake(args.lake.lake.as_ref()).await?;
    let unapplied: Vec<&str> = lake.unapplied().map(|table| table.name()).collect();
    if !unapplied.is_empty() {
        context.say(format!(
            "batch {} is decided and not yet applied to {}: the next convert applies it",
            lake.last_batch(),
            unapplied.join(", ")
        ));
    }
    let session = context.session(&lake, &args.engine).await?;
    to_stdout(session.query(STATUS, &Parameters::new()).await?, format).await?;
    Ok(())
}
