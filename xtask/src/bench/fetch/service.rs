//! What is fetched from: Azurite, which knows the whole protocol, or the static server, which is fast
//! and counts.

use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::archive::{Archive, CONTAINER, Grown};
use super::server::{Requests, Server};
use crate::azurite::{ACCOUNT_KEY, ACCOUNT_NAME, Azurite};

const UPLOAD: &str = include_str!("upload.js");

/// The static server takes any SAS; whocalled wants one with a signature.
const SAS_FOR_STATIC: &str = "sv=2022-11-02&sig=none";

/// Which service to fetch from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The pinned Azurite, in memory
    Azurite,
    /// A server of files that only counts requests
    Static,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Azurite, Self::Static];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Azurite => "Azurite",
            Self::Static => "static",
        }
    }
}

/// A running service that holds an archive.
pub(super) enum Service {
    Azurite { process: Azurite, sas: String },
    Static(Server),
}

impl Service {
    /// Starts it on a free port and gives it the archive.
    pub(super) fn start(kind: Kind, archive: &Archive) -> Result<Self> {
        match kind {
            Kind::Static => Ok(Self::Static(Server::start(archive)?)),
            Kind::Azurite => {
                let process = Azurite::start()?;
                let whole = archive.blobs.iter().map(|it| Grown { name: it.name.clone(), from: 0 });
                let sas = upload(&process.url(), archive, whole)?;
                Ok(Self::Azurite { process, sas })
            }
        }
    }

    /// Brings it up to date with blobs of the archive that have grown.
    pub(super) fn update(&self, archive: &Archive, grown: Vec<Grown>) -> Result<()> {
        match self {
            Self::Static(server) => server.update(archive),
            Self::Azurite { process, .. } => {
                upload(&process.url(), archive, grown)?;
            }
        }
        Ok(())
    }

    /// The URL of the account, of its container or of a blob, with a SAS.
    pub(super) fn url(&self, below: &str) -> String {
        match self {
            Self::Azurite { process, sas } => format!("{}{below}?{sas}", process.url()),
            Self::Static(server) => format!("{}{below}?{SAS_FOR_STATIC}", server.url()),
        }
    }

    /// What was asked since this was last called; Azurite does not count.
    pub(super) fn take_requests(&self) -> Option<Requests> {
        match self {
            Self::Azurite { .. } => None,
            Self::Static(server) => Some(server.take_requests()),
        }
    }
}

/// Puts bytes of blobs into an Azurite, and gives back a SAS for it.
///
/// Node does it, which Azurite needs anyway: rclone and others upload block blobs, which cannot grow.
fn upload(url: &str, archive: &Archive, blobs: impl IntoIterator<Item = Grown>) -> Result<String> {
    let mut node = Command::new("node")
        .args(["-e", UPLOAD, url, ACCOUNT_NAME, ACCOUNT_KEY, CONTAINER])
        .arg(&archive.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("node could not be started")?;
    // Dropped at the end of the block, which ends node's input.
    let written = {
        let mut lines = BufWriter::new(node.stdin.take().context("node has no standard input")?);
        blobs.into_iter().try_for_each(|it| writeln!(lines, "{} {}", it.from, it.name)).and_then(|()| lines.flush())
    };
    let output = node.wait_with_output().context("waiting for node failed")?;
    if !output.status.success() || written.is_err() {
        bail!("blobs could not be put into Azurite: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
