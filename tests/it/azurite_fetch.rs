//! Listing and reading a Storage Account, with Azurite for one.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use whocalled_fetch::{Archive, Auth, Error, ListedBlob, Secret};
use whocalled_tests::azurite::{Azurite, append, recreate};
use whocalled_types::{BlobName, ErrorKind};

const CONTAINER: &str = "insights-logs-requestresponse";

/// A name with everything that a URL could stumble over.
fn hour(hour: u32) -> String {
    format!(
        "resourceId=/SUBSCRIPTIONS/5A3E/RESOURCEGROUPS/A B+C%20(Ü)/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A/\
         y=2026/m=11/d=01/h={hour:02}/m=00/PT1H.json"
    )
}

fn blob(name: &str) -> BlobName {
    BlobName { container: CONTAINER.to_owned(), name: name.to_owned() }
}

#[expect(clippy::disallowed_methods, reason = "Azurite checks a SAS against the machine's clock")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

async fn list(archive: &Archive, prefix: &str) -> Result<Vec<ListedBlob>, Error> {
    Ok(archive.list(CONTAINER, prefix).try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

#[tokio::test]
async fn a_growing_append_blob_is_listed_and_read_by_range() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    append(&service, CONTAINER, &hour(13), b"{\"a\":1}\n").await?;
    append(&service, CONTAINER, &hour(12), b"").await?;
    append(&service, "insights-activity-logs", "resourceId=/SUBSCRIPTIONS/5A3E/PT1H.json", b"{}\n").await?;
    append(&service, "pictures", "cat.png", b"png").await?;

    let archive = Archive::open(&azurite.url(), Azurite::auth(), now()).await?;
    assert_eq!((archive.identity(), archive.credential()), (azurite.url(), "account key"));
    assert_eq!(archive.containers().await?, ["insights-activity-logs", CONTAINER]);
    let before = list(&archive, "").await?;
    let found: Vec<_> = before.iter().map(|blob| (blob.name.name.clone(), blob.bytes)).collect();
    assert_eq!(found, [(hour(12), 0), (hour(13), 8)]);
    assert!(before.iter().all(|blob| blob.created_at.is_some() && blob.modified_at.is_some() && blob.etag.is_some()));

    append(&service, CONTAINER, &hour(13), b"{\"b\":2}\n").await?;
    let after = list(&archive, "resourceId=/SUBSCRIPTIONS/5A3E/RESOURCEGROUPS/A B+C%20(Ü)").await?;
    assert_eq!(after[1].bytes, 16);
    assert_eq!(after[1].created_at, before[1].created_at);
    assert_ne!(after[1].etag, before[1].etag);
    // What was listed before the append is still read as it was listed.
    assert_eq!(archive.read(&before[1].name, 0..before[1].bytes).await?, "{\"a\":1}\n");
    assert_eq!(archive.read(&after[1].name, 8..16).await?, "{\"b\":2}\n");
    assert!(archive.read(&after[0].name, 0..0).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_large_range_comes_whole_in_one_request() -> Result<()> {
    let azurite = Azurite::start()?;
    let bytes: Vec<u8> = (0..9_000_000u32).map(|index| b'a' + u8::try_from(index % 23).unwrap_or_default()).collect();
    append(&azurite.service(now())?, CONTAINER, &hour(0), &bytes).await?;
    let archive = Archive::open(&azurite.url(), Azurite::auth(), now()).await?;
    let read = archive.read(&blob(&hour(0)), 1..8_999_999).await?;
    assert!(read == bytes[1..8_999_999]);
    assert_eq!((archive.traffic().request_count, archive.traffic().read_bytes), (1, 8_999_998));
    Ok(())
}

#[tokio::test]
async fn what_is_gone_or_shrunken_is_skipped() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    append(&service, CONTAINER, &hour(1), b"0123456789").await?;
    let archive = Archive::open(&azurite.url(), Azurite::auth(), now()).await?;
    recreate(&service, CONTAINER, &hour(1), b"01234").await?;
    for range in [0..10, 5..10, 7..10] {
        let error = archive.read(&blob(&hour(1)), range).await.err();
        assert!(matches!(&error, Some(Error::Shrank { .. })), "{error:?}");
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Skip));
    }
    recreate(&service, CONTAINER, &hour(1), b"").await?;
    let empty = archive.read(&blob(&hour(1)), 0..10).await.err();
    assert!(matches!(&empty, Some(Error::Shrank { bytes: Some(0), .. })), "{empty:?}");
    let gone = archive.read(&blob(&hour(2)), 0..10).await.err();
    assert!(matches!(&gone, Some(Error::Gone { .. })), "{gone:?}");
    let no_container = archive.list("insights-logs-audit", "").try_collect::<Vec<_>>().await.err();
    assert!(matches!(&no_container, Some(Error::Gone { .. })), "{no_container:?}");
    Ok(())
}

#[tokio::test]
async fn credentials_that_do_not_do_are_told_apart() -> Result<()> {
    let azurite = Azurite::start()?;
    append(&azurite.service(now())?, CONTAINER, &hour(1), b"0123456789").await?;

    let archive = Archive::open(&azurite.url_with_sas("rl", now())?, Auth::default(), now()).await?;
    assert_eq!((archive.credential(), archive.display()), ("SAS", azurite.url().as_str()));
    assert_eq!(archive.read(&blob(&hour(1)), 0..2).await?, "01");
    let one = format!(
        "{}/{CONTAINER}?{}",
        azurite.url(),
        azurite.url_with_sas("rl", now())?.split_once('?').unwrap_or_default().1
    );
    let one = Archive::open(&one, Auth::default(), now()).await?;
    assert_eq!(one.containers().await?, [CONTAINER]);

    let wrong = Auth { account_key: Some(Secret::new("bm90LXRoZS1rZXk=")), ..Auth::default() };
    let archive = Archive::open(&azurite.url(), wrong, now()).await?;
    let error = archive.containers().await.err();
    assert!(matches!(&error, Some(Error::Denied { status: 403, .. })), "{error:?}");

    let old = azurite.url_with_sas("rl", now() - TimeDelta::days(3))?;
    let error =
        Archive::open(&old, Auth::default(), now()).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("expired") && !error.contains("sig="), "{error}");
    Ok(())
}
