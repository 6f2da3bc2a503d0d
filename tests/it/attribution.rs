//! What must hold of attribution whatever the logs say: probabilities, support, and that neither the order of
//! ingestion nor the number of threads matters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroUsize;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use whocalled_report::{Parameters, Session, SessionOptions, Weights};
use whocalled_tests::schemas;

/// Some hours of two accounts: who obtained keys, who was seen where, and which calls were made with a key.
#[derive(Debug, Clone)]
struct Logs {
    grants: Vec<Grant>,
    sightings: Vec<Sighting>,
    calls: Vec<Call>,
}

#[derive(Debug, Clone)]
struct Grant {
    account: u8,
    principal: u8,
    minute: u32,
    deliberate: bool,
    regenerates: bool,
}

#[derive(Debug, Clone)]
struct Sighting {
    principal: u8,
    prefix: u8,
    minute: u32,
    host: u8,
}

#[derive(Debug, Clone)]
struct Call {
    account: u8,
    prefix: Option<u8>,
    minute: u32,
    hidden_digits: u8,
}

/// Ten days.
const MINUTES: u32 = 10 * 24 * 60;
const PRINCIPALS: u8 = 5;
const PREFIXES: u8 = 4;

fn logs() -> impl Strategy<Value = Logs> {
    let grant = (0..2_u8, 0..PRINCIPALS, 0..MINUTES, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(account, principal, minute, deliberate, regenerates)| Grant {
            account,
            principal,
            minute,
            deliberate,
            regenerates,
        },
    );
    let sighting = (0..PRINCIPALS, 0..PREFIXES, 0..MINUTES, 1..=255_u8)
        .prop_map(|(principal, prefix, minute, host)| Sighting { principal, prefix, minute, host });
    let call = (0..2_u8, prop::option::weighted(0.9, 0..PREFIXES), 0..MINUTES, 1..=3_u8)
        .prop_map(|(account, prefix, minute, hidden_digits)| Call { account, prefix, minute, hidden_digits });
    (prop::collection::vec(grant, 1..12), prop::collection::vec(sighting, 0..20), prop::collection::vec(call, 1..12))
        .prop_map(|(grants, sightings, calls)| Logs { grants, sightings, calls })
}

fn account(number: u8) -> String {
    format!("/subscriptions/s1/resourcegroups/g1/providers/microsoft.cognitiveservices/accounts/a{number}")
}

fn at(minute: u32) -> (String, String) {
    let date = format!("2026-11-{:02}", 1 + minute / 1440);
    (format!("{date}T{:02}:{:02}:00Z", minute / 60 % 24, minute % 60), date)
}

const ACTIVITY: &str = "activity (time, date, resource_id, subscription_id, account, operation, result_type, caller_ip, \
    ip_prefix, correlation_id, principal_id, principal_kind, app_id, blob, generation, blob_offset)";
const CALLS: &str = "request_response (time, date, request_time, resource_id, subscription_id, account, operation, \
    status, caller_ip, ip_prefix, ip_hidden_digits, correlation_id, blob, generation, blob_offset)";

impl Logs {
    /// The rows of the Activity Log and of calls, as VALUES.
    fn rows(&self) -> (Vec<String>, Vec<String>) {
        let grant = |(index, it): (usize, &Grant)| {
            let ((time, date), account) = (at(it.minute), account(it.account));
            let operation = if it.regenerates { "regeneratekey" } else { "listkeys" };
            let app = if it.deliberate { "cli" } else { "c44b4083-3bb0-49c1-b47d-974e53cbdf3c" };
            format!(
                "('{time}', '{date}', '{account}', 's1', 'a', 'microsoft.cognitiveservices/accounts/{operation}/action', \
                 'Success', NULL, NULL, 'grant-{index}', 'p{}', 'user', '{app}', 'grants', 0, {index})",
                it.principal
            )
        };
        let sighting = |(index, it): (usize, &Sighting)| {
            let (time, date) = at(it.minute);
            format!(
                "('{time}', '{date}', NULL, 's2', NULL, 'x', 'Success', '10.0.{0}.{1}', '10.0.{0}', 'seen-{index}', 'p{2}', \
                 'user', 'cli', 'sightings', 0, {index})",
                it.prefix, it.host, it.principal
            )
        };
        let call = |(index, it): (usize, &Call)| {
            let ((time, date), account) = (at(it.minute), account(it.account));
            let (address, prefix, digits) = match it.prefix {
                Some(prefix) => {
                    (format!("'10.0.{prefix}.*'"), format!("'10.0.{prefix}'"), it.hidden_digits.to_string())
                }
                None => ("NULL".to_owned(), "NULL".to_owned(), "NULL".to_owned()),
            };
            format!(
                "('{time}', '{date}', '{time}', '{account}', 's1', 'a', 'ChatCompletions_Create', 200, {address}, {prefix}, \
                 {digits}, 'call-{index:02}', 'calls', 0, {index})"
            )
        };
        let grants = self.grants.iter().enumerate().map(grant);
        let activity = grants.chain(self.sightings.iter().enumerate().map(sighting)).collect();
        (activity, self.calls.iter().enumerate().map(call).collect())
    }

