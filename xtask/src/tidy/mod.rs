//! `cargo xtask tidy`: the house rules that no compiler knows, each with a message that says why.
//!
//! A rule is a function from the text files of the repository to findings. It touches no file
//! itself, so that its tests are literals.

mod decisions;
mod graph;
mod manifests;
mod modules;
mod sources;
mod sql;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Where text that obeys the rules lives, besides the files at the root.
const DIRECTORIES: [&str; 7] = [".cargo", ".ci", ".config", "crates", "docs", "tests", "xtask"];

/// Directories below those that hold other people's files, or data on purpose.
const SKIPPED: [&str; 3] = ["node_modules", "target", "fixtures"];

/// What is read; other files are data.
const EXTENSIONS: [&str; 9] = ["rs", "toml", "lock", "md", "sql", "slt", "json", "yml", ""];

const RULES: [fn(&Tree) -> Vec<Finding>; 12] = [
    sources::begins_with_a_module_comment,
    sources::is_short,
    sources::leaves_nothing_undone,
    modules::is_declared,
    manifests::inherits_lints_and_package_keys,
    manifests::inherits_every_dependency,
    manifests::links_datafusion_in_one_place,
    graph::is_the_documented_one,
    graph::has_no_cycle,
    sql::has_a_test,
    decisions::are_listed,
    words::belong_here,
];

/// The text files of the repository, by path from its root with forward slashes.
pub(crate) type Tree = BTreeMap<String, String>;

/// One violation of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the repository's root.
    path: String,
    /// The line, from 1, where there is one to point at.
    line: Option<usize>,
    /// What is wrong, why it matters, and what to do.
    message: String,
}

impl Finding {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    fn at_line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Checks every rule and prints every finding.
pub(crate) fn run() -> Result<()> {
    let tree = read(cargo::root())?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => eprintln!("tidy: {} files obey {} rules", tree.len(), RULES.len()),
        1 => bail!("one line above breaks a rule of the house"),
        count => bail!("{count} lines above break rules of the house"),
    }
    Ok(())
}

fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_directory(root, "", false, &mut tree)?;
    for directory in DIRECTORIES {
        if root.join(directory).is_dir() {
            read_directory(&root.join(directory), directory, true, &mut tree)?;
        }
    }
    Ok(tree)
}

fn read_directory(directory: &Path, name: &str, recurse: bool, tree: &mut Tree) -> Result<()> {
    let context = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let path = if name.is_empty() { file_name.clone() } else { format!("{name}/{file_name}") };
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() && recurse && !SKIPPED.contains(&file_name.as_str()) {
            read_directory(&entry.path(), &path, true, tree)?;
        } else if kind.is_file() && EXTENSIONS.contains(&extension(&path)) {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("{path} is not UTF-8 text"))?;
            tree.insert(path, text);
        }
    }
    Ok(())
}

fn extension(path: &str) -> &str {
    Path::new(path).extension().and_then(|it| it.to_str()).unwrap_or("")
}

/// The files with that extension.
fn with_extension<'a>(tree: &'a Tree, wanted: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    tree.iter().filter(move |(path, _)| extension(path) == wanted).map(|(path, text)| (path.as_str(), text.as_str()))
}

/// The lines of a text with their numbers, from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod testing {
    //! Trees from literals, for the tests of the rules.

    use super::{Finding, Tree};

    pub(super) fn tree<const N: usize>(files: [(&str, &str); N]) -> Tree {
        files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
    }

    /// `path:line` of every finding, in the order found.
    pub(super) fn places(findings: &[Finding]) -> Vec<String> {
        let place = |it: &Finding| it.line.map_or(it.path.clone(), |line| format!("{}:{line}", it.path));
        findings.iter().map(place).collect()
    }
}
