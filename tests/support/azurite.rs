//! A real Storage Account's protocol for tests: the pinned Azurite on a free port, and append blobs
//! written through Azure's SDK, as diagnostic settings write them.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use azure_core::http::{ClientOptions, StatusCode, Url};
use azure_storage_blob::{
    AppendBlobClient, BlobServiceClient, BlobServiceClientOptions, models::AppendBlobClientCreateOptions,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use whocalled_fetch::{Auth, Secret, account_sas};

use crate::certificates::Certificates;

/// Azurite's only account, and its key. Both are published, and the same everywhere.
pub const ACCOUNT: &str = "devstoreaccount1";
/// The key of [`ACCOUNT`].
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What Azurite prints before its address.
const LISTENS: &str = "successfully listens on ";
/// The most that is appended at once; what Azure itself appends is far less.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// A running Azurite, empty at first. Dropping it ends it.
#[derive(Debug)]
pub struct Azurite {
    process: Child,
    address: String,
}

impl Azurite {
    /// Starts the Azurite that `tests/azurite/package-lock.json` pins, and waits until it listens.
    ///
    /// # Errors
    /// Where Node or the installed package is missing, with what to run; or where Azurite ends
    /// instead of listening.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Azurite::start`], but over HTTPS, and taking tokens of Entra's form. What it checks of
    /// them is their issuer, audience and times.
    ///
    /// # Errors
    /// As [`Azurite::start`].
    pub fn start_https(certificates: &Certificates) -> anyhow::Result<Self> {
        let (certificate, key) = certificates.server_files();
        Self::start_with(&[
            OsStr::new("--oauth"),
            OsStr::new("basic"),
            OsStr::new("--cert"),
            certificate.as_os_str(),
            OsStr::new("--key"),
            key.as_os_str(),
        ])
    }

    fn start_with(arguments: &[&OsStr]) -> anyhow::Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("azurite");
        let main = package.join("node_modules/azurite/dist/src/blob/main.js");
        ensure!(main.is_file(), "azurite is not installed; run `npm ci` in {}", package.display());
        let mut process = Command::new("node")
            .arg(&main)
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start node; install Node.js 20 or newer")?;
        let output = process.stdout.take().context("azurite has no output")?;
        let mut azurite = Self { process, address: String::new() };
        let mut lines = BufReader::new(output).lines();
        loop {
            let Some(line) = lines.next() else { bail!("azurite ended before it listened") };
            if let Some((_, address)) = line?.split_once(LISTENS) {
                azurite.address = address.trim().to_owned();
                break;
            }
        }
        // Azurite would block on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Ok(azurite)
    }

    /// The URL of the account, as a user would give it for the archive.
    pub fn url(&self) -> String {
        format!("{}/{ACCOUNT}", self.address)
    }

    /// What to authenticate with.
    pub fn auth() -> Auth {
        Auth { account_key: Some(Secret::new(KEY)), ..Auth::default() }
    }

    /// The account's URL with a SAS of these permissions, valid from `now` for a day.
    ///
    /// # Errors
    /// None: the key is base64.
    pub fn url_with_sas(&self, permissions: &str, now: DateTime<Utc>) -> anyhow::Result<String> {
        let sas = account_sas(ACCOUNT, &Secret::new(KEY), permissions, true, now)?;
        Ok(format!("{}?{}", self.url(), sas.expose()))
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// Where the SDK refuses the URL.
    pub fn service(&self, now: DateTime<Utc>) -> anyhow::Result<BlobServiceClient> {
        self.service_with(ClientOptions::default(), now)
    }

    /// As [`Azurite::service`], with options such as whom to trust over HTTPS.
    ///
    /// # Errors
    /// As [`Azurite::service`].
    pub fn service_with(&self, client_options: ClientOptions, now: DateTime<Utc>) -> anyhow::Result<BlobServiceClient> {
        let url = Url::parse(&self.url_with_sas("rwdlac", now)?)?;
        let options = BlobServiceClientOptions { client_options, ..BlobServiceClientOptions::default() };
        Ok(BlobServiceClient::new(url, None, Some(options))?)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Appends to a blob, which is created, with its container, where there is none.
///
/// # Errors
/// Whatever the service answers.
pub async fn append(service: &BlobServiceClient, container: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let container = service.blob_container_client(container);
    tolerate(container.create(None).await, StatusCode::Conflict)?;
    let blob = container.blob_client(name).append_blob_client();
    let options = AppendBlobClientCreateOptions::default().if_not_exists();
    tolerate(blob.create(Some(options)).await, StatusCode::Conflict)?;
    append_blocks(&blob, bytes).await
}

/// Creates a blob again under its name, as a lost and restored archive does: what it held is gone.
///
/// # Errors
/// Whatever the service answers.
pub async fn recreate(service: &BlobServiceClient, container: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let client = service.blob_client(container, name);
    client.delete(None).await?;
    let blob = client.append_blob_client();
    blob.create(None).await?;
    append_blocks(&blob, bytes).await
}

async fn append_blocks(blob: &AppendBlobClient, bytes: &[u8]) -> anyhow::Result<()> {
    for block in bytes.chunks(APPEND_BYTES_MAX) {
        blob.append_block(Bytes::copy_from_slice(block).into(), block.len() as u64, None).await?;
    }
    Ok(())
}

/// Takes one status for success: what was to be made is there already.
fn tolerate<T>(result: azure_core::Result<T>, status: StatusCode) -> anyhow::Result<()> {
    match result {
        Err(error) if error.http_status() != Some(status) => Err(error.into()),
        _ => Ok(()),
    }
}
