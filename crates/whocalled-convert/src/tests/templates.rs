//! Templates change how fast a record is read, and nothing else.

use std::collections::BTreeMap;

use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use whocalled_types::{BlobName, Framing, Limits, Table};

use super::part;
use crate::{BlobPart, Converter};

/// Values that are plain, and all kinds that are not.
const VALUES: &[&str] = &[
    r#""""#,
    r#""A""#,
    r#""é😀""#,
    r#""a\"b""#,
    r#""\u0041""#,
    r#""\\""#,
    "0",
    "7",
    "-12",
    "00",
    "1.0",
    "1e3",
    "null",
    "true",
    "{}",
    "[3]",
    "[1,2]",
    r#"{"x":1}"#,
    r#""Streaming""#,
    r#""{\"x\":1}""#,
    r#""0A1B2C3D4E5F60718293A4B5C6D7E8F9""#,
    r#""0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9""#,
    r#""20.236.11.***""#,
    "638978186277847539",
    r#""/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/B""#,
    r#""/subscriptions/s/providers/Microsoft.Web/sites/w""#,
    r#""ShoeboxCallResult""#,
    r#""2026-11-01T13:00:02Z""#,
];
const OUTER: &[&str] = &[
    "callerIpAddress",
    "callerIPAddress",
    "correlationId",
    "durationMs",
    "event",
    "location",
    "operationName",
    "resourceId",
    "resultSignature",
    "Tenant",
    "EnqueueTime",
    "unknown",
    "time",
];
const INNER: &[&str] = &[
    "apiName",
    "requestTime",
    "requestLength",
    "responseTime",
    "objectId",
    "callerObjectId",
    "streamType",
    "modelName",
    "promptTokens",
    "unknown",
    "OBJECTID",
];

const CONTAINERS: &[&str] = &[
    "insights-logs-requestresponse",
    "insights-logs-audit",
    "insights-logs-trace",
    "insights-logs-azureopenairequestusage",
    "insights-logs-strange",
];

fn fields(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let field = |key| select(VALUES).prop_map(move |value| format!("\"{key}\":{value}"));
    subsequence(keys, 0..keys.len())
        .prop_shuffle()
        .prop_flat_map(move |keys| keys.into_iter().map(field).collect::<Vec<_>>())
}

fn record() -> impl Strategy<Value = String> {
    let category = select(vec!["RequestResponse", "Audit", "Trace", "AzureOpenAIRequestUsage", "Strange"]);
    (fields(OUTER), fields(INNER), category, 0..3_u8, any::<bool>()).prop_map(
        |(outer, inner, category, form, spaced)| {
            let inner = format!("{{{}}}", inner.join(","));
            let properties = match form {
                0 => inner,
                1 => format!("\"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\"")),
                _ => format!("{inner:?}"),
            };
            let mut all =
                vec!["\"time\":\"2026-11-01T13:00:01.0000000Z\"".to_owned(), format!("\"category\":\"{category}\"")];
            all.extend(outer);
            all.insert(all.len() / 2, format!("\"properties\":{properties}"));
            if spaced { format!("{{ {} }}", all.join(", ")) } else { format!("{{{}}}", all.join(",")) }
        },
    )
}

type Rows = BTreeMap<Table, Vec<String>>;

/// Reads records, as the next of their blob, and appends their rows as text.
fn read(records: &[String], container: &str, converter: &mut Converter, from: &mut u64, rows: &mut Rows) {
    let name = BlobName { container: container.to_owned(), ..part().name };
    let mut blob = converter.begin(BlobPart { name, from: *from, framing: Framing::Lines, ..part() });
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    blob.feed(lines.as_bytes());
    *from = blob.finish(false).position;
    for (table, batch) in converter.finish().expect("the columns fit their schema") {
        rows.entry(table).or_default().extend(
            (0..batch.num_rows())
                .map(|row| pretty_format_batches(&[batch.slice(row, 1)]).expect("a table of text").to_string()),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_came_before_does_not_change_how_a_record_is_read(
        container in select(CONTAINERS),
        kinds in prop::collection::vec(record(), 1..4),
        order in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..16_u8), 1..40),
    ) {
        // The same few records again and again, so that templates fit, with a byte changed here and there.
        let records: Vec<String> = order.iter().map(|(kind, place, change)| {
            let mut record = kind.get(&kinds).clone();
            let at = place.index(record.len());
            if *change < 4 && record.is_char_boundary(at) && record.is_char_boundary(at + 1) {
                record.replace_range(at..=at, ["\\", "\"", "5", "x"][usize::from(*change)]);
            }
            record
        }).collect();
        let (mut together, mut in_turn, mut apart) = (Rows::new(), Rows::new(), Rows::new());
        let (mut from_in_turn, mut from_apart) = (0, 0);
        let mut converter = Converter::new(Limits::STANDARD);
        for record in records.chunks(1) {
            read(record, container, &mut converter, &mut from_in_turn, &mut in_turn);
            read(record, container, &mut Converter::new(Limits::STANDARD), &mut from_apart, &mut apart);
        }
        read(&records, container, &mut Converter::new(Limits::STANDARD), &mut 0, &mut together);
        prop_assert_eq!(&in_turn, &apart);
        prop_assert_eq!(&together, &apart);
    }
}
