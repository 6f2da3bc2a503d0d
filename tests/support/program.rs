//! The built `whocalled`, started as a user starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program's binary, beside the test binaries.
///
/// # Panics
/// If it was not built: `cargo xtask test` builds it first.
pub fn whocalled() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let directory = test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
    let program = directory.join("whocalled");
    assert!(program.exists(), "{} is missing: run `cargo xtask test`, which builds it", program.display());
    program
}

/// What a run of the program ended with.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 if it was killed.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The program, to be started in `directory` without any setting of the environment but `variables`.
pub fn command(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = bare(Command::new(whocalled()), directory);
    command.args(arguments).envs(variables.iter().copied());
    command
}

/// The program started by a shell script, which knows it as `"$0" "$@"`.
pub fn scripted(directory: &Path, script: &str, arguments: &[&str]) -> Command {
    let mut command = bare(Command::new("sh"), directory);
    command.args(["-c", script]).arg(whocalled()).args(arguments);
    command
}

#[expect(clippy::disallowed_methods, reason = "what the tests' own environment sets must not reach the program")]
fn bare(mut command: Command, directory: &Path) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHOCALLED_") || name.starts_with("AZURE_")) {
        command.env_remove(name);
    }
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs the program to its end, started as [`command`] says.
///
/// # Panics
/// If it cannot be started.
pub fn run_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    ran(&command(directory, arguments, variables).output().expect("the program starts"))
}

/// What a run that has ended left.
pub fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// As [`run_with`], without variables.
///
/// # Panics
/// If it cannot be started.
pub fn run(directory: &Path, arguments: &[&str]) -> Ran {
    run_with(directory, arguments, &[])
}

impl Ran {
    /// The run, which must have ended well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("stdout is JSON")
    }
}
