//! The tables against the ledger, and the ledger against itself, in SQL.

use whocalled_lake::Lake;
use whocalled_report::{Parameters, Session, Value};
use whocalled_types::Table;

use super::rows::{all_rows, count, first_rows, of_every_table, text};
use super::{Check, DISAGREEMENTS_MAX, Disagreement, Verification};

/// How many rows' places are compared with each other at a time.
const PLACES_ROWS_MAX: u64 = 4 << 20;

/// Whether the ranges of every generation follow each other from its first byte on, the generations
/// each other from the first, and every range's counts add up.
const BROKEN_RANGES: &str = "
    WITH ranges AS (
        SELECT blob, generation, batch, from_bytes, to_bytes, listed_bytes, record_count, row_count, reject_count,
               coalesce(lag(to_bytes) OVER of_generation, 0) AS reached_bytes,
               lag(generation, 1, -1) OVER of_blob AS generation_before
        FROM ledger WHERE kind = 'range'
        WINDOW of_generation AS (PARTITION BY blob, generation ORDER BY batch, from_bytes, to_bytes),
               of_blob AS (PARTITION BY blob ORDER BY generation, batch, from_bytes, to_bytes)
    )
    SELECT * FROM ranges
    WHERE from_bytes <> reached_bytes OR to_bytes < from_bytes OR listed_bytes < to_bytes
       OR record_count <> row_count + reject_count OR generation - generation_before NOT IN (0, 1)
    ORDER BY blob, generation, from_bytes";

/// Holds the ledger's ranges against each other.
pub(super) async fn ledger(session: &Session, verification: &mut Verification) -> anyhow::Result<()> {
    let counted = all_rows(session, "SELECT count(blob) AS ranges FROM ledger WHERE kind = 'range'").await?;
    verification.ranges_checked = counted.first().map_or(0, |row| count(row, "ranges"));
    let (rows, all) = first_rows(session, BROKEN_RANGES, &Parameters::new(), DISAGREEMENTS_MAX).await?;
    verification.disagree_unseen(all - rows.len() as u64);
    for row in rows {
        let number = |column: &str| row[column].as_i64().unwrap_or_default();
        let (from, to) = (number("from_bytes"), number("to_bytes"));
        let detail = if from != number("reached_bytes") {
            format!("begins at {from}, and the one before it ends at {}", number("reached_bytes"))
        } else if to < from || number("listed_bytes") < to {
            format!("goes from {from} to {to} of {} listed bytes", number("listed_bytes"))
        } else if !(0..=1).contains(&(number("generation") - number("generation_before"))) {
            format!("follows generation {}", number("generation_before"))
        } else {
            let counts = ["record_count", "row_count", "reject_count"].map(number);
            format!("has {} records, {} rows and {} rejects", counts[0], counts[1], counts[2])
        };
        let detail = format!("batch {}: the range of generation {} {detail}", number("batch"), number("generation"));
        let at = u64::try_from(from).unwrap_or_default();
        verification.disagree(Disagreement::of(Check::Ledger, text(&row, "blob"), at, detail));
    }
    Ok(())
}

/// The counts of every blob's rows, by generation, that are not what the ledger has.
fn differing_counts() -> String {
    let counted = of_every_table(|table| {
        let counts = if table == Table::Rejects { "0 AS row_count, count(*)" } else { "count(*) AS row_count, 0" };
        format!(
            "SELECT blob, generation, {counts} AS reject_count, max(blob_offset) AS last_offset
             FROM {table} GROUP BY blob, generation"
        )
    });
    format!(
        "WITH counted AS (
            SELECT blob, generation, sum(row_count) AS row_count, sum(reject_count) AS reject_count,
                   max(last_offset) AS last_offset
            FROM ({counted}) GROUP BY blob, generation
        ), said AS (
            SELECT blob, generation, sum(row_count) AS row_count, sum(reject_count) AS reject_count,
                   max(to_bytes) AS committed_bytes
            FROM (SELECT *, max(generation) OVER (PARTITION BY blob) AS last_generation
                  FROM ledger WHERE kind = 'range')
            WHERE generation = last_generation GROUP BY blob, generation
        ), compared AS (
            SELECT coalesce(said.blob, counted.blob) AS blob,
                   coalesce(said.generation, counted.generation) AS generation,
                   said.blob IS NOT NULL AS known,
                   coalesce(said.row_count, 0) AS said_rows, coalesce(said.reject_count, 0) AS said_rejects,
                   coalesce(counted.row_count, 0) AS row_count, coalesce(counted.reject_count, 0) AS reject_count,
                   coalesce(said.committed_bytes, 0) AS committed_bytes, coalesce(counted.last_offset, -1) AS last_offset
            FROM said FULL JOIN counted ON said.blob = counted.blob AND said.generation = counted.generation
        )
        SELECT * FROM compared
        WHERE row_count <> said_rows OR reject_count <> said_rejects OR last_offset >= committed_bytes AND last_offset >= 0
        ORDER BY blob, generation"
    )
}

