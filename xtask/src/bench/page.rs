//! Tables for `docs/performance.md` and `docs/accuracy.md`, and their places in them.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

use crate::cargo;

const PAGE: &str = "docs/performance.md";
const END: &str = "<!-- to here -->";

/// Prints what a bench found, and puts it into the documentation of speed if that is asked for.
pub(super) fn publish(bench: &str, markdown: &str, write: bool) -> Result<()> {
    publish_to(PAGE, bench, markdown, write)
}

/// Prints what a bench found, and puts it into that page if that is asked for.
pub(super) fn publish_to(page: &str, bench: &str, markdown: &str, write: bool) -> Result<()> {
    println!("{}\n", markdown.trim());
    if write { put(&cargo::root().join(page), bench, markdown) } else { Ok(()) }
}

/// The versions that were measured, the machine, and how often.
pub(super) fn conditions(versions: &str, runs: u32) -> String {
    format!("{versions}; {}; {runs} runs each.\n\n", machine())
}

/// A table in Markdown, with as many cells in each row as the head has.
pub(super) fn table<const CELLS: usize>(head: [&str; CELLS], rows: &[[String; CELLS]]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(CELLS));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

/// The cores, and what they are where the system says.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or("an unknown number of".to_owned(), |it| it.to_string());
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    model.map_or(format!("{cores} cores"), |(_, model)| format!("{cores} cores ({})", model.trim()))
}

fn put(path: &Path, bench: &str, markdown: &str) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = replaced(&page, bench, markdown)
        .with_context(|| format!("{} has no place for the table: `{}`, then `{END}`", path.display(), begin(bench)))?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn begin(bench: &str) -> String {
    format!("<!-- `cargo xtask bench {bench} --write` writes from here -->")
}

fn replaced(page: &str, bench: &str, markdown: &str) -> Option<String> {
    let begin = begin(bench);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n\n{}\n\n{END}{after}", markdown.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_what_is_around_a_table() {
        let (fetch, query) = (begin("fetch"), begin("query"));
        let page = format!("# Speed\n\n{fetch}\nold\n{END}\n\nMore.\n\n{query}\nother\n{END}\n");
        let expected = format!("# Speed\n\n{fetch}\n\nnew\n\n{END}\n\nMore.\n\n{query}\nother\n{END}\n");
        assert_eq!(replaced(&page, "fetch", "new\n"), Some(expected));
        assert_eq!(replaced("# Speed\n", "fetch", "new"), None);
    }

    #[test]
    fn a_table_has_a_head_and_a_line_for_each_row() {
        let rows = [["a", "1"], ["b", "2"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["what", "s"], &rows), "| what | s |\n|---|---|\n| a | 1 |\n| b | 2 |\n");
    }
}