    /// The candidates of every call: who (empty for the caller whom no log names), and with what probability.
    async fn candidates(&self, threads: usize, backwards: bool) -> BTreeMap<(String, String), f64> {
        let options = SessionOptions {
            threads: NonZeroUsize::new(threads).expect("not zero"),
            memory_bytes_max: 1 << 30,
            weights: Weights::with(&BTreeMap::new()).expect("the parameters file is in order"),
        };
        let session = Session::in_memory(&schemas::nullable(), &options).expect("a session");
        let (mut activity, mut calls) = self.rows();
        if backwards {
            activity.reverse();
            calls.reverse();
        }
        // Two loads each, as of two batches.
        for (table, rows) in [(ACTIVITY, activity), (CALLS, calls)] {
            for rows in [&rows[..rows.len() / 2], &rows[rows.len() / 2..]] {
                if !rows.is_empty() {
                    session.load(table, &format!("VALUES {}", rows.join(", "))).await.expect("loads");
                }
            }
        }
        let sql = "SELECT correlation_id, coalesce(principal_id, '') AS principal_id, confidence FROM attribution";
        let answer = session.query(sql, &Parameters::new()).await.expect("a plan");
        let batches: Vec<RecordBatch> = answer.batches.try_collect().await.expect("rows");
        let mut candidates = BTreeMap::new();
        for batch in &batches {
            let text = |column| cast(batch.column(column), &DataType::Utf8).expect("text");
            let (calls, principals) = (text(0), text(1));
            let confidences = batch.column(2).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let key = (
                    calls.as_string::<i32>().value(row).to_owned(),
                    principals.as_string::<i32>().value(row).to_owned(),
                );
                assert!(candidates.insert(key, confidences.value(row)).is_none(), "one row for a candidate");
            }
        }
        candidates
    }
}

/// Runs a property over some logs.
fn holds(
    cases: u32,
    property: impl Fn(&tokio::runtime::Runtime, Logs, u8) -> Result<(), TestCaseError> + Send + 'static,
) {
    on_large_stacks(move |runtime| {
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new_with_rng(
            config,
            prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
        );
        runner
            .run(&(logs(), any::<u8>()), |(logs, choice)| property(runtime, logs, choice))
            .expect("the property holds");
    });
}

/// Gives work a runtime, and stacks that planning fits onto without optimisation.
pub(crate) fn on_large_stacks(work: impl FnOnce(&tokio::runtime::Runtime) + Send + 'static) {
    const STACK_BYTES: usize = 32 << 20;
    let work = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).thread_stack_size(STACK_BYTES).enable_all().build();
        work(&runtime.expect("a runtime"));
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread").join().expect("no panic");
}

#[test]
fn probabilities_of_a_call_are_one_at_most_and_nothing_depends_on_order_or_threads() {
    holds(10, |runtime, logs, _| {
        let candidates = runtime.block_on(logs.candidates(1, false));
        let mut totals = BTreeMap::<&str, f64>::new();
        for ((call, _), confidence) in &candidates {
            prop_assert!((0.0..=1.0).contains(confidence), "{call}: {confidence}");
            *totals.entry(call).or_default() += confidence;
        }
        for (call, total) in totals {
            prop_assert!(total < 1.0 + 1e-9, "{call}: {total}");
        }
        let other = runtime.block_on(logs.candidates(3, true));
        prop_assert_eq!(candidates.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (key, confidence) in &candidates {
            prop_assert!((confidence - other[key]).abs() < 1e-9, "{key:?}: {confidence} and {}", other[key]);
        }
        Ok(())
    });
}

#[test]
fn who_is_seen_at_the_address_of_a_call_in_its_hour_is_never_the_less_likely_for_it() {
    holds(10, |runtime, mut logs, choice| {
        let before = runtime.block_on(logs.candidates(1, false));
        let seen: Vec<_> = logs
            .calls
            .iter()
            .enumerate()
            .filter_map(|(index, call)| Some((index, call.clone(), call.prefix?)))
            .collect();
        let Some((index, call, prefix)) = seen.get(usize::from(choice) % seen.len().max(1)).cloned() else {
            return Ok(());
        };
        let principal = choice % PRINCIPALS;
        // At an address with as many digits as are masked.
        let host = [7, 77, 177][usize::from(call.hidden_digits) - 1];
        logs.sightings.push(Sighting { principal, prefix, minute: call.minute, host });
        let after = runtime.block_on(logs.candidates(1, false));
        let key = (format!("call-{index:02}"), format!("p{principal}"));
        let mut story = String::new();
        let (before, after) = (before.get(&key), after.get(&key));
        write!(story, "{key:?}: {before:?}, then {after:?}").expect("a string takes text");
        // Without a row it was not among those listed, or holds no key.
        prop_assert!(before.is_none_or(|before| after.is_some_and(|after| after >= &(before - 1e-9))), "{story}");
        Ok(())
    });
}
