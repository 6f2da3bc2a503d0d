//! The main job against a real Storage Account protocol: append blobs grow, the program converts
//! between the growths, and the rows are those of the archive.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use tempfile::TempDir;
use whocalled_tests::azurite::{Azurite, KEY, append, recreate};
use whocalled_tests::fault_proxy::FaultProxy;
use whocalled_tests::program::{Ran, run_with};

const CONTAINER: &str = "insights-logs-requestresponse";
const NAME: &str = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A/y=2026/m=11/d=01/h=13/m=00/PT1H.json";

#[expect(clippy::disallowed_methods, reason = "Azurite checks a SAS against the machine's clock")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

fn line(id: u32) -> String {
    format!(
        "{{ \"time\": \"2026-11-01T13:00:00Z\", \"category\": \"RequestResponse\", \"correlationId\": \"id-{id}\" }}\n"
    )
}

fn ids(scratch: &TempDir) -> String {
    let sql = "SELECT correlation_id FROM request_response ORDER BY 1";
    run_with(scratch.path(), &["sql", "--lake", "lake", "-c", sql, "--format", "csv"], &[]).success().stdout
}

#[tokio::test]
async fn a_growing_account_is_converted_between_its_growths() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    let scratch = TempDir::new()?;
    let convert = || -> Ran {
        let key = [("WHOCALLED_ACCOUNT_KEY", KEY)];
        run_with(scratch.path(), &["convert", &azurite.url(), "--lake", "lake"], &key).success()
    };

    append(&service, CONTAINER, NAME, line(1).as_bytes()).await?;
    let first = convert().json();
    assert_eq!(first["bytes_committed"], line(1).len());
    assert_eq!(first["credential"], "account key");

    let torn = line(2);
    append(&service, CONTAINER, NAME, &torn.as_bytes()[..20]).await?;
    assert_eq!(convert().json()["bytes_left"]["torn"], 20);
    append(&service, CONTAINER, NAME, &torn.as_bytes()[20..]).await?;
    append(&service, CONTAINER, NAME, line(3).as_bytes()).await?;
    assert_eq!(convert().json()["bytes_committed"], torn.len() + line(3).len());
    assert_eq!(ids(&scratch), "correlation_id\nid-1\nid-2\nid-3\n");

    let unchanged = convert().json();
    assert_eq!((unchanged["blobs_read"].as_u64(), unchanged["bytes_received"].as_u64()), (Some(0), Some(0)));

    recreate(&service, CONTAINER, NAME, line(4).as_bytes()).await?;
    assert_eq!(convert().json()["findings"].as_array().map(Vec::len), Some(1));
    assert_eq!(ids(&scratch), "correlation_id\nid-4\n");

    // Restored as it was: looked at once, and not again. Times of creation are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    recreate(&service, CONTAINER, NAME, line(4).as_bytes()).await?;
    let restored = convert().json();
    assert_eq!((restored["blobs_read"].as_u64(), restored["rows"].as_u64()), (Some(1), Some(0)));
    assert_eq!(convert().json()["blobs_read"], 0);
    assert_eq!(ids(&scratch), "correlation_id\nid-4\n");
    Ok(())
}

