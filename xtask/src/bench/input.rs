//! Simulated archives and lakes, made once and kept: a stamp beside each says what it was made with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::measure;
use crate::cargo;

/// The container of the calls.
pub(super) const CALLS: &str = "insights-logs-requestresponse";

/// A directory of that name below `target/bench`, as `make` left it. It is made anew unless it was made
/// with these very arguments; `megabytes` is what must be free for that.
pub(super) fn kept(
    name: &str,
    arguments: &[&str],
    megabytes: u64,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = cargo::root().join("target/bench").join(name);
    let stamp = directory.with_extension("stamp");
    let made_with = arguments.join(" ");
    if directory.is_dir() && fs::read_to_string(&stamp).is_ok_and(|it| it == made_with) {
        return Ok(directory);
    }
    remove(&directory)?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    if let Some(free) = megabytes_free(&directory).filter(|it| *it < megabytes) {
        bail!("{name} takes {megabytes} MB of disk, and {free} MB are free");
    }
    eprintln!("making {}: {made_with}", directory.display());
    make(&directory)?;
    fs::write(&stamp, made_with).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(directory)
}

/// An archive that `whocalled simulate` makes.
pub(super) fn archive(binary: &Path, name: &str, arguments: &[&str], megabytes: u64) -> Result<PathBuf> {
    kept(name, arguments, megabytes, |directory| simulate(binary, arguments, directory))
}

/// Simulates into a directory.
pub(super) fn simulate(binary: &Path, arguments: &[&str], directory: &Path) -> Result<()> {
    measure::once(Command::new(binary).args(["simulate", "--quiet", "--out"]).arg(directory).args(arguments))?;
    Ok(())
}

/// Makes sure that a directory is not there.
pub(super) fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

/// How many bytes the files below a directory have.
pub(super) fn bytes_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// What `df` says; nothing where there is none.
fn megabytes_free(directory: &Path) -> Option<u64> {
    let run = measure::once(Command::new("df").args(["-P", "-k"]).arg(directory)).ok()?;
    parse_free(&run.stdout)
}

fn parse_free(told: &str) -> Option<u64> {
    let kibibytes: u64 = told.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kibibytes * 1024 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_made_again_when_its_arguments_change() {
        let name = format!("test-{}", std::process::id());
        let mut made = 0;
        for arguments in [["--calls", "1"], ["--calls", "1"], ["--calls", "2"]] {
            let directory = kept(&name, &arguments, 0, |directory| {
                made += 1;
                assert_eq!(bytes_below(directory)?, 0, "what was there is gone");
                Ok(fs::write(directory.join("file"), "some")?)
            });
            assert_eq!(bytes_below(&directory.unwrap()).unwrap(), 4);
        }
        assert_eq!(made, 2);
        let directory = cargo::root().join("target/bench").join(name);
        remove(&directory).unwrap();
        fs::remove_file(directory.with_extension("stamp")).unwrap();
    }

    #[test]
    fn free_space_is_read_from_the_fourth_column() {
        let told = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 30 62500 30% /\n";
        assert_eq!(parse_free(told), Some(64));
        assert_eq!(parse_free("df: nothing\n"), None);
    }
}
