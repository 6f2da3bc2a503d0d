//! Entra credentials from end to end: the program, as it is started by a user, gets tokens from a
//! token endpoint and reads a Storage Account with them, both over HTTPS and on this machine.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use whocalled_fetch::{Archive, Auth, Error};
use whocalled_tests::authority::{Authority, CLIENT, Proof, TENANT};
use whocalled_tests::azurite::{Azurite, append};
use whocalled_tests::certificates::Certificates;
use whocalled_tests::program::{Ran, run, run_with};
use whocalled_types::{BlobName, ErrorKind};

const SECRET: &str = "hush~Q8.not-to-be-seen";
const HOUR: i64 = 3600;

#[expect(clippy::disallowed_methods, reason = "Azurite checks tokens against the machine's clock")]
fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// An archive in Azurite, and the same in a directory.
struct Tenant {
    scratch: TempDir,
    certificates: Certificates,
    azurite: Azurite,
}

impl Tenant {
    async fn make(hours: u32) -> Result<Self> {
        let hours = hours.to_string();
        let scratch = TempDir::new()?;
        let simulate = ["simulate", "--out", "tenant", "--seed", "5", "--calls", "300", "--hours", &hours];
        run(scratch.path(), &simulate).success();
        let certificates = Certificates::make(scratch.path())?;
        let azurite = Azurite::start_https(&certificates)?;
        let service = azurite.service_with(certificates.client_options()?, now())?;
        let archive = scratch.path().join("tenant/archive");
        for container in fs::read_dir(&archive)? {
            let container = container?;
            let container_name = container.file_name().to_string_lossy().into_owned();
            for file in files(&container.path())? {
                let name = Path::new(&file).strip_prefix(container.path())?.to_string_lossy().into_owned();
                append(&service, &container_name, &name, &fs::read(&file)?).await?;
            }
        }
        Ok(Self { scratch, certificates, azurite })
    }

    fn convert(&self, lake: &str, authority: &Authority, kind: &str, variables: &[(&str, &str)]) -> Ran {
        let trusted = self.certificates.authority_file();
        let trusted = trusted.to_str().unwrap_or_default();
        let mut variables = variables.to_vec();
        variables.extend([("SSL_CERT_FILE", trusted), ("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT)]);
        let (url, authority) = (self.azurite.url(), authority.url());
        let arguments = ["convert", &url, "--lake", lake, "--auth", kind, "--authority-host", &authority];
        run_with(self.scratch.path(), &arguments, &variables)
    }

    /// How many rows each table has, and how many tokens were billed: what is different in a lake
    /// that lacks a record or has one twice.
    fn figures(&self, lake: &str) -> String {
        let sql = "SELECT count(*), count(DISTINCT correlation_id), sum(prompt_tokens) FROM request_response \
                   UNION ALL SELECT count(*), count(DISTINCT correlation_id), 0 FROM activity \
                   UNION ALL SELECT count(*), 0, 0 FROM rejects ORDER BY 1";
        run(self.scratch.path(), &["sql", "--lake", lake, "-c", sql, "--format", "csv"]).success().stdout
    }
}

fn files(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn every_application_credential_brings_the_whole_archive() -> Result<()> {
    let tenant = Tenant::make(3).await?;
    run(tenant.scratch.path(), &["convert", "tenant", "--lake", "expected"]).success();
    let expected = tenant.figures("expected");
    let (certificate_file, certificate) = tenant.certificates.application()?;
    let token_file = tenant.scratch.path().join("federated-token");
    fs::write(&token_file, "a.federated.token")?;
    let path = |path: &Path| path.to_string_lossy().into_owned();

    for (kind, label, proof, variable) in [
        (
            "client-secret",
            "client secret",
            Proof::Secret(SECRET.to_owned()),
            ("AZURE_CLIENT_SECRET", SECRET.to_owned()),
        ),
        (
            "client-certificate",
            "client certificate",
            Proof::Certificate(certificate),
            ("WHOCALLED_CLIENT_CERTIFICATE", path(&certificate_file)),
        ),
        (
            "workload-identity",
            "workload identity",
            Proof::Federated("a.federated.token".to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE", path(&token_file)),
        ),
    ] {
        let authority = Authority::start(&tenant.certificates, proof, HOUR)?;
        let ran = tenant.convert(kind, &authority, kind, &[(variable.0, &variable.1)]);
        assert_eq!(authority.refused(), Vec::<String>::new(), "{kind}: {}", ran.stderr);
        let ran = ran.success();
        assert_eq!(ran.json()["credential"], label);
        assert_eq!(authority.given_count(), 1, "{kind}: a token that is valid is not asked for again");
        assert_eq!(tenant.figures(kind), expected, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_shown() -> Result<()> {
    let tenant = Tenant::make(3).await?;
    let authority = Authority::start(&tenant.certificates, Proof::Secret("another".to_owned()), HOUR)?;
    let ran = tenant.convert("lake", &authority, "client-secret", &[("AZURE_CLIENT_SECRET", SECRET)]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("client secret: AADSTS7000215: Invalid client secret"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET), "{}", ran.stderr);
    assert_eq!(authority.refused().len(), 1, "a refusal is not asked for again");
    Ok(())
}

#[tokio::test]
async fn tokens_are_renewed_and_an_outage_of_their_endpoint_is_borne() -> Result<()> {
    let tenant = Tenant::make(30).await?;
    // Shorter than the run, and far shorter than the five minutes before which the SDK renews, so that
    // every request asks for a new one.
    let authority = Authority::start(&tenant.certificates, Proof::Secret(SECRET.to_owned()), 3)?;
    authority.fail(2);
    let ran = tenant.convert("lake", &authority, "client-secret", &[("AZURE_CLIENT_SECRET", SECRET)]).success();
    assert_eq!(authority.failures_left(), 0, "it was asked again after its failures");
    assert!(authority.given_count() > 2, "{} tokens", authority.given_count());
    assert_eq!(ran.json()["failures"].as_array().map(Vec::len), Some(0), "{}", ran.stdout);
    run(tenant.scratch.path(), &["convert", "tenant", "--lake", "expected"]).success();
    assert_eq!(tenant.figures("lake"), tenant.figures("expected"));
    Ok(())
}

#[tokio::test]
async fn a_sas_that_expires_in_the_middle_says_so() -> Result<()> {
    let azurite = Azurite::start()?;
    let blob = BlobName { container: "insights-logs-audit".to_owned(), name: "PT1H.json".to_owned() };
    append(&azurite.service(now())?, &blob.container, &blob.name, b"0123456789").await?;
    // A SAS made a day ago has two seconds left.
    let began = now() - TimeDelta::hours(24) + TimeDelta::seconds(2);
    let archive = Archive::open(&azurite.url_with_sas("rl", began)?, Auth::default(), began).await?;
    assert_eq!(archive.read(&blob, 0..5).await?, "01234");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for error in [archive.read(&blob, 5..10).await.err(), archive.containers().await.err()] {
        assert!(matches!(&error, Some(Error::Expired { .. })), "{error:?}");
        assert_eq!(error.as_ref().map(Error::kind), Some(ErrorKind::Abort));
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("expired at") && text.contains("what was committed stays"), "{text}");
        assert!(!text.contains("sig="), "{text}");
    }
    Ok(())
}
