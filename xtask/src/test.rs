//! `cargo xtask test`: what the tests need, then the tests.

use std::ffi::OsString;

use anyhow::Result;

use crate::azurite;
use crate::cargo::{self, Profile};
use crate::steps::Steps;

/// Sets up and runs the tests of the default members and of this runner.
pub(crate) fn run(steps: &mut Steps, arguments: &[OsString]) -> Result<()> {
    eprintln!(
        "The first run builds every dependency in the dev profile, about 5 minutes on two cores, and then the tests; \
         later runs build only what has changed."
    );
    // What is missing is said before anything is built.
    steps.step("set up Azurite", azurite::install)?;
    // The tests start the binary as users do; `cargo test` alone would not build it.
    steps.step("build whocalled", || cargo::build_whocalled(Profile::Dev))?;
    steps.step("build tests", || cargo::run(cargo::cargo().args(["test", "--no-run"]).args(arguments)))?;
    let tested = steps.step("tests", || cargo::run(cargo::cargo().args(["test", "--no-fail-fast"]).args(arguments)));
    steps
        .step("tests of xtask", || cargo::run(cargo::cargo().args(["test", "--quiet", "--package", "xtask"])))
        .and(tested)
}
