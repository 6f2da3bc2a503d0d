//! Behaviour of the converter as a whole: counts, offsets, torn ends and limits.

#![expect(clippy::cast_possible_truncation, reason = "the texts of these tests are short")]

mod templates;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use whocalled_types::{BlobName, Framing, Limits, Table};

use crate::{BlobPart, Converted, Converter};

const CALL: &str = r#"{ "time": "2026-11-01T13:00:01.0000000Z", "category": "RequestResponse", "correlationId": "A", "resultSignature": "200", "properties": "{\"objectId\":\"\",\"requestLength\":10}" }"#;

fn part() -> BlobPart {
    BlobPart {
        name: BlobName {
            container: "insights-logs-requestresponse".to_owned(),
            name: "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/ACC/y=2026/m=11/d=01/h=13/m=00/PT1H.json".to_owned(),
        },
        generation: 0,
        from: 0,
        framing: Framing::Unknown,
        tail: Vec::new(),
    }
}

fn limits() -> Limits {
    Limits { record_bytes_max: 400, reject_bytes_max: 100, ..Limits::STANDARD }
}

/// Converts `text` fed in pieces of `piece_bytes`.
fn convert(text: &str, piece_bytes: usize, sealed: bool) -> (Converted, Vec<(Table, RecordBatch)>) {
    let mut converter = Converter::new(limits());
    let mut blob = converter.begin(part());
    for piece in text.as_bytes().chunks(piece_bytes) {
        blob.feed(piece);
    }
    let converted = blob.finish(sealed);
    let batches = converter.finish().expect("the columns fit their schema");
    (converted, batches)
}

fn offsets(batches: &[(Table, RecordBatch)], table: Table) -> Vec<i64> {
    batches
        .iter()
        .filter(|(it, _)| *it == table)
        .flat_map(|(_, batch)| batch["blob_offset"].as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

fn reasons(batches: &[(Table, RecordBatch)]) -> Vec<String> {
    let rejects = batches.iter().find(|(table, _)| *table == Table::Rejects);
    rejects.map_or_else(Vec::new, |(_, batch)| {
        let column = batch["reason"].as_dictionary::<Int32Type>();
        let values = column.values().as_string::<i32>();
        column
            .keys()
            .values()
            .iter()
            .map(|key| values.value(usize::try_from(*key).expect("a key")).to_owned())
            .collect()
    })
}

#[test]
fn many_rows_come_in_batches_and_in_their_order() {
    let calls = format!("{CALL}\n").repeat(40_000) + "oops\n" + &format!("{CALL}\n").repeat(2_000);
    let (converted, batches) = convert(&calls, 1 << 20, false);
    assert_eq!((converted.row_count, converted.reject_count), (42_000, 1));
    let row_counts: Vec<usize> =
        batches.iter().filter(|(table, _)| *table == Table::RequestResponse).map(|(_, it)| it.num_rows()).collect();
    assert_eq!((row_counts.len(), row_counts.iter().sum::<usize>()), (3, 42_000));
    let every = CALL.len() + 1;
    let expected = (0..42_000).map(|row| (row * every + if row < 40_000 { 0 } else { "oops\n".len() }) as i64);
    assert!(offsets(&batches, Table::RequestResponse).into_iter().eq(expected));
}

#[test]
fn pieces_of_any_size_give_the_same_rows_and_position() {
    let text = format!("{CALL}\r\n\n{CALL}\noops\n{CALL}\n{{\"torn");
    let expected = convert(&text, text.len(), false);
    assert_eq!((expected.0.row_count, expected.0.reject_count), (3, 1));
    assert_eq!(expected.0.position as usize, text.len() - "{\"torn".len());
    assert!(text.as_bytes()[..expected.0.position as usize].ends_with(&expected.0.tail));
    for piece_bytes in [1, 2, 7, 64, 300, 450, 700] {
        let found = convert(&text, piece_bytes, false);
        assert_eq!(found.0, expected.0, "pieces of {piece_bytes}");
        assert_eq!(offsets(&found.1, Table::RequestResponse), offsets(&expected.1, Table::RequestResponse));
        assert_eq!(offsets(&found.1, Table::Rejects), offsets(&expected.1, Table::Rejects));
    }
}

#[test]
fn an_offset_leads_back_to_the_record() {
    let text = format!("\u{feff}{CALL}\n\n{CALL}\n");
    let (_, batches) = convert(&text, text.len(), false);
    let offsets = offsets(&batches, Table::RequestResponse);
    assert_eq!(offsets.len(), 2);
    for offset in offsets {
        assert!(text[usize::try_from(offset).expect("an offset")..].starts_with(CALL));
    }
}

#[test]
fn what_a_record_lacks_comes_from_the_name_of_its_blob() {
    let (_, batches) = convert(&format!("{CALL}\n"), 1000, false);
    let account = batches[0].1["account"].as_dictionary::<Int32Type>();
    assert_eq!(account.values().as_string::<i32>().value(0), "acc");
    assert!(batches[0].1["object_id"].is_null(0), "an empty object id is NULL");
}

#[test]
fn a_record_over_the_limit_is_one_reject() {
    let long = format!("{{\"time\":\"{}\"}}", "x".repeat(1000));
    let text = format!("{CALL}\n{long}\n{CALL}\n");
    for piece_bytes in [1, 100, 450, 5000] {
        let (converted, batches) = convert(&text, piece_bytes, false);
        assert_eq!((converted.row_count, converted.reject_count), (2, 1), "pieces of {piece_bytes}");
        assert_eq!(converted.position as usize, text.len());
        assert_eq!(reasons(&batches), ["longer than the limit of 400 bytes"]);
        assert_eq!(offsets(&batches, Table::Rejects), [i64::try_from(CALL.len() + 1).expect("an offset")]);
    }
}

#[test]
fn reasons_say_what_and_where() {
    let text = "{\"time\":\"yesterday\"}\n{\"a\":1}\n{'time':1}\n{\"time\":\"2026-11-01T13:00:01Z\"} x\n";
    let (_, batches) = convert(text, text.len(), false);
    assert_eq!(
        reasons(&batches),
        [
            "`time` is not a timestamp at byte 1",
            "no `time`",
            "expected a string, found '\\'' at byte 1",
            "expected the end of the record, found 'x' at byte 32",
        ]
    );
}

#[test]
fn a_sealed_blob_gives_its_last_record() {
    let open = convert(CALL, CALL.len(), false).0;
    assert_eq!((open.row_count, open.position), (0, 0));
    let sealed = convert(CALL, CALL.len(), true).0;
    assert_eq!((sealed.row_count, sealed.position as usize), (1, CALL.len()));
}
