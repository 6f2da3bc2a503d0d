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
    /// Every record of a call that has it, re-deliveries too, and those that other logs have of it within two days,
    /// the earliest first.
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
    let weighed = async {
        let slots = within(&slots).await?;
        let numbers: Vec<String> = slots.iter().filter_map(|row| Some(integer(row, "slot")?.to_string())).collect();
        let numbers = if numbers.is_empty() { "NULL".to_owned() } else { numbers.join(", ") };
        Ok::<_, Error>((slots, within(&CANDIDATES.replace("$slots", &numbers)).await?))
    };
    let others = OTHER_RECORDS.replace("$dates", &scope.dates(0));
    let others = async { rows(session.query(&others, &parameters).await?).await };
    let ((slots, mut candidates), calls, others) = tokio::try_join!(weighed, within(CALLS), others)?;
    records.extend(others.iter().filter_map(record));
    records.sort_by(|left, right| {
        (left.time, &left.blob, left.blob_offset).cmp(&(right.time, &right.blob, right.blob_offset))
    });
    candidates.sort_by_key(|candidate| integer(candidate, "rank"));
    let calls = calls.iter().filter_map(|row| {
        let candidates = match (text(row, "tier")?.as_str(), text(row, "reason").as_deref()) {
            ("object_id" | "gateway", _) => vec![named(row)],
            (_, Some("unauthenticated")) => Vec::new(),
            _ => {
                let slot = slot_of(row, &slots);
                let of_slot = candidates.iter().filter(|it| slot.is_some() && integer(it, "slot") == slot);
                of_slot.map(|it| candidate(it, session.weights())).collect()
            }
        };
        call(row, candidates)
    });
    let calls = calls.collect();
    Ok(Explanation { correlation_id, calls, records })
}

const RECORDS_OF_CALLS: &str = "
    SELECT 'request_response' AS record_table, time, blob, generation, blob_offset, resource_id, ip_prefix,
      date_trunc('hour', coalesce(request_time, time)) AS hour
    FROM request_response WHERE correlation_id = $id";

/// Of the days of the calls and those beside them: to look into the files of all days takes longer than the rest.
const OTHER_RECORDS: &str = "
    SELECT 'request_usage' AS record_table, time, blob, generation, blob_offset
    FROM request_usage WHERE correlation_id = $id AND $dates
    UNION ALL
    SELECT 'gateway', time, blob, generation, blob_offset
    FROM gateway WHERE backend_correlation_id = $id AND $dates";

const CALLS: &str = "
    SELECT time, request_time, resource_id, operation, status, caller_ip, ip_prefix, ip_hidden_digits, tier, principal_id,
      principal_name, confidence, reason, candidates
    FROM attributed_calls WHERE correlation_id = $id ORDER BY time, resource_id";

/// The slots that the call may be in: those at the places of its records, in their hours.
const SLOTS: &str = "
    SELECT s.slot, p.account_id, p.ip_prefix, s.ip_hidden_digits, s.slot_at, s.slot_to
    FROM places AS p JOIN slots AS s ON s.place = p.place
    WHERE p.account_id IN ($accounts) AND p.ip_prefix IN ($prefixes) AND s.hour IN ($hours)";

/// In no order: where all have the same rank, DataFusion 55 plans to sort what need not be, and refuses its plan.
const CANDIDATES: &str = "
    SELECT k.slot, k.rank, k.principal_id, p.principal_name, k.confidence, k.score, k.prefix_score, k.rarity_score,
      k.digits_score, k.entra_score, k.hours_score, k.deployment_score, k.habit_score, k.recency_score,
      k.repeated_score, k.deliberate_score, k.rotation_score, k.candidates_score, k.unseen_score, k.address, k.rarity,
      k.digits, k.entra, k.hours, k.usage, k.habit, k.recency, k.repetition, k.deliberation, k.rotation, k.logs,
      k.others, k.address_principal_count, k.candidate_count
    FROM candidates AS k LEFT JOIN principals AS p ON p.principal_id = k.principal_id
    WHERE k.slot IN ($slots)";

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

fn time(row: &Map<String, Json>, column: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(row.get(column)?.as_str()?).ok()?.with_timezone(&Utc))
}

fn record(row: &Map<String, Json>) -> Option<RecordSource> {
    Some(RecordSource {
        table: text(row, "record_table")?,
        time: time(row, "time")?,
        blob: text(row, "blob")?,
        generation: integer(row, "generation")?,
        blob_offset: integer(row, "blob_offset")?.try_into().ok()?,
    })
}

/// The slot of a call by key, by the condition of the view `call_slots`.
fn slot_of(call: &Map<String, Json>, slots: &[Map<String, Json>]) -> Option<i64> {
    let at = time(call, "request_time").or_else(|| time(call, "time"))?;
    let holds = |slot: &&Map<String, Json>| {
        text(slot, "account_id") == text(call, "resource_id")
            && text(slot, "ip_prefix").unwrap_or_default() == text(call, "ip_prefix").unwrap_or_default()
            && integer(slot, "ip_hidden_digits") == Some(integer(call, "ip_hidden_digits").unwrap_or_default())
            && time(slot, "slot_at").is_some_and(|from| from <= at)
            && time(slot, "slot_to").is_some_and(|to| at < to)
    };
    integer(slots.iter().find(holds)?, "slot")
}

/// The caller whom a log names.
fn named(call: &Map<String, Json>) -> Candidate {
    Candidate {
        principal_id: text(call, "principal_id"),
        principal_name: text(call, "principal_name"),
        confidence: number(call, "confidence"),
        score: 0.0,
        evidence: Vec::new(),
    }
}

fn call(row: &Map<String, Json>, candidates: Vec<Candidate>) -> Option<ExplainedCall> {
    Some(ExplainedCall {
        time: time(row, "time")?,
        resource_id: text(row, "resource_id")?,
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
    } else {
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
