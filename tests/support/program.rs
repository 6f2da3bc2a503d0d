//! The built `whocalled`, started as a user starts it.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// The exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Runs the program in `directory`, without any setting of the environment but `variables`.
///
/// # Panics
/// If it cannot be started.
#[expect(clippy::disallowed_methods, reason = "what the tests' own environment sets must not reach the program")]
pub fn run_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(whocalled());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHOCALLED_") || name.starts_with("AZURE_")) {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(directory)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts");
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
