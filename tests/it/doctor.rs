//! `doctor` says what does not work, what to do about it, and everything else all the same.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::Value;
use tempfile::TempDir;
use whocalled_fetch::{Archive, Auth};
use whocalled_tests::azurite::{Azurite, KEY, append};
use whocalled_tests::program::{run, run_with};

const CALLS: &str = "insights-logs-requestresponse";
const RECORD: &str =
    "{\"time\":\"2026-11-01T13:00:00Z\",\"category\":\"RequestResponse\",\"correlationId\":\"id-1\"}\n";

#[expect(clippy::disallowed_methods, reason = "Azurite checks a SAS against the machine's clock")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// The name of the blob of the hour in which `at` is.
fn name(at: DateTime<Utc>) -> String {
    let day = at.format("y=%Y/m=%m/d=%d");
    format!(
        "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/X/{day}/h={:02}/m=00/PT1H.json",
        at.hour()
    )
}

/// An examination: its exit code and its lines.
struct Examined {
    code: i32,
    lines: Vec<Value>,
    said: String,
}

impl Examined {
    /// The verdict and the text of the first line of a check.
    #[track_caller]
    fn line(&self, check: &str) -> (&str, &str) {
        let line = self.lines.iter().find(|it| it["check"] == check);
        let line = line.unwrap_or_else(|| panic!("no line {check} of {}", self.said));
        (line["verdict"].as_str().unwrap_or_default(), line["found"].as_str().unwrap_or_default())
    }

    /// The text of the first line of a check, whose verdict must be this.
    #[track_caller]
    fn found(&self, check: &str, verdict: &str) -> &str {
        let (is, found) = self.line(check);
        assert_eq!(is, verdict, "{check}: {found}\n{}", self.said);
        found
    }
}

/// Examines an archive and a lake in `directory`. Every failure and warning says what to do, and no
/// line holds a secret.
#[track_caller]
fn examine(directory: &Path, archive: &str, variables: &[(&str, &str)]) -> Examined {
    let ran = run_with(directory, &["doctor", archive, "--lake", "lake", "--format", "json"], variables);
    let lines = ran.json().as_array().cloned().unwrap_or_default();
    for line in &lines {
        assert_eq!(line["verdict"] == "pass", line["next"].is_null(), "{line}");
    }
    let said = ran.stdout + &ran.stderr;
    let signature = archive.split_once("sig=").map_or("sig=", |(_, rest)| rest.split('&').next().unwrap_or(rest));
    for secret in ["sig=", signature, KEY] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    let examined = Examined { code: ran.code, lines, said };
    // Whatever is wrong with the archive, the lake and the machine are looked at.
    for check in ["settings", "lake", "disk", "memory", "cores"] {
        examined.line(check);
    }
    examined
}

#[tokio::test]
async fn an_account_is_examined_with_a_key() -> Result<()> {
    let azurite = Azurite::start()?;
    let service = azurite.service(now())?;
    append(&service, CALLS, &name(now()), RECORD.repeat(3).as_bytes()).await?;
    append(&service, "insights-logs-audit", &name(now() - TimeDelta::days(10)), b"oops\n{\"torn\":").await?;
    let scratch = TempDir::new()?;
    let examined = examine(scratch.path(), &azurite.url(), &[("WHOCALLED_ACCOUNT_KEY", KEY)]);
    assert_eq!(examined.code, 0, "{}", examined.said);
    assert!(examined.found("dns", "pass").contains("this machine"));
    for check in ["connection", "tls", "answer", "clock", "list containers", "containers", "lake writing"] {
        examined.found(check, "pass");
    }
    assert!(examined.found("credential", "warn").contains("opens everything"));
    assert!(examined.found("administrative", "warn").contains("no insights-activity-logs"));
    let calls = examined.found("requestresponse", "pass");
    assert!(calls.starts_with("1 blob, "), "{calls}");
    assert!(calls.ends_with("its first 3 records, one a line: request_response"), "{calls}");
    let audit = examined.found("audit", "warn");
    assert!(audit.contains(" d old; ") && audit.ends_with("1 of its first 1 record cannot be decoded"), "{audit}");
    Ok(())
}

#[tokio::test]
async fn the_terms_of_a_sas_are_read() -> Result<()> {
    let azurite = Azurite::start()?;
    append(&azurite.service(now())?, CALLS, &name(now()), RECORD.as_bytes()).await?;
    let scratch = TempDir::new()?;
    let sound = examine(scratch.path(), &azurite.url_with_sas("rl", now())?, &[]);
    assert_eq!(sound.code, 0, "{}", sound.said);
    sound.found("sas permissions", "pass");
    // Azurite's are valid for a day.
    assert!(sound.found("sas validity", "warn").contains("another 23 h"));

    let wide = examine(scratch.path(), &azurite.url_with_sas("rwdlac", now())?, &[]);
    assert_eq!(wide.code, 0);
    assert!(wide.found("sas permissions", "warn").contains("write, delete"));

    let expired = examine(scratch.path(), &azurite.url_with_sas("rl", now() - TimeDelta::days(3))?, &[]);
    assert_eq!(expired.code, 3);
    expired.found("sas validity", "fail");
    expired.found("credential", "fail");
    expired.found("connection", "pass");
    Ok(())
}

