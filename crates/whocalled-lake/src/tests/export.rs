//! Exports to Delta tables outside the lake.

use arrow::array::{StringViewArray, UInt32Array};
use chrono::NaiveDate;
use futures::stream;

use crate::{BoxError, DeltaExport, Exported, write_delta};

use super::*;

fn day(offset: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 1).unwrap() + days(offset.into())
}

fn table(rows: &[(i32, &str, u32)]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("date", Arc::new(Date32Array::from_iter_values(rows.iter().map(|it| DAY + it.0)))),
        ("name", Arc::new(StringViewArray::from_iter_values(rows.iter().map(|it| it.1)))),
        ("calls", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|it| it.2)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn export(place: &Path, rows: RecordBatch, dates: Option<(i32, i32)>) -> Result<Exported, Error> {
    let (location, options) = (location(place), StorageOptions::default());
    let export = DeltaExport {
        location: &location,
        options: &options,
        name: "calls",
        schema: rows.schema(),
        dates: dates.map(|(from, to)| day(from)..=day(to)),
    };
    write_delta(export, stream::iter([Ok::<_, BoxError>(rows)]), now()).await
}

/// What the exported table holds, read with Delta's log and Parquet only.
async fn content(place: &Path) -> Vec<(String, String, i64)> {
    let url = url::Url::from_directory_path(place).unwrap();
    let table = deltalake::open_table(url).await.unwrap();
    let mut rows = Vec::new();
    for path in table.get_file_uris().unwrap() {
        let file = std::fs::File::open(path.trim_start_matches("file://")).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let date = path.split("date=").nth(1).map_or("", |it| it.split('/').next().unwrap()).to_owned();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let (names, calls) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
            rows.extend((0..batch.num_rows()).map(|row| (date.clone(), names.value(row).to_owned(), calls.value(row))));
        }
    }
    rows.sort();
    rows
}

fn row(date: &str, name: &str, calls: i64) -> (String, String, i64) {
    (date.to_owned(), name.to_owned(), calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_dates_asked_for_are_replaced() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("calls");
    let first = export(&place, table(&[(0, "a", 1), (1, "b", 2), (2, "c", 3)]), None).await.unwrap();
    assert_eq!((first.rows, first.files_added, first.files_removed), (3, 3, 0));
    let second = export(&place, table(&[(1, "b", 9)]), Some((1, 2))).await.unwrap();
    assert_eq!((second.rows, second.files_removed), (1, 2), "a date without rows any more is emptied");
    assert_eq!(content(&place).await, [row("2026-11-01", "a", 1), row("2026-11-02", "b", 9)]);
    let outside = export(&place, table(&[(0, "a", 5)]), Some((1, 2))).await;
    assert!(matches!(outside, Err(Error::Rows { .. })));
    assert_eq!(content(&place).await.len(), 2);
    export(&place, table(&[(4, "d", 1)]), None).await.unwrap();
    assert_eq!(content(&place).await, [row("2026-11-05", "d", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_date_everything_is_replaced() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("report");
    for calls in [1, 2] {
        let rows = table(&[(0, "a", calls)]).project(&[1, 2]).unwrap();
        export(&place, rows, Some((0, 0))).await.unwrap();
        assert_eq!(content(&place).await, [row("", "a", calls.into())]);
    }
    let other = export(&place, table(&[(0, "a", 1)]), None).await;
    assert!(matches!(other, Err(Error::Schema { .. })), "the table has other columns");
}

#[tokio::test(flavor = "multi_thread")]
async fn lakes_foreign_places_and_failed_rows_are_left_alone() {
    let directory = TempDir::new().unwrap();
    lake(&directory).await;
    let into_lake = export(&directory.path().join("lake"), table(&[(0, "a", 1)]), None).await;
    assert!(matches!(into_lake, Err(Error::Foreign { .. })));
    let occupied = directory.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("notes.txt"), b"").unwrap();
    assert!(matches!(export(&occupied, table(&[(0, "a", 1)]), None).await, Err(Error::Foreign { .. })));

    let place = directory.path().join("calls");
    export(&place, table(&[(0, "a", 1)]), None).await.unwrap();
    let (location, options) = (location(&place), StorageOptions::default());
    let good = table(&[(0, "a", 7)]);
    let export =
        DeltaExport { location: &location, options: &options, name: "calls", schema: good.schema(), dates: None };
    let rows = stream::iter([Ok(good), Err::<_, BoxError>("out of memory".into())]);
    assert!(matches!(write_delta(export, rows, now()).await, Err(Error::Input { .. })));
    assert_eq!(content(&place).await, [row("2026-11-01", "a", 1)]);
}
