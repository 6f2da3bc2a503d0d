//! Putting an archive into Azurite.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::azurite::{ACCOUNT_KEY, ACCOUNT_NAME, Azurite};

const UPLOAD: &str = include_str!("upload.js");

/// Appends to each blob of a container, from a byte on, what its file below `directory` has; from byte 0 on
/// the blob is made. Gives back a SAS for the account.
///
/// Node does it, which Azurite needs anyway: rclone and others upload block blobs, which cannot grow.
pub(super) fn upload<'a>(
    azurite: &Azurite,
    container: &str,
    directory: &Path,
    blobs: impl IntoIterator<Item = (u64, &'a str)>,
) -> Result<String> {
    let mut node = Command::new("node")
        .args(["-e", UPLOAD, &azurite.url(), ACCOUNT_NAME, ACCOUNT_KEY, container])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("node could not be started")?;
    // Dropped at the end of the block, which ends node's input.
    let written = {
        let mut lines = BufWriter::new(node.stdin.take().context("node has no standard input")?);
        blobs.into_iter().try_for_each(|(from, name)| writeln!(lines, "{from} {name}")).and_then(|()| lines.flush())
    };
    let output = node.wait_with_output().context("waiting for node failed")?;
    if !output.status.success() || written.is_err() {
        bail!("blobs could not be put into Azurite: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
