//! Where things are, and how cargo and other programs are run.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Which of cargo's profiles a build uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: for developing, tests and the demo.
    Dev,
    /// Quick to run: for benches and daily use from a checkout.
    Release,
}

/// The workspace's root directory.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// A `cargo` command that does what the same command does when typed at the workspace's root.
///
/// The directory xtask is called from would otherwise choose which packages, and with them which
/// features, are built. And cargo describes xtask to xtask in variables that some build scripts
/// (ring's) watch: passed on, they would rebuild most dependencies each time.
pub(crate) fn cargo() -> Command {
    // Cargo tells its children which cargo they were started by.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.to_string_lossy().starts_with(it)) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds `whocalled`, showing cargo's progress, and says where the binary is.
///
/// No `-p`: the binary is built with the features of all default members, as every other command
/// builds it, so that nothing is compiled twice.
pub(crate) fn build_whocalled(profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--bin", "whocalled"]);
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    run(&mut command).context("whocalled could not be built")?;
    // This program was built into TARGET/debug, whatever the target directory is called.
    let target = env::current_exe().context("the path of xtask itself is not known")?;
    let target = target.parent().and_then(Path::parent).context("xtask does not run from a target directory")?;
    let binary = target.join(directory).join("whocalled").with_extension(env::consts::EXE_EXTENSION);
    if !binary.is_file() {
        bail!("cargo built whocalled, but there is no {}; run xtask as `cargo xtask`", binary.display());
    }
    Ok(binary)
}

/// Runs a program to its end, its output shown; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command.get_program()))?;
    if !status.success() {
        bail!("`{}` failed with {status}", line(command));
    }
    Ok(())
}

/// Runs a program to its end and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| not_started(command.get_program()))?;
    if !output.status.success() {
        bail!("`{}` failed with {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote something that is not UTF-8", line(command)))
}

/// What a program with that argument says about itself, or nothing if it cannot be run.
pub(crate) fn probe(program: impl AsRef<OsStr>, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command as it would be typed, with quotes where a shell needs them.
pub(crate) fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_stem().unwrap_or(command.get_program());
    std::iter::once(name).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,+@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else if word.contains('\'') {
        format!("\"{}\"", word.replace('"', "\\\""))
    } else {
        format!("'{word}'")
    }
}

fn not_started(program: &OsStr) -> String {
    format!("`{}` could not be started; is it installed and on the PATH?", program.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("target/debug/whocalled");
        command.args(["sql", "-c", "SELECT 1", "--lake", "a/b"]);
        assert_eq!(line(&command), "whocalled sql -c 'SELECT 1' --lake a/b");
        assert_eq!(quoted(OsStr::new("tier = 'none'")), "\"tier = 'none'\"");
        assert_eq!(quoted(OsStr::new("")), "''");
    }

    #[test]
    fn cargo_does_not_hear_of_xtask() {
        let command = cargo();
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&OsStr::new(name)), "{name} is passed on");
        }
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
