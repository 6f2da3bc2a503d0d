//! Goldens of decoding: what every kind of record becomes.
//!
//! A fixture is `fixtures/decoding/CONTAINER/NAME.json`, converted as a sealed blob; its golden is
//! beside it. `INSTA_UPDATE=always cargo test decoding` writes the goldens anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use whocalled_convert::{BlobPart, Converter};
use whocalled_types::{BlobName, Framing, Limits, Table};

/// The resource in the blobs' names, for records that name none.
const SCOPE: &str =
    "/SUBSCRIPTIONS/0A/RESOURCEGROUPS/RG-OF-BLOB/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/OF-BLOB";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/decoding")
}

fn convert(container: &str, bytes: &[u8]) -> String {
    let mut converter = Converter::new(Limits::STANDARD);
    let name = format!("resourceId={SCOPE}/y=2026/m=11/d=01/h=13/m=00/PT1H.json");
    let mut blob = converter.begin(BlobPart {
        name: BlobName { container: container.to_owned(), name },
        generation: 0,
        from: 0,
        framing: Framing::Unknown,
        tail: Vec::new(),
    });
    blob.feed(bytes);
    let converted = blob.finish(true);
    let mut text = format!(
        "{} records: {} rows, {} rejects; {} of {} bytes, then {}\n",
        converted.record_count,
        converted.row_count,
        converted.reject_count,
        converted.position,
        bytes.len(),
        converted.framing.name()
    );
    for (table, batch) in converter.finish().expect("columns fit their schema") {
        for row in 0..batch.num_rows() {
            show(table, &batch, row, bytes, &mut text);
        }
    }
    text
}

/// A row, a column a line; NULLs and the blob's name are left out.
fn show(table: Table, batch: &RecordBatch, row: usize, bytes: &[u8], text: &mut String) {
    writeln!(text, "\n{table}").expect("writing to a string");
    let options = FormatOptions::default();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.is_null(row) || field.name() == "blob" {
            continue;
        }
        let value =
            ArrayFormatter::try_new(column.as_ref(), &options).expect("a printable column").value(row).to_string();
        writeln!(text, "  {:22} {value}", field.name()).expect("writing to a string");
    }
    let offset = batch["blob_offset"].as_any().downcast_ref::<arrow::array::Int64Array>().expect("offsets").value(row);
    let record = &bytes[usize::try_from(offset).expect("an offset")..];
    assert!(!record.is_empty() && !record[0].is_ascii_whitespace(), "the offset leads to a record");
}

#[test]
fn every_fixture_decodes_to_its_golden() {
    let mut count = 0;
    let mut containers: Vec<_> =
        fs::read_dir(fixtures()).expect("fixtures").map(|it| it.expect("an entry").path()).collect();
    containers.sort();
    for container in containers {
        let name = container.file_name().and_then(|it| it.to_str()).expect("a container's name").to_owned();
        let mut files: Vec<_> =
            fs::read_dir(&container).expect("a container").map(|it| it.expect("an entry").path()).collect();
        files.sort();
        for file in files.iter().filter(|it| it.extension().is_some_and(|it| it == "json")) {
            let text = convert(&name, &fs::read(file).expect("a fixture"));
            let stem = file.file_stem().and_then(|it| it.to_str()).expect("a fixture's name");
            insta::with_settings!({ snapshot_path => &container, prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(stem, text);
            });
            count += 1;
        }
    }
    assert!(count >= 20, "{count} fixtures");
}
