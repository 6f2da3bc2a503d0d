//! Decisions can be found: each is listed, and its number is its own.

use super::{Finding, Tree};

const DIRECTORY: &str = "docs/decisions/";

/// Every decision is linked from the list, under a number that no other has.
pub(super) fn are_listed(tree: &Tree) -> Vec<Finding> {
    let list = tree.get(&format!("{DIRECTORY}README.md")).map(String::as_str).unwrap_or_default();
    let mut findings = Vec::new();
    let mut previous = "";
    for file in tree.keys().filter_map(|path| path.strip_prefix(DIRECTORY)).filter(|it| *it != "README.md") {
        let path = format!("{DIRECTORY}{file}");
        if !list.contains(&format!("({file})")) {
            findings.push(Finding::in_file(&path, "docs/decisions/README.md does not link it"));
        }
        let number = file.split('-').next().unwrap_or_default();
        if number.len() != 4 || number.parse::<u16>().is_err() || number == previous {
            findings.push(Finding::in_file(
                &path,
                "its name begins with a number of four digits that no other decision has",
            ));
        }
        previous = number;
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    #[test]
    fn unlisted_and_misnumbered_decisions_are_found() {
        let tree = tree([
            ("docs/decisions/README.md", "[1](0001-a.md) [2](0001-b.md) [3](c.md)"),
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0001-b.md", ""),
            ("docs/decisions/0002-d.md", ""),
            ("docs/decisions/c.md", ""),
        ]);
        let found = ["docs/decisions/0001-b.md", "docs/decisions/0002-d.md", "docs/decisions/c.md"];
        assert_eq!(places(&are_listed(&tree)), found);
    }
}
