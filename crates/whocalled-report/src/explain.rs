//! The evidence behind one call, line by line, and where its raw records are.

mod show;

use arrow::json::ArrayWriter;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde_json::{Map, Value as Json};

use crate::error::Error;
use crate::parameters::{Parameters, Value};
use crate::scope::{Places, Scope, instant, literals};
use crate::session::{Answer, Session};
use crate::weights::Weights;

/// What the lake knows about a correlation id.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The id that was asked for, in lower case.
    pub correlation_id: String,
    /// The calls that have it: one, but for accounts of different services that share an id.
    pub calls: Vec<ExplainedCall>,
    /// Every record that has it, re-deliveries too, the earliest first.
    pub records: Vec<RecordSource>,
}

/// A call, who made it, and why that is said.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedCall {
    /// When it was logged.
    pub time: DateTime<Utc>,
    /// The account's resource id.
    pub resource_id: String,
    /// What was called.
    pub operation: Option<String>,
    /// The HTTP status of the answer.
    pub status: Option<i64>,
    /// The caller's address as logged, masked.
    pub caller_ip: Option<String>,
    /// `object_id`, `gateway`, `key_holder` or `none`.
    pub tier: String,
    /// Who made it; none in the tier `none`.
    pub principal_id: Option<String>,
    /// The principal's name, where a log gives one.
    pub principal_name: Option<String>,
    /// The probability that this principal made it.
    pub confidence: Option<f64>,
    /// Why nothing better can be said, as a code of `attributed_calls`.
    pub reason: Option<String>,
    /// How many principals were weighed.
    pub candidate_count: i64,
    /// The candidates that are listed, likeliest first.
    pub candidates: Vec<Candidate>,
}

/// A candidate for having made a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who; none for the caller whom no log names.
    pub principal_id: Option<String>,
    /// The principal's name, where a log gives one.
    pub principal_name: Option<String>,
    /// The probability that it made the call.
    pub confidence: f64,
    /// The sum of the contributions.
    pub score: f64,
    /// What was weighed.
    pub evidence: Vec<Evidence>,
}

/// A line of evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Its name in the view `weights`, or `candidates`.
    pub name: String,
    /// What it says.
    pub sentence: String,
    /// What it adds to the score.
    pub contribution: f64,
}

/// Where a raw record is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSource {
    /// The table that has its row.
    pub table: String,
    /// The time in the record.
    pub time: DateTime<Utc>,
    /// The blob, as `container/name`.
    pub blob: String,
    /// The generation of the blob.
    pub generation: i64,
    /// Where the record begins, in bytes.
    pub blob_offset: u64,
}

/// Explains the call that has this correlation id.
///
/// # Errors
/// [`Error::UnknownCall`] when no data-plane record has it; else as of a query.
pub async fn explain(session: &Session, correlation_id: &str) -> Result<Explanation, Error> {
    let correlation_id = correlation_id.trim().to_ascii_lowercase();
    let parameters = Parameters::new().with("id", Value::Text(correlation_id.clone()));
    let rows_of_calls = rows(session.query(RECORDS_OF_CALLS, &parameters).await?).await?;
    let mut records: Vec<RecordSource> = rows_of_calls.iter().filter_map(record).collect();
    let days = || records.iter().map(|it| it.time.date_naive());
    let (Some(first), Some(last)) = (days().min(), days().max()) else {
        return Err(Error::UnknownCall { correlation_id });
    };
    let texts = |column| rows_of_calls.iter().filter_map(|row| text(row, column)).collect::<Vec<_>>();
    let places = Places { accounts: texts("resource_id"), prefixes: texts("ip_prefix") };
    let hours = texts("hour").iter().map(|hour| instant(hour)).collect::<Vec<_>>().join(", ");
    let slots = SLOTS
        .replace("$accounts", &literals(&places.accounts))
        .replace("$prefixes", &literals(&[places.prefixes.as_slice(), &[String::new()]].concat()))
        .replace("$hours", &hours);
    let scope = Scope::of_places(first..=last, places);
    let within = async |sql: &str| rows(session.query_within(sql, &parameters, scope.clone()).await?).await;
    // The slots first: with their numbers in the statement, the evidence of no others is read.
    let candidates = async {
        let slots = within(&slots).await?;
        let slots: Vec<String> = slots.iter().filter_map(|row| Some(integer(row, "slot")?.to_string())).collect();
        let slots = if slots.is_empty() { "NULL".to_owned() } else { slots.join(", ") };
        within(&CANDIDATES.replace("$slots", &slots)).await
    };
    let others = async { rows(session.query(OTHER_RECORDS, &parameters).await?).await };
    let (mut candidates, calls, others) = tokio::try_join!(candidates, within(CALLS), others)?;
    records.extend(others.iter().filter_map(record));
    records.sort_by(|left, right| {
        (left.time, &left.blob, left.blob_offset).cmp(&(right.time, &right.blob, right.blob_offset))
    });
    candidates.sort_by_key(|candidate| integer(candidate, "rank"));
    let calls = calls
        .iter()
        .filter_map(|row| {
            let resource_id = text(row, "resource_id")?;
            let of_call = candidates.iter().filter(|it| text(it, "resource_id").as_ref() == Some(&resource_id));
            let candidates = of_call.map(|it| candidate(it, session.weights())).collect();
            call(row, resource_id, candidates)
        })
        .collect();
    Ok(Explanation { correlation_id, calls, records })
}

const RECORDS_OF_CALLS: &str = "
    SELECT 'request_response' AS record_table, time, blob, generation, blob_offset, resource_id, ip_prefix,
      date_trunc('hour', coalesce(request_time, time)) AS hour
    FROM request_response WHERE correlation_id = $id";

