//! The stages: builds `whocalled` and becomes it, arguments, exit code and all.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::cargo::{self, Profile};

/// The commands of `whocalled`. Named here, so that a mistyped chore is an error at once rather
/// than a build of five minutes and then an error.
const STAGES: [&str; 15] = [
    "simulate",
    "fetch",
    "convert",
    "report",
    "explain",
    "sql",
    "export",
    "nightly",
    "status",
    "verify",
    "doctor",
    "optimize",
    "init",
    "completions",
    "reference",
];

/// What `cargo xtask --help` says about stages.
pub(crate) const HELP: &str = "\
Stages:
  simulate | fetch | convert | report | explain | sql | export | nightly
  status | verify | doctor | optimize | init | completions
           Build `whocalled` and hand it the arguments as they are: `cargo xtask sql --help`.
           `cargo xtask --release STAGE ...` builds it in the release profile.";

/// Builds `whocalled` and runs one of its commands in the caller's directory.
pub(crate) fn run(profile: Profile, arguments: &[OsString]) -> Result<ExitCode> {
    let name = arguments.first().map(|it| it.to_string_lossy()).unwrap_or_default();
    if !STAGES.contains(&name.as_ref()) {
        bail!("`{name}` is neither a chore nor a stage; `cargo xtask --help` lists both");
    }
    let binary = cargo::build_whocalled(profile)?;
    become_program(Command::new(binary).args(arguments))
}

/// Replaces this process, so that signals and the exit code are the program's own.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(anyhow::Error::new(error).context(format!("`{}` could not be started", cargo::line(command))))
}

/// Without `exec`, waits for the program and passes its exit code on.
#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<ExitCode> {
    let status = command.status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_chore_builds_nothing() {
        let error = run(Profile::Dev, &["tset".into()]).unwrap_err().to_string();
        assert_eq!(error, "`tset` is neither a chore nor a stage; `cargo xtask --help` lists both");
    }

    #[test]
    fn the_help_lists_every_stage_but_the_hidden_one() {
        let missing: Vec<_> = STAGES.into_iter().filter(|it| *it != "reference" && !HELP.contains(it)).collect();
        assert_eq!(missing, [""; 0]);
    }
}
