//! The committed bytes of some blobs, read, hashed and decoded again, against the ledger and the rows.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{StreamExt, TryStreamExt, stream};
use whocalled_fetch::Archive;
use whocalled_lake::{BlobState, Lake};
use whocalled_pipeline::{CommittedRange, Recounted, Recounter};
use whocalled_report::Session;
use whocalled_types::{BlobName, ErrorKind, Framing, Limits, Table};

use super::rows::{all_rows, count, of_every_table, text};
use super::{Check, Disagreement, Verification};
use crate::commands::progress::Display;

/// How many blobs are compared at a time, and with about how many records.
const CHUNK_BLOBS: usize = 64;
const CHUNK_RECORDS: u64 = 4 << 20;
/// How many blobs are read at the same time.
const CONCURRENT_BLOBS: usize = 8;

/// A blob of the sample.
type Chosen<'a> = (&'a str, &'a BlobState);

/// What is compared with what.
pub(super) struct Source<'a> {
    pub(super) archive: &'a Archive,
    pub(super) lake: &'a Lake,
    pub(super) session: &'a Session,
    /// Blobs that the archive does not have, and that cannot be read therefore.
    pub(super) gone: &'a BTreeSet<&'a str>,
}

/// Reads the committed bytes of `sample` blobs again; which ones follows from the seed.
pub(super) async fn compare(
    source: &Source<'_>,
    sample: usize,
    display: &Display,
    verification: &mut Verification,
) -> anyhow::Result<()> {
    let limits = Limits::STANDARD;
    let session = source.session;
    let recounter = Recounter::new(source.archive, &limits);
    let chosen = choose(source, source.lake.positions().await?, sample, verification.seed);
    display.begun(chosen.iter().map(|(_, state)| state.position.bytes).sum());
    let mut rest = chosen.as_slice();
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(chunk_length(rest));
        rest = others;
        let ranges = committed_ranges(session, chunk).await?;
        let recounts = stream::iter(chunk.iter().map(|chosen| recount(&recounter, *chosen, &ranges, display)));
        let recounts: Vec<_> = recounts.buffered(CONCURRENT_BLOBS).try_collect().await?;
        let counted = sums_in_tables(session, chunk).await?;
        for ((blob, state), recounted) in chunk.iter().zip(recounts) {
            match recounted {
                Ok(recounted) => hold_against(session, (blob, state), &recounted, &counted, verification).await?,
                // Shrunken, which the listing has told; or offline, or gone since.
                Err(error) if error.kind() == ErrorKind::Skip => verification.blobs_unread += 1,
                Err(error) => {
                    verification.blobs_unread += 1;
                    verification.disagree(Disagreement::of(Check::Records, *blob, 0, format!("not read: {error}")));
                }
            }
        }
    }
    Ok(())
}

/// The blobs of the sample by name: those whose names come first when hashed with the seed.
fn choose<'a>(
    source: &Source<'a>,
    positions: &'a BTreeMap<String, BlobState>,
    sample: usize,
    seed: u64,
) -> Vec<Chosen<'a>> {
    let there =
        positions.iter().filter(|(blob, state)| state.position.bytes > 0 && !source.gone.contains(blob.as_str()));
    let mut chosen: Vec<Chosen<'_>> = if sample == usize::MAX {
        there.map(|(blob, state)| (blob.as_str(), state)).collect()
    } else {
        let mut first = BinaryHeap::new();
        for (blob, _) in there {
            let mut hasher = DefaultHasher::new();
            (seed, blob).hash(&mut hasher);
            first.push((hasher.finish(), blob.as_str()));
            if first.len() > sample {
                first.pop();
            }
        }
        first.into_iter().filter_map(|(_, blob)| Some((blob, positions.get(blob)?))).collect()
    };
    chosen.sort_unstable_by_key(|(blob, _)| *blob);
    chosen
}

