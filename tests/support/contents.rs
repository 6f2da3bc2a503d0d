//! What a lake shows, read without SQL, so that a test can afford to look after every step.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use whocalled_lake::{Error, Lake, LakeLocation, StorageOptions};
use whocalled_types::Table;

use crate::local_archive::Positions;

/// What tells a row's record: the id that the record gives itself, or the bytes of a reject.
const COLUMNS: [&str; 5] = ["blob", "generation", "blob_offset", "correlation_id", "record"];

/// The positions that a lake's ledger says, and the rows that its tables show.
#[derive(Debug)]
pub struct Contents {
    /// How far each blob is committed.
    pub positions: Positions,
    /// Blob, generation, offset, and what tells the record; sorted.
    pub rows: Vec<String>,
}

/// The contents of the lake in a directory; `None` where there is no lake. Changes nothing.
///
/// # Panics
/// If the lake cannot be read.
#[track_caller]
pub fn contents(lake: &Path) -> Option<Contents> {
    let location = LakeLocation::parse(lake.to_str().expect("a path in UTF-8")).expect("a location");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let opened = match runtime.block_on(Lake::open(location, StorageOptions::default())) {
        Ok(opened) => opened,
        Err(Error::Missing { .. }) => return None,
        Err(error) => panic!("the lake cannot be opened: {error:?}"),
    };
    let positions = runtime.block_on(opened.positions()).expect("positions").iter();
    let positions = positions.map(|(blob, it)| (blob.clone(), (it.position.generation, it.position.bytes))).collect();
    let mut rows = Vec::new();
    for table in Table::data() {
        for file in opened.files(table).expect("a list of files") {
            rows.extend(file_rows(&lake.join(file.path.as_ref())));
        }
    }
    rows.sort();
    Some(Contents { positions, rows })
}

fn file_rows(path: &Path) -> Vec<String> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{} is in a table: {error}", path.display()));
    // Otherwise some text would come as a dictionary.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).expect("a Parquet file");
    let mask = ProjectionMask::columns(reader.parquet_schema(), COLUMNS);
    let mut rows = Vec::new();
    for batch in reader.with_projection(mask).build().expect("a reader") {
        let batch = batch.expect("rows");
        let blobs = batch["blob"].as_string::<i32>();
        let (generations, offsets) =
            (batch["generation"].as_primitive::<Int32Type>(), batch["blob_offset"].as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let id = match (batch.column_by_name("correlation_id"), batch.column_by_name("record")) {
                (Some(ids), _) if ids.is_valid(row) => ids.as_string::<i32>().value(row).to_owned(),
                (None, Some(records)) => {
                    format!("reject {}", String::from_utf8_lossy(records.as_binary::<i32>().value(row)))
                }
                _ => String::new(),
            };
            rows.push(format!("{} {} {} {id}", blobs.value(row), generations.value(row), offsets.value(row)));
        }
    }
    rows
}
