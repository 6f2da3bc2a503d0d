//! `cargo xtask lint`: formatting, house rules, clippy and the generated reference.

use anyhow::{Result, bail};

use crate::cargo::{self, cargo};
use crate::steps::Steps;
use crate::{codegen, tidy};

/// Runs every lint, also after one has failed, and fails if any did.
pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    // Clippy needs the metadata of all dependencies, which `cargo build` does not leave behind.
    eprintln!("\nClippy's first run compiles the front end of every dependency again: about 3 minutes on two cores.");
    let clippy = ["clippy", "--quiet", "--all-targets"];
    let deny = ["--", "-D", "warnings"];
    let outcomes = [
        steps.step("fmt", || cargo::run(cargo().args(["fmt", "--all", "--check"]))),
        steps.step("tidy", tidy::run),
        steps.step("clippy xtask", || cargo::run(cargo().args(clippy).args(["--package", "xtask"]).args(deny))),
        steps.step("clippy", || cargo::run(cargo().args(clippy).args(deny))),
        steps.step("codegen --check", || codegen::run(true)),
    ];
    match outcomes.iter().filter(|it| it.is_err()).count() {
        0 => Ok(()),
        1 => bail!("one of the lints failed"),
        count => bail!("{count} of the lints failed"),
    }
}
