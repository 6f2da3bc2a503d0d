//! The way from the bytes of an archive to Parquet, a stage at a time and each as with `--threads 1`:
//! `cargo bench --bench convert`, with `-- framing` for one of them.
//!
//! Calls are simulated twice: as `cargo xtask bench convert` has them, in one shape, and in all the
//! shapes that Azure has written over the years.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use criterion::{BatchSize, Criterion, Throughput};
use tempfile::TempDir;
use tokio::runtime::Builder;
use whocalled_convert::{BlobPart, Converted, Converter, End, frame};
use whocalled_lake::{Batch, BlobAdvance, Lake, LakeLocation, StorageOptions};
use whocalled_pipeline::{table_specs, tail_hash};
use whocalled_simulate::{Options, simulate};
use whocalled_types::{Advance, BlobName, Framing, Limits, Position, Table};

const CONTAINER: &str = "insights-logs-requestresponse";
const CALLS: u64 = 50_000;

fn main() -> Result<(), Box<dyn Error>> {
    let archives = [("one shape", calls(true)?), ("all shapes", calls(false)?)];
    let mut criterion = Criterion::default().configure_from_args();
    for (name, bytes) in &archives {
        framing(&mut criterion, name, bytes);
        decoding(&mut criterion, name, bytes)?;
    }
    writing(&mut criterion, &archives[0].1)?;
    criterion.final_summary();
    Ok(())
}

/// Finding where records begin and end.
fn framing(criterion: &mut Criterion, name: &str, bytes: &[u8]) {
    let mut group = criterion.benchmark_group("framing");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut record_bytes = 0;
            frame(bytes, Framing::Lines, End::Open, &mut |range| record_bytes += range.len());
            record_bytes
        });
    });
    group.finish();
}

/// Framing, and from each record to a row of a batch.
fn decoding(criterion: &mut Criterion, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    // A converter lives as long as a run, and so does what it has learned about the records.
    let mut converter = Converter::new(Limits::STANDARD);
    convert(&mut converter, bytes)?;
    let mut group = criterion.benchmark_group("decoding");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.sample_size(20);
    group.bench_function(name, |bencher| {
        bencher.iter(|| convert(&mut converter, black_box(bytes)).is_ok());
    });
    group.finish();
    Ok(())
}

/// From the rows of a batch to a committed Parquet file, sorting and the commit included; the rate is that
/// of the archive's bytes.
fn writing(criterion: &mut Criterion, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut converter = Converter::new(Limits::STANDARD);
    let (converted, rows) = convert(&mut converter, bytes)?;
    let batch = batch(&converted, rows);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut group = criterion.benchmark_group("writing");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.sample_size(10);
    group.bench_function("one shape", |bencher| {
        let empty_lake = || {
            let directory = TempDir::new().expect("a directory for temporary files");
            let lake = runtime.block_on(empty_lake(directory.path())).expect("an empty lake");
            (directory, lake, batch.clone())
        };
        let commit = |(directory, mut lake, batch): (TempDir, Lake, Batch)| {
            runtime.block_on(lake.commit(batch, now())).expect("a batch that balances");
            (directory, lake)
        };
        bencher.iter_batched(empty_lake, commit, BatchSize::PerIteration);
    });
    group.finish();
    Ok(())
}

/// The calls of one account, one after the other.
fn calls(plain: bool) -> Result<Vec<u8>, Box<dyn Error>> {
    let directory = TempDir::new()?;
    // JSON Lines all of it, so that the blobs may be read as one.
    let options = Options {
        account_count: 1,
        hour_count: 24,
        call_count: CALLS,
        legacy_wrapper_share: 0.0,
        plain,
        ..Options::default()
    };
    simulate(&options, directory.path(), &mut |_| {})?;
    let mut bytes = Vec::new();
    read_below(&directory.path().join("archive").join(CONTAINER), &mut bytes)?;
    Ok(bytes)
}

fn read_below(directory: &Path, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(&path, bytes)?;
        } else {
            bytes.extend(fs::read(path)?);
        }
    }
    Ok(())
}

fn convert(
    converter: &mut Converter,
    bytes: &[u8],
) -> Result<(Converted, Vec<(Table, RecordBatch)>), whocalled_convert::Error> {
    let name = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A/y=2026/\
                m=11/d=02/h=00/m=00/PT1H.json";
    let mut blob = converter.begin(BlobPart {
        name: BlobName { container: CONTAINER.to_owned(), name: name.to_owned() },
        generation: 0,
        from: 0,
        framing: Framing::Unknown,
        tail: Vec::new(),
    });
    blob.feed(bytes);
    let converted = blob.finish(false);
    Ok((converted, converter.finish()?))
}

fn batch(converted: &Converted, rows: Vec<(Table, RecordBatch)>) -> Batch {
    let to = Position {
        generation: 0,
        bytes: converted.position,
        framing: converted.framing,
        tail_bytes: converted.tail.len() as u64,
        tail_hash: tail_hash(&converted.tail),
    };
    let advance = BlobAdvance {
        blob: "calls".to_owned(),
        advance: Advance { from: 0, to },
        listed_bytes: converted.position,
        created_at: None,
        modified_at: None,
        record_count: converted.record_count,
        row_count: converted.row_count,
        reject_count: converted.reject_count,
        finding: None,
    };
    let mut batch =
        Batch { run_id: "bench".to_owned(), archive: "bench".to_owned(), advances: vec![advance], ..Batch::default() };
    rows.into_iter().for_each(|(table, rows)| batch.push(table, rows));
    batch
}

async fn empty_lake(directory: &Path) -> Result<Lake, Box<dyn Error>> {
    let location = LakeLocation::parse(&directory.join("lake").to_string_lossy())?;
    Ok(Lake::open_or_create(location, StorageOptions::default(), &table_specs(), now()).await?)
}

fn now() -> DateTime<Utc> {
    Options::default().start
}