#[tokio::test]
async fn a_probe_tells_who_could_write_and_writes_nothing() -> Result<()> {
    let azurite = Azurite::start()?;
    append(&azurite.service(now())?, CALLS, &name(now()), RECORD.as_bytes()).await?;
    for (permissions, may) in [("rl", false), ("rlw", true)] {
        let archive = Archive::open(&azurite.url_with_sas(permissions, now())?, Auth::default(), now()).await?;
        assert_eq!(archive.may_write(CALLS, "no-such-blob").await?, Some(may), "{permissions}");
        // Not even where there is such a blob.
        assert_eq!(archive.may_write(CALLS, &name(now())).await?, Some(may), "{permissions}");
        let survey = archive.survey(CALLS, 1).await?;
        assert_eq!((survey.blob_count, survey.bytes, survey.whole), (1, RECORD.len() as u64, true));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_denied_or_missing_fails_and_the_rest_is_said() -> Result<()> {
    let azurite = Azurite::start()?;
    let scratch = TempDir::new()?;
    let key = [("WHOCALLED_ACCOUNT_KEY", KEY)];
    let empty = examine(scratch.path(), &azurite.url(), &key);
    assert_eq!(empty.code, 3);
    empty.found("containers", "fail");
    let missing = examine(scratch.path(), &format!("{}/{CALLS}", azurite.url()), &key);
    assert_eq!(missing.code, 3);
    missing.found("list blobs", "fail");

    let wrong = examine(scratch.path(), &azurite.url(), &[("WHOCALLED_ACCOUNT_KEY", "bm90LXRoZS1rZXk=")]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.found("containers", "fail").contains("denied"));
    wrong.found("connection", "pass");
    wrong.found("clock", "pass");
    Ok(())
}

#[test]
fn a_closed_port_is_no_archive() {
    let scratch = TempDir::new().expect("a scratch directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = format!("http://{address}/devstoreaccount1");
    let examined = examine(scratch.path(), &url, &[("WHOCALLED_ACCOUNT_KEY", KEY)]);
    assert_eq!(examined.code, 3);
    examined.found("dns", "pass");
    examined.found("connection", "fail");
    examined.found("answer", "fail");
}

#[test]
fn a_directory_and_its_lake_are_examined() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "100", "--hours", "3"]).success();
    let before = examine(at, "tenant", &[]);
    assert_eq!(before.code, 0, "{}", before.said);
    assert!(before.found("lake", "warn").contains("there is none"));
    before.found("lake writing", "pass");
    assert!(before.found("archive", "pass").contains("directory tenant"));
    assert!(before.found("requestresponse", "warn").contains("newest of 2026-11-02T02:00:00Z"));
    assert!(!at.join("lake").exists(), "nothing was made");

    run(at, &["convert", "tenant", "--lake", "lake"]).success();
    let after = examine(at, "tenant", &[]);
    assert!(after.found("lake", "pass").contains("batch 1"), "{}", after.said);
    after.found("lake writing", "pass");
    assert!(!at.join("lake/_probe").exists(), "the probe is taken away");
    run(at, &["verify", "tenant", "--lake", "lake", "--all"]).success();

    let table = run(at, &["doctor", "tenant", "--lake", "lake"]).success();
    assert!(table.stdout.lines().any(|line| line.starts_with("pass  lake ")), "{}", table.stdout);
    assert!(!table.stdout.contains('\x1b'), "colours are for terminals");
}

#[test]
fn each_area_has_an_exit_code_of_its_own() {
    let scratch = TempDir::new().expect("a scratch directory");
    let at = scratch.path();
    run(at, &["simulate", "--out", "tenant", "--calls", "100", "--hours", "3"]).success();
    assert_eq!(examine(at, "nowhere", &[]).code, 3);

    fs::create_dir(at.join("lake")).expect("a directory");
    fs::write(at.join("lake/letter.txt"), "dear").expect("a file");
    let foreign = examine(at, "tenant", &[]);
    assert_eq!(foreign.code, 4);
    foreign.found("lake", "fail");
    fs::remove_dir_all(at.join("lake")).expect("a directory");

    fs::write(at.join("whocalled.toml"), "archve = \"tenant\"\n").expect("settings");
    let settings = examine(at, "tenant", &[]);
    assert_eq!(settings.code, 2);
    assert!(settings.found("settings", "fail").contains("archive"), "the nearest key is named");
    settings.found("containers", "pass");
}
