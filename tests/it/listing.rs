//! Listing the hours in question out of an archive of many: what it finds, and what it costs.

use anyhow::Result;
use azure_storage_blob::BlobServiceClient;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tempfile::TempDir;
use whocalled_fetch::Archive;
use whocalled_tests::azurite::{Azurite, KEY, append};
use whocalled_tests::program::run_with;
use whocalled_types::{BlobName, HourSpan};

const CONTAINER: &str = "insights-logs-requestresponse";
const ACCOUNTS: [&str; 3] = ["A", "A1", "B"];

#[expect(clippy::disallowed_methods, reason = "Azurite checks a SAS against the machine's clock")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

fn name(account: &str, hour: DateTime<Utc>) -> String {
    let hour = hour.format("y=%Y/m=%m/d=%d/h=%H/m=00/PT1H.json");
    format!("resourceId=/SUBSCRIPTIONS/S/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/{account}/{hour}")
}

fn line(id: usize) -> String {
    format!("{{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"RequestResponse\",\"correlationId\":\"{id}\"}}\n")
}

/// One record an hour and account, for so many hours up to `last`.
async fn fill(service: &BlobServiceClient, last: DateTime<Utc>, hour_count: i64) -> Result<()> {
    let hours = (0..hour_count).map(|back| last - TimeDelta::hours(back));
    let names = hours.flat_map(|hour| ACCOUNTS.map(|account| name(account, hour))).enumerate();
    let appending = stream::iter(names)
        .map(|(id, name)| async move { append(service, CONTAINER, &name, line(id).as_bytes()).await });
    appending.buffer_unordered(16).try_collect().await
}

#[tokio::test]
async fn the_hours_in_question_cost_a_request_or_two_for_each_resource() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    let last: DateTime<Utc> = "2026-11-02T03:00:00Z".parse()?;
    fill(&service, last, 100).await?;
    append(&service, CONTAINER, "resourceId=/SUBSCRIPTIONS/S/no-hour.json", b"{}\n").await?;

    let archive = Archive::open(&azurite.url(), Azurite::auth(), now()).await?;
    let span = HourSpan { from: (2026, 11, 1, 22), until: (2026, 11, 2, 2) };
    let pages: Vec<_> = archive.list_hours(CONTAINER, span).try_collect().await?;
    let listed: Vec<String> = pages.into_iter().flatten().map(|blob| blob.name.name).collect();
    let mut expected: Vec<String> = (0..4)
        .flat_map(|hour| ACCOUNTS.map(|account| name(account, last - TimeDelta::hours(5 - hour))))
        .chain(["resourceId=/SUBSCRIPTIONS/S/no-hour.json".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(listed, expected);
    // Pages of six: a full listing of the 301 blobs would take 51.
    let request_count = archive.traffic().request_count;
    assert!(request_count <= 2 * ACCOUNTS.len() as u64 + 2, "{request_count} requests");
    let blob = BlobName { container: CONTAINER.to_owned(), name: name("A", last) };
    archive.read(&blob, 0..5).await?;
    let traffic = archive.traffic();
    assert_eq!((traffic.request_count, traffic.list_request_count), (request_count + 1, request_count));
    Ok(())
}

#[tokio::test]
async fn growth_of_old_hours_is_found_when_the_whole_archive_is_listed() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    let scratch = TempDir::new()?;
    let last = now().with_minute(0).and_then(|it| it.with_second(0)).unwrap_or_default();
    fill(&service, last, 60).await?;
    let convert = |list: &str| {
        let arguments = ["convert", &azurite.url(), "--lake", "lake", "--list", list];
        run_with(scratch.path(), &arguments, &[("WHOCALLED_ACCOUNT_KEY", KEY)]).success().json()
    };
    // Nothing is known yet, so that everything is listed.
    let first = convert("recent");
    assert_eq!((first["blobs_listed"].as_u64(), first["hours"].is_null()), (Some(180), true));

    append(&service, CONTAINER, &name("A", last - TimeDelta::hours(59)), line(1000).as_bytes()).await?;
    append(&service, CONTAINER, &name("A", last - TimeDelta::hours(1)), line(1001).as_bytes()).await?;
    let recent = convert("recent");
    assert_eq!(recent["rows"], 1, "{recent}");
    assert!(recent["blobs_listed"].as_u64() < Some(160) && !recent["hours"].is_null(), "{recent}");

    let all = convert("all");
    assert_eq!((all["rows"].as_u64(), all["blobs_listed"].as_u64()), (Some(1), Some(180)), "{all}");
    assert_eq!(convert("auto")["hours"], serde_json::Value::Null, "so small an archive is listed whole");
    Ok(())
}
