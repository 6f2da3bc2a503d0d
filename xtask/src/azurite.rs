//! The pinned Azurite: installing it, and running commands against it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// What `cargo xtask azurite --help` adds.
pub(crate) const HELP: &str = "\
The command gets, in its environment:
  AZURITE_BLOB_URL          where Azurite listens, account included
  AZURITE_ACCOUNT_NAME      Azurite's one account
  AZURITE_ACCOUNT_KEY       its published key
  WHOCALLED_ACCOUNT_KEY     the same, so that whocalled signs in without being told
  AZURE_STORAGE_CONNECTION_STRING   all of it, for `az storage`

Example:
  cargo xtask azurite -- sh -c 'whocalled doctor \"$AZURITE_BLOB_URL\" --auth key'";

/// Azurite's account and key are the same everywhere and published; they protect nothing.
pub(crate) const ACCOUNT_NAME: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Starts Azurite's blob service and ends it when standard input closes: whatever ends the
/// runner, a kill included, no server stays behind.
const START: &str = "\
process.stdin.on('end', () => process.exit(0)).resume(); \
require(process.argv[1]);";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Installs what package-lock.json pins, unless that has been done, and says where it is.
pub(crate) fn install() -> Result<PathBuf> {
    for program in ["node", "npm"] {
        if cargo::probe(program, "--version").is_none() {
            bail!(
                "{program} is missing: the tests run a real blob service, Azurite, which needs Node.js with npm \
                 (it asks for version 22 or newer); install both from https://nodejs.org or with your system's \
                 packages (`apt install nodejs npm`, `brew install node`), then run this again"
            );
        }
    }
    let directory = cargo::root().join("tests/azurite");
    let modified = |path: &str| fs::metadata(directory.join(path)).and_then(|it| it.modified());
    let pinned = modified("package-lock.json").context("tests/azurite/package-lock.json is missing")?;
    // npm writes this file at the end of an installation.
    let installed = modified("node_modules/.package-lock.json");
    if installed.is_ok_and(|it| it >= pinned) {
        eprintln!("Azurite is installed");
    } else {
        eprintln!("installing Azurite with `npm ci` in tests/azurite");
        let mut npm = Command::new("npm");
        cargo::run(npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory))?;
    }
    Ok(directory.join("node_modules/azurite/dist/src/blob/main.js"))
}

/// Runs a command against an Azurite of its own; without a command, waits for Ctrl-C.
pub(crate) fn run(command: &[OsString]) -> Result<ExitCode> {
    let mut azurite = Azurite::start()?;
    let url = azurite.url();
    eprintln!("Azurite listens at {url}");
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("stop it with Ctrl-C");
        let status = azurite.process.wait().context("waiting for Azurite failed")?;
        bail!("Azurite ended by itself, with {status}");
    };
    let status = Command::new(program)
        .args(arguments)
        .env("AZURITE_BLOB_URL", &url)
        .env("AZURITE_ACCOUNT_NAME", ACCOUNT_NAME)
        .env("AZURITE_ACCOUNT_KEY", ACCOUNT_KEY)
        .env("WHOCALLED_ACCOUNT_KEY", ACCOUNT_KEY)
        .env("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())
        .status()
        .with_context(|| format!("`{}` could not be started", program.to_string_lossy()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A running Azurite; it ends when this is dropped.
pub(crate) struct Azurite {
    process: Child,
    /// Held open for as long as Azurite is to run; waiting for the process would otherwise close it.
    _stdin: Option<ChildStdin>,
    port: u16,
}

impl Azurite {
    /// Installs it where that is needed, and starts it in memory on a free port.
    pub(crate) fn start() -> Result<Self> {
        let script = install()?;
        let port = free_port().context("no free port on 127.0.0.1")?;
        let mut process = Command::new("node")
            .args(["-e", START])
            .arg(script)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .stdin(Stdio::piped())
            // Standard output belongs to the command.
            .stdout(Stdio::null())
            .spawn()
            .context("node could not be started")?;
        let mut azurite = Self { _stdin: process.stdin.take(), process, port };
        azurite.wait_until_it_answers()?;
        Ok(azurite)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("Azurite ended before it answered, with {status}");
            }
            if started.elapsed() > START_TIMEOUT {
                bail!("Azurite did not answer on port {} within {} s", self.port, START_TIMEOUT.as_secs());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Where it listens, account included.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT_NAME}", self.port)
    }

    /// All that a client needs to sign in, in the form that Azure's tools take.
    pub(crate) fn connection_string(&self) -> String {
        let url = self.url();
        format!("DefaultEndpointsProtocol=http;AccountName={ACCOUNT_NAME};AccountKey={ACCOUNT_KEY};BlobEndpoint={url};")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to do about a failure here.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