/// Counts every table's rows by blob, and holds them against the ledger and against Delta's log.
pub(super) async fn rows(session: &Session, lake: &Lake, verification: &mut Verification) -> anyhow::Result<()> {
    let counted = of_every_table(|table| {
        format!(
            "SELECT '{table}' AS table_name, sum(n) AS row_count FROM (SELECT count(*) AS n FROM {table} GROUP BY blob)"
        )
    });
    for row in all_rows(session, &counted).await? {
        let row_count = count(&row, "row_count");
        verification.rows_counted += row_count;
        let Some(table) = Table::from_name(text(&row, "table_name")) else { continue };
        let logged: Option<u64> = lake.files(table)?.iter().map(|file| file.row_count).sum();
        if logged.is_some_and(|logged| logged != row_count) {
            let detail = format!(
                "table {table} has {row_count} rows in its files, and {} by its Delta log",
                logged.unwrap_or_default()
            );
            verification.disagree(Disagreement { check: Check::Rows, blob: None, byte: None, detail, count: 1 });
        }
    }
    let (rows, all) = first_rows(session, &differing_counts(), &Parameters::new(), DISAGREEMENTS_MAX).await?;
    verification.disagree_unseen(all - rows.len() as u64);
    for row in rows {
        let (generation, position) = (count(&row, "generation"), count(&row, "committed_bytes"));
        let last_offset = row["last_offset"].as_u64();
        let (has_rows, has_rejects) = (count(&row, "row_count"), count(&row, "reject_count"));
        let detail = if row["known"] == false {
            format!(
                "generation {generation} has {has_rows} rows and {has_rejects} rejects, and is not the blob's last in the ledger"
            )
        } else if last_offset.is_some_and(|at| at >= position) {
            format!("there is a row of byte {}, and {position} bytes are committed", last_offset.unwrap_or_default())
        } else {
            format!(
                "{has_rows} rows and {has_rejects} rejects are in the tables, and {} and {} by the ledger; `--all` names the byte",
                count(&row, "said_rows"),
                count(&row, "said_rejects")
            )
        };
        let byte = last_offset.filter(|at| *at >= position);
        let blob = Some(text(&row, "blob").to_owned());
        verification.disagree(Disagreement { check: Check::Rows, blob, byte, detail, count: 1 });
    }
    Ok(())
}

/// Whether `(blob, generation, blob_offset)` occurs once, over all tables. Looked at a part of the
/// blobs at a time, so that memory does not grow with the lake.
pub(super) async fn places(session: &Session, lake: &Lake, verification: &mut Verification) -> anyhow::Result<()> {
    let (mut after, mut row_count) = (None, 0);
    for (blob, state) in lake.positions().await? {
        row_count += state.row_count + state.reject_count;
        if row_count >= PLACES_ROWS_MAX {
            places_between(session, after, Some(blob), verification).await?;
            (after, row_count) = (Some(blob), 0);
        }
    }
    places_between(session, after, None, verification).await
}

async fn places_between(
    session: &Session,
    after: Option<&String>,
    upto: Option<&String>,
    verification: &mut Verification,
) -> anyhow::Result<()> {
    let mut parameters = Parameters::new();
    let mut conditions = Vec::new();
    for (name, bound, condition) in [("after", after, "blob > $after"), ("upto", upto, "blob <= $upto")] {
        if let Some(bound) = bound {
            parameters = parameters.with(name, Value::Text(bound.clone()));
            conditions.push(condition);
        }
    }
    let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let rows = of_every_table(|table| {
        format!("SELECT blob, generation, blob_offset, '{table}' AS table_name FROM {table}{filter}")
    });
    let sql = format!(
        "SELECT blob, generation, blob_offset, count(*) AS n, min(table_name) AS first_table, max(table_name) AS last_table
         FROM ({rows}) GROUP BY blob, generation, blob_offset HAVING count(*) > 1
         ORDER BY blob, generation, blob_offset"
    );
    let (rows, all) = first_rows(session, &sql, &parameters, DISAGREEMENTS_MAX).await?;
    verification.disagree_unseen(all - rows.len() as u64);
    for row in rows {
        let (first, last) = (text(&row, "first_table"), text(&row, "last_table"));
        let tables = if first == last { first.to_owned() } else { format!("{first} and {last}") };
        let detail =
            format!("the record is {} times in {tables}, generation {}", count(&row, "n"), count(&row, "generation"));
        verification.disagree(Disagreement::of(Check::Places, text(&row, "blob"), count(&row, "blob_offset"), detail));
    }
    Ok(())
}
