//! Small answers of a session: some rows as JSON, and how many more there are.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use whocalled_report::{Answer, Format, Parameters, Session, render};
use whocalled_types::Table;

/// The first rows of an answer, at most `count_max` of them, and how many it has in all.
pub(super) async fn first_rows(
    session: &Session,
    sql: &str,
    parameters: &Parameters,
    count_max: usize,
) -> anyhow::Result<(Vec<Value>, u64)> {
    let Answer { schema, mut batches } = session.query(sql, parameters).await?;
    let (mut rows, mut count) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await? {
        count += batch.num_rows() as u64;
        let wanted = batch.num_rows().min(count_max - rows.len());
        if wanted == 0 {
            continue;
        }
        let kept = stream::iter([Ok(batch.slice(0, wanted))]).boxed();
        let mut text = Vec::new();
        render(Answer { schema: Arc::clone(&schema), batches: kept }, Format::Ndjson, &mut text).await?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            rows.push(serde_json::from_slice(line)?);
        }
    }
    Ok((rows, count))
}

/// All rows of an answer that is known to be small.
pub(super) async fn all_rows(session: &Session, sql: &str) -> anyhow::Result<Vec<Value>> {
    Ok(first_rows(session, sql, &Parameters::new(), usize::MAX).await?.0)
}

/// The same statement over every table that holds rows of records, one below the other.
pub(super) fn of_every_table(select: impl Fn(Table) -> String) -> String {
    Table::data().map(select).collect::<Vec<_>>().join(" UNION ALL ")
}

/// A column of a row as a count; 0 where it is NULL.
pub(super) fn count(row: &Value, column: &str) -> u64 {
    row[column].as_u64().unwrap_or_default()
}

/// A column of a row as text; empty where it is NULL.
pub(super) fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}
