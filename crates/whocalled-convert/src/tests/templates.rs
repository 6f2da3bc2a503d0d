//! Templates change how fast a record is read, and nothing else.

use std::collections::BTreeMap;

use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
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
    "12345678",
    "-1234567890123456",
    "9223372036854775808",
    "0123456789",
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

/// Values that a field mostly has, so that records of one layout differ as those of a service do.
fn usual(key: &str) -> &'static [&'static str] {
    match key {
        "time" => &[r#""2026-11-01T13:00:01.0000000Z""#, r#""2026-11-02T00:30:00.1230000+01:00""#],
        "category" => &[r#""RequestResponse""#, r#""RequestResponse""#, r#""Trace""#, r#""Strange""#],
        "resourceId" => &[
            r#""/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/B""#,
            r#""/subscriptions/s/resourceGroups/h/providers/Microsoft.CognitiveServices/accounts/c""#,
            r#""/subscriptions/s/providers/Microsoft.Web/sites/w""#,
        ],
        "location" | "Tenant" => &[r#""here""#, r#""here""#, r#""there""#, r#""""#],
        "callerIpAddress" | "callerIPAddress" => &[
            r#""20.236.11.***""#,
            r#""20.236.11.**""#,
            r#""2001:db8::1""#,
            r#""::ffff:20.236.11.7""#,
            r#""no address""#,
        ],
        "requestTime" | "responseTime" => &["638978186277847539", "638978186277847540"],
        "durationMs" | "requestLength" | "promptTokens" | "resultSignature" => {
            &["0", "-12", "200", "5000000000", "9223372036854775807", "-9223372036854775808", "-99999999999999999999"]
        }
        "objectId" | "callerObjectId" | "OBJECTID" | "correlationId" => &[
            r#""""#,
            r#""0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9""#,
            r#""0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9""#,
            r#""1a1b2c3d4e5f60718293a4b5c6d7e8f9""#,
        ],
        "streamType" => &[r#""Streaming""#, r#""Non-Streaming""#],
        "event" => &[r#""ShoeboxCallResult""#],
        _ => &[r#""A""#, r#""é😀""#, "7"],
    }
}

/// Which keys records have in which order, and how they are written.
#[derive(Debug, Clone)]
struct Layout {
    outer: Vec<&'static str>,
    inner: Vec<&'static str>,
    form: u8,
    spaced: bool,
}

fn layout() -> impl Strategy<Value = Layout> {
    let keys = |all: &'static [&'static str]| subsequence(all, 0..=all.len()).prop_shuffle();
    (keys(OUTER), keys(INNER), 0..3_u8, any::<bool>()).prop_map(|(outer, inner, form, spaced)| {
        let outer = ["time", "category"].into_iter().chain(outer).collect();
        Layout { outer, inner, form, spaced }
    })
}

/// The values of a record, in the order of its keys: which one, and whether of the usual ones.
type Picks = Vec<(Index, bool)>;

fn picks() -> impl Strategy<Value = Picks> {
    prop::collection::vec((any::<Index>(), prop::bool::weighted(0.95)), 2 + OUTER.len() + INNER.len())
}

fn record(layout: &Layout, picks: &Picks) -> String {
    let mut picks = picks.iter();
    let mut field = |key: &&str| {
        let value = match picks.next() {
            Some((pick, true)) => pick.get(usual(key)),
            Some((pick, false)) => pick.get(VALUES),
            None => "null",
        };
        format!("\"{key}\":{value}")
    };
    let mut outer: Vec<String> = layout.outer.iter().map(&mut field).collect();
    let inner: Vec<String> = layout.inner.iter().map(&mut field).collect();
    let inner = format!("{{{}}}", inner.join(","));
    let properties = match layout.form {
        0 => inner,
        1 => format!("\"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => format!("{inner:?}"),
    };
    outer.insert(outer.len() / 2, format!("\"properties\":{properties}"));
    if layout.spaced { format!("{{ {} }}", outer.join(", ")) } else { format!("{{{}}}", outer.join(",")) }
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
        layouts in prop::collection::vec(layout(), 1..4),
        records in prop::collection::vec((any::<Index>(), picks(), any::<Index>(), 0..32_u8), 1..40),
    ) {
        // Records of few layouts, so that templates fit, with a byte changed here and there.
        let records: Vec<String> = records.iter().map(|(layout, picks, place, change)| {
            let mut record = record(layout.get(&layouts), picks);
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
