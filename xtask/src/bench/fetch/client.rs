//! Who fetches: whocalled, rclone, and curl as the ceiling.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::{Archive, CONTAINER};
use super::service::Service;
use crate::cargo;

/// How many files curl gets at a time.
const CURL_PARALLEL: &str = "16";

/// A program that copies a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Client {
    Whocalled {
        binary: PathBuf,
    },
    Rclone {
        program: PathBuf,
        transfers: u32,
    },
    /// Is told every URL, and lists nothing: what the service and the disk can do.
    Curl,
}

impl Client {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Whocalled { .. } => "whocalled".to_owned(),
            Self::Rclone { transfers, .. } => format!("rclone, {transfers} transfers"),
            Self::Curl => "curl -Z, no listing".to_owned(),
        }
    }

    /// The client's own directory below that of the bench.
    pub(super) fn target(&self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Whocalled { .. } => "whocalled",
            Self::Rclone { .. } => "rclone",
            Self::Curl => "curl",
        })
    }

    /// Where the copied blobs are; the same for all.
    pub(super) fn copy(&self, directory: &Path) -> PathBuf {
        self.target(directory).join(CONTAINER)
    }

    /// The command that brings the copy up to date.
    pub(super) fn command(&self, service: &Service, directory: &Path) -> Command {
        let target = self.target(directory);
        let mut command = match self {
            Self::Whocalled { binary } => {
                let mut command = Command::new(binary);
                command.args(["fetch", &service.url(""), "--quiet", "--to"]).arg(&target);
                command
            }
            Self::Rclone { program, transfers } => {
                let count = transfers.to_string();
                let mut command = Command::new(program);
                command.arg("copy").arg(format!(":azureblob:{CONTAINER}")).arg(self.copy(directory));
                // No retries, so that whatever fails is seen.
                command.args(["--config=", "--retries=1", "--low-level-retries=1", "--stats=0"]);
                command.args(["--fast-list", "--transfers", &count, "--checkers", &count]);
                command.env("RCLONE_AZUREBLOB_SAS_URL", service.url(&format!("/{CONTAINER}")));
                command
            }
            Self::Curl => {
                let mut command = Command::new("curl");
                command.args(["--silent", "--show-error", "--fail", "--create-dirs"]);
                command.args(["--parallel", "--parallel-max", CURL_PARALLEL, "--config"]).arg(curl_list(directory));
                command
            }
        };
        // Away from the settings of whoever runs this, and from proxies.
        command.current_dir(directory).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command
    }

    /// Writes down what curl has to get.
    pub(super) fn tell_curl(service: &Service, archive: &Archive, directory: &Path) -> Result<()> {
        let copy = Self::Curl.copy(directory);
        let path = curl_list(directory);
        let mut list = BufWriter::new(File::create(&path).with_context(|| format!("cannot write {}", path.display()))?);
        for blob in &archive.blobs {
            writeln!(list, "url = \"{}\"", service.url(&format!("/{CONTAINER}/{}", blob.name)))?;
            writeln!(list, "output = \"{}\"", copy.join(&blob.name).display())?;
        }
        Ok(list.flush()?)
    }

    /// curl, where there is one that gets files in parallel (since 7.66).
    pub(super) fn curl() -> Option<Self> {
        cargo::probe("curl", "--help").and_then(|_| cargo::probe("curl", "--version")).map(|_| Self::Curl)
    }
}

fn curl_list(directory: &Path) -> PathBuf {
    directory.join("curl.conf")
}
