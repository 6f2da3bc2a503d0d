//! rclone beside us: what many would reach for to copy a Storage Account's blobs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Where a package is unpacked; the bench's own directory is emptied at each start.
const DIRECTORY: &str = "target/bench-tools";

/// The installed rclone, or else Debian's package of it, unpacked and not installed.
pub(super) fn find() -> Result<PathBuf> {
    let directory = cargo::root().join(DIRECTORY);
    let unpacked = directory.join("usr/bin/rclone");
    for program in [PathBuf::from("rclone"), unpacked.clone()] {
        if cargo::probe(&program, "version").is_some() {
            return Ok(program);
        }
    }
    for program in ["apt-get", "dpkg"] {
        if cargo::probe(program, "--version").is_none() {
            bail!("it is not installed, and cannot be got from Debian's packages without {program}; install rclone");
        }
    }
    eprintln!("unpacking Debian's rclone into {DIRECTORY}");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    cargo::output(Command::new("apt-get").args(["--quiet=2", "download", "rclone"]).current_dir(&directory))
        .context("it is not installed, and no package was got; install rclone, or try `apt-get update`")?;
    for entry in fs::read_dir(&directory)? {
        let package = entry?.path();
        if package.extension().is_some_and(|it| it == "deb") {
            cargo::run(Command::new("dpkg").arg("-x").arg(package).arg(&directory))?;
        }
    }
    if cargo::probe(&unpacked, "version").is_none() {
        bail!("the package of rclone is unpacked, but {} does not run", unpacked.display());
    }
    Ok(unpacked)
}

/// Its version, for instance `rclone v1.60.1-DEV`.
pub(super) fn version(program: &PathBuf) -> String {
    let told = cargo::probe(program, "version").unwrap_or_default();
    told.lines().next().unwrap_or("rclone").to_owned()
}