/// How many of the first blobs are compared together.
fn chunk_length(chosen: &[Chosen<'_>]) -> usize {
    let mut record_count = 0;
    let fits = chosen.iter().take(CHUNK_BLOBS).take_while(|(_, state)| {
        let fits = record_count == 0 || record_count < CHUNK_RECORDS;
        record_count += state.row_count + state.reject_count;
        fits
    });
    fits.count().max(1)
}

/// The names as a list in SQL.
fn quoted(chunk: &[Chosen<'_>]) -> String {
    chunk.iter().map(|(blob, _)| quote(blob)).collect::<Vec<_>>().join(", ")
}

fn quote(blob: &str) -> String {
    format!("'{}'", blob.replace('\'', "''"))
}

/// The ranges of each blob's last generation, in order.
async fn committed_ranges(
    session: &Session,
    chunk: &[Chosen<'_>],
) -> anyhow::Result<BTreeMap<String, Vec<CommittedRange>>> {
    let sql = format!(
        "SELECT blob, generation, from_bytes, to_bytes, framing, tail_bytes, tail_hash, row_count, reject_count
         FROM ledger WHERE kind = 'range' AND blob IN ({})
         ORDER BY blob, generation, batch, from_bytes, to_bytes",
        quoted(chunk)
    );
    let mut ranges: BTreeMap<String, Vec<CommittedRange>> = BTreeMap::new();
    let generations: BTreeMap<&str, u32> =
        chunk.iter().map(|(blob, state)| (*blob, state.position.generation)).collect();
    for row in all_rows(session, &sql).await? {
        let blob = text(&row, "blob");
        if generations.get(blob).is_none_or(|generation| u64::from(*generation) != count(&row, "generation")) {
            continue;
        }
        ranges.entry(blob.to_owned()).or_default().push(CommittedRange {
            from: count(&row, "from_bytes"),
            to: count(&row, "to_bytes"),
            framing: Framing::from_name(text(&row, "framing")).unwrap_or_default(),
            tail_bytes: count(&row, "tail_bytes"),
            tail_hash: text(&row, "tail_hash").to_owned(),
            row_count: count(&row, "row_count"),
            reject_count: count(&row, "reject_count"),
        });
    }
    Ok(ranges)
}

/// Recounts a blob. A failure that is not the blob's own ends the verification.
async fn recount(
    recounter: &Recounter<'_>,
    (blob, state): Chosen<'_>,
    ranges: &BTreeMap<String, Vec<CommittedRange>>,
    display: &Display,
) -> anyhow::Result<Result<Recounted, whocalled_fetch::Error>> {
    let (Some(name), Some(ranges)) = (BlobName::from_column(blob), ranges.get(blob)) else {
        return Ok(Ok(Recounted::default()));
    };
    let recounted = recounter.blob(&name, state.position.generation, ranges).await;
    display.advanced(state.position.bytes);
    match recounted {
        Ok(recounted) => Ok(Ok(recounted)),
        Err(whocalled_pipeline::Error::Archive(error)) if error.kind() != ErrorKind::Abort || is_of_blob(&error) => {
            Ok(Err(error))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_of_blob(error: &whocalled_fetch::Error) -> bool {
    matches!(error, whocalled_fetch::Error::File { .. })
}

/// How many rows of a blob's generation a table has, and two sums over their offsets, by which a
/// difference shows without the offsets themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    count: i64,
    sum: i64,
    xor: i64,
}

impl Sums {
    fn of(offsets: &[i64]) -> Self {
        offsets.iter().fold(Self::default(), |sums, offset| Self {
            count: sums.count + 1,
            sum: sums.sum.wrapping_add(*offset),
            xor: sums.xor ^ offset,
        })
    }
}

async fn sums_in_tables(
    session: &Session,
    chunk: &[Chosen<'_>],
) -> anyhow::Result<BTreeMap<(String, i64, String), Sums>> {
    let names = quoted(chunk);
    let sql = of_every_table(|table| {
        format!(
            "SELECT blob, generation, '{table}' AS table_name, count(*) AS n, sum(blob_offset) AS offset_sum,
                    bit_xor(blob_offset) AS offset_xor
             FROM {table} WHERE blob IN ({names}) GROUP BY blob, generation"
        )
    });
    let number = |row: &serde_json::Value, column: &str| row[column].as_i64().unwrap_or_default();
    Ok(all_rows(session, &sql)
        .await?
        .iter()
        .map(|row| {
            let key = (text(row, "blob").to_owned(), number(row, "generation"), text(row, "table_name").to_owned());
            let sums = Sums { count: number(row, "n"), sum: number(row, "offset_sum"), xor: number(row, "offset_xor") };
            (key, sums)
        })
        .collect())
}

/// Holds what a blob's bytes hold against the rows that are in the tables.
async fn hold_against(
    session: &Session,
    (blob, state): (&str, &BlobState),
    recounted: &Recounted,
    counted: &BTreeMap<(String, i64, String), Sums>,
    verification: &mut Verification,
) -> anyhow::Result<()> {
    verification.blobs_recounted += 1;
    verification.bytes_recounted += recounted.bytes;
    if let Some(mismatch) = &recounted.mismatch {
        verification.disagree(Disagreement::of(Check::Records, blob, mismatch.at, mismatch.detail.clone()));
        return Ok(());
    }
    let generation = i64::from(state.position.generation);
    for table in Table::data() {
        let offsets = recounted.offsets.get(&table).map_or(&[][..], Vec::as_slice);
        let key = (blob.to_owned(), generation, table.name().to_owned());
        let in_table = counted.get(&key).copied().unwrap_or_default();
        if in_table == Sums::of(offsets) {
            continue;
        }
        let (at, what) = first_difference(session, blob, generation, table, offsets).await?;
        let detail = format!(
            "{} records are of table {table}, which has {} rows of the blob: {what}",
            offsets.len(),
            in_table.count
        );
        verification.disagree(Disagreement::of(Check::Records, blob, at, detail));
    }
    Ok(())
}

/// The first byte at which a record has no row, or a row no record.
async fn first_difference(
    session: &Session,
    blob: &str,
    generation: i64,
    table: Table,
    offsets: &[i64],
) -> anyhow::Result<(u64, &'static str)> {
    let sql = format!(
        "SELECT blob_offset FROM {table} WHERE blob = {} AND generation = {generation} ORDER BY blob_offset",
        quote(blob)
    );
    let rows = all_rows(session, &sql).await?;
    let in_table: Vec<i64> = rows.iter().filter_map(|row| row["blob_offset"].as_i64()).collect();
    let same = offsets.iter().zip(&in_table).take_while(|(left, right)| left == right).count();
    let (record, row) = (offsets.get(same).copied(), in_table.get(same).copied());
    let (at, what) = match (record, row) {
        (Some(record), row) if row.is_none_or(|row| record < row) => (record, "the record here has no row"),
        (_, Some(row)) => (row, "the row of this byte has no record, or is there twice"),
        _ => (0, "they are the same now"),
    };
    Ok((u64::try_from(at).unwrap_or_default(), what))
}
