//! Rules on single source files.

use super::{Finding, Tree, numbered, with_extension};

const LINES_MAX: usize = 600;

/// Every Rust file says what it is for before anything else.
pub(super) fn begins_with_a_module_comment(tree: &Tree) -> Vec<Finding> {
    let message = "a file begins with `//!`, saying what it is for: its reader has come from somewhere else";
    with_extension(tree, "rs")
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| Finding::at_line(path, 1, message))
        .collect()
}

/// No source file is longer than a reader's patience.
pub(super) fn is_short(tree: &Tree) -> Vec<Finding> {
    with_extension(tree, "rs")
        .chain(with_extension(tree, "sql"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, count)| *count > LINES_MAX)
        .map(|(path, count)| {
            Finding::in_file(
                path,
                format!("{count} lines, more than {LINES_MAX}: it does several things; split it by what they are"),
            )
        })
        .collect()
}

/// Nothing is left as a stub, and no test is switched off in silence.
pub(super) fn leaves_nothing_undone(tree: &Tree) -> Vec<Finding> {
    // Put together here, so that this file does not find itself.
    let stubs = [concat!("todo", "!("), concat!("unimplemented", "!(")];
    let switched_off = concat!("#[", "ignore]");
    let mut findings = Vec::new();
    for (path, text) in with_extension(tree, "rs") {
        for (number, line) in numbered(text) {
            if stubs.iter().any(|it| line.contains(it)) {
                findings.push(Finding::at_line(path, number, "a stub: finish it or take it out"));
            }
            if line.contains(switched_off) {
                let message = "an ignored test rots: assert what happens today, or give the attribute a reason";
                findings.push(Finding::at_line(path, number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    #[test]
    fn a_file_without_a_module_comment_is_found() {
        let tree = tree([("a.rs", "//! Says so.\n"), ("b.rs", "use std::fs;\n"), ("c.sql", "SELECT 1")]);
        assert_eq!(places(&begins_with_a_module_comment(&tree)), ["b.rs:1"]);
    }

    #[test]
    fn six_hundred_lines_are_enough() {
        let (most, more) = ("x\n".repeat(600), "x\n".repeat(601));
        let tree = tree([("a.rs", &most), ("b.rs", &more), ("c.sql", &more), ("d.md", &more)]);
        assert_eq!(places(&is_short(&tree)), ["b.rs", "c.sql"]);
    }

    #[test]
    fn stubs_and_tests_ignored_without_a_reason_are_found() {
        let stub = concat!("fn a() {\n    todo", "!()\n}\n#[", "ignore]\n#[", "ignore = \"needs a real account\"]\n");
        assert_eq!(places(&leaves_nothing_undone(&tree([("a.rs", stub)]))), ["a.rs:2", "a.rs:4"]);
    }
}