#[tokio::test]
async fn other_bytes_of_the_same_length_are_read_anew_in_an_account() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    let scratch = TempDir::new()?;
    let key = [("WHOCALLED_ACCOUNT_KEY", KEY)];
    let convert = || run_with(scratch.path(), &["convert", &azurite.url(), "--lake", "lake"], &key).success().json();
    append(&service, CONTAINER, NAME, line(1).as_bytes()).await?;
    convert();
    // Times of creation are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    recreate(&service, CONTAINER, NAME, line(2).as_bytes()).await?;
    assert_eq!(convert()["rows"], 1);
    assert_eq!(ids(&scratch), "correlation_id\nid-2\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_grows_while_it_is_read_is_converted_once() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    let scratch = TempDir::new()?;
    append(&service, CONTAINER, NAME, line(0).as_bytes()).await?;
    let (url, directory) = (azurite.url(), scratch.path().to_owned());
    let convert = move || {
        let key = [("WHOCALLED_ACCOUNT_KEY", KEY)];
        run_with(&directory, &["convert", &url, "--lake", "lake", "--quiet"], &key).success()
    };
    let converting = convert.clone();
    let runs = tokio::task::spawn_blocking(move || (0..5).for_each(|_| drop(converting())));
    let mut count = 1;
    while !runs.is_finished() {
        // In pieces that end anywhere.
        let text: String = (count..count + 7).map(line).collect();
        count += 7;
        for piece in text.as_bytes().chunks(131) {
            append(&service, CONTAINER, NAME, piece).await?;
        }
    }
    runs.await?;
    tokio::task::spawn_blocking(convert).await?;
    let mut expected: Vec<String> = (0..count).map(|id| format!("id-{id}")).collect();
    expected.sort();
    assert_eq!(ids(&scratch).lines().skip(1).collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn a_sas_never_reaches_an_output() -> Result<()> {
    let azurite = Azurite::start()?;
    append(&azurite.service(now())?, CONTAINER, NAME, line(1).as_bytes()).await?;
    let scratch = TempDir::new()?;
    let url = azurite.url_with_sas("rl", now())?;
    let signature = url.split_once("sig=").map(|(_, rest)| rest.split('&').next().unwrap_or(rest).to_owned());
    let signature = signature.expect("a SAS has a signature");
    let ran = run_with(scratch.path(), &["--log", "trace", "convert", &url, "--lake", "lake"], &[]).success();
    assert!(!ran.stdout.contains(&signature) && !ran.stderr.contains(&signature));
    assert!(!ran.stdout.contains("sig=") && !ran.stderr.contains("sig=0"));
    Ok(())
}

#[tokio::test]
async fn a_lake_in_a_storage_account_is_written_read_and_exported() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    append(&service, CONTAINER, NAME, format!("{}{}", line(1), line(2)).as_bytes()).await?;
    append(&service, "lakes", "made-so-that-the-container-exists", b"").await?;
    let scratch = TempDir::new()?;
    let endpoint = azurite.url();
    let endpoint = endpoint.trim_end_matches("/devstoreaccount1");
    let run_by = |endpoint: &str, arguments: &[&str]| {
        let variables = [
            ("WHOCALLED_ACCOUNT_KEY", KEY),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
            ("AZURITE_BLOB_STORAGE_URL", endpoint),
            ("WHOCALLED_LAKE", "az://lakes/one"),
        ];
        run_with(scratch.path(), arguments, &variables).success()
    };
    let run = |arguments: &[&str]| run_by(endpoint, arguments);
    assert_eq!(run(&["convert", &azurite.url()]).json()["rows"], 2);
    append(&service, CONTAINER, NAME, line(3).as_bytes()).await?;
    assert_eq!(run(&["convert", &azurite.url()]).json()["rows"], 1);
    run(&["optimize"]);
    let counted = run(&["sql", "-c", "SELECT count(*) AS n FROM calls", "--format", "csv"]);
    assert_eq!(counted.stdout, "n\n3\n");
    // Views read a table several times, but a small file is asked for once.
    let proxy = FaultProxy::start(endpoint.trim_start_matches("http://"))?;
    assert!(run_by(&format!("http://{}", proxy.address()), &["explain", "id-1"]).stdout.contains("id-1"));
    let mut reads = BTreeMap::<String, u32>::new();
    for request in proxy.requests().into_iter().filter(|it| it.reads("one/request_response/date=")) {
        *reads.entry(request.path).or_default() += 1;
    }
    assert!(!reads.is_empty() && reads.values().all(|count| *count == 1), "{reads:?}");
    let exported = run(&["export", "calls", "--to", "az://lakes/exported", "--format", "csv"]).json();
    assert_eq!(exported["rows"], 3);
    Ok(())
}