const OTHER_RECORDS: &str = "
    SELECT 'request_usage' AS record_table, time, blob, generation, blob_offset
    FROM request_usage WHERE correlation_id = $id
    UNION ALL
    SELECT 'gateway', time, blob, generation, blob_offset FROM gateway WHERE backend_correlation_id = $id";

const CALLS: &str = "
    SELECT time, resource_id, operation, status, caller_ip, tier, principal_id, principal_name, confidence, reason,
      candidates
    FROM attributed_calls WHERE correlation_id = $id ORDER BY time, resource_id";

/// The slots that the call may be in: those at the places of its records, in their hours.
const SLOTS: &str = "
    SELECT s.slot FROM places AS p JOIN slots AS s ON s.place = p.place
    WHERE p.account_id IN ($accounts) AND p.ip_prefix IN ($prefixes) AND s.hour IN ($hours)";

/// In no order: where all have the same rank, DataFusion 55 plans to sort what need not be, and refuses its plan.
const CANDIDATES: &str = "
    SELECT a.resource_id, a.rank, a.principal_id, p.principal_name, a.confidence, a.score, a.prefix_score, a.rarity_score, a.digits_score,
      a.entra_score, a.hours_score, a.deployment_score, a.habit_score, a.recency_score, a.repeated_score, a.deliberate_score,
      a.rotation_score, a.candidates_score, a.unseen_score, a.address, a.rarity, a.digits, a.entra, a.hours, a.usage, a.habit, a.recency,
      a.repetition, a.deliberation, a.rotation, a.logs, a.others, a.address_principal_count, a.candidate_count
    FROM attribution AS a LEFT JOIN principals AS p ON p.principal_id = a.principal_id
    WHERE a.correlation_id = $id AND (a.slot IS NULL OR a.slot IN ($slots))";

/// The columns that name a principal's evidence, and those that say what it adds.
const KINDS: [(&str, &str); 11] = [
    ("address", "prefix_score"),
    ("rarity", "rarity_score"),
    ("digits", "digits_score"),
    ("entra", "entra_score"),
    ("hours", "hours_score"),
    ("usage", "deployment_score"),
    ("habit", "habit_score"),
    ("recency", "recency_score"),
    ("repetition", "repeated_score"),
    ("deliberation", "deliberate_score"),
    ("rotation", "rotation_score"),
];

/// The rows of a small answer as JSON objects.
async fn rows(answer: Answer) -> Result<Vec<Map<String, Json>>, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Encode { format: "json", source };
    let batches: Vec<_> = answer.batches.try_collect().await?;
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).map_err(|error| failed(error.into()))?;
    writer.finish().map_err(|error| failed(error.into()))?;
    serde_json::from_slice(&writer.into_inner()).map_err(|error| failed(error.into()))
}

fn text(row: &Map<String, Json>, column: &str) -> Option<String> {
    row.get(column)?.as_str().map(str::to_owned)
}

fn number(row: &Map<String, Json>, column: &str) -> f64 {
    row.get(column).and_then(Json::as_f64).unwrap_or_default()
}

fn integer(row: &Map<String, Json>, column: &str) -> Option<i64> {
    row.get(column)?.as_i64()
}

fn time(row: &Map<String, Json>) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(row.get("time")?.as_str()?).ok()?.with_timezone(&Utc))
}

fn record(row: &Map<String, Json>) -> Option<RecordSource> {
    Some(RecordSource {
        table: text(row, "record_table")?,
        time: time(row)?,
        blob: text(row, "blob")?,
        generation: integer(row, "generation")?,
        blob_offset: integer(row, "blob_offset")?.try_into().ok()?,
    })
}

fn call(row: &Map<String, Json>, resource_id: String, candidates: Vec<Candidate>) -> Option<ExplainedCall> {
    Some(ExplainedCall {
        time: time(row)?,
        resource_id,
        operation: text(row, "operation"),
        status: integer(row, "status"),
        caller_ip: text(row, "caller_ip"),
        tier: text(row, "tier")?,
        principal_id: text(row, "principal_id"),
        principal_name: text(row, "principal_name"),
        confidence: row.get("confidence").and_then(Json::as_f64),
        reason: text(row, "reason"),
        candidate_count: integer(row, "candidates").unwrap_or_default(),
        candidates,
    })
}

fn candidate(row: &Map<String, Json>, weights: &Weights) -> Candidate {
    let known = |name: &str| weights.get(name).unwrap_or_default();
    let mut evidence = Vec::new();
    let mut add = |name: &str, sentence: String, contribution: f64| {
        evidence.push(Evidence { name: name.to_owned(), sentence, contribution });
    };
    if text(row, "principal_id").is_none() {
        for name in [Some("unseen_prior".to_owned()), text(row, "address"), text(row, "logs"), text(row, "others")]
            .into_iter()
            .flatten()
        {
            let (weight, sentence) = known(&name);
            add(&name, sentence.to_owned(), weight);
        }
    } else if row.get("score").is_some_and(Json::is_number) {
        let count = integer(row, "candidate_count").unwrap_or_default();
        add("candidates", format!("is one of {count} that could hold a valid key"), number(row, "candidates_score"));
        for (kind, score) in KINDS {
            let Some(name) = text(row, kind) else { continue };
            let others = integer(row, "address_principal_count").filter(|count| kind == "rarity" && *count > 1);
            let shared = match others {
                Some(count) => format!(": {count}"),
                None => String::new(),
            };
            add(&name, format!("{}{shared}", known(&name).1), number(row, score));
        }
    }
    Candidate {
        principal_id: text(row, "principal_id"),
        principal_name: text(row, "principal_name"),
        confidence: number(row, "confidence"),
        score: number(row, "score"),
        evidence,
    }
}
