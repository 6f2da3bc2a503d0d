//! SQL that is part of the interface is tested: every view and report has an `.slt` that names it.

use super::{Finding, Tree, with_extension};

const SQL: &str = "crates/whocalled-report/src/sql/";
const TESTS: &str = "tests/slt/";

/// Every `.sql` of the report crate is named by some `.slt`.
pub(super) fn has_a_test(tree: &Tree) -> Vec<Finding> {
    let tests: Vec<_> = with_extension(tree, "slt").filter(|(path, _)| path.starts_with(TESTS)).collect();
    let named = |name: &str| tests.iter().any(|(path, text)| stem(path) == name || contains_word(text, name));
    with_extension(tree, "sql")
        .filter(|(path, _)| path.starts_with(SQL) && !named(stem(path)))
        .map(|(path, _)| {
            let name = stem(path);
            Finding::in_file(path, format!("no {TESTS}*.slt names {name}: what users query is tested as they query it"))
        })
        .collect()
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once('.').map_or(file, |(stem, _)| stem)
}

fn contains_word(text: &str, word: &str) -> bool {
    let in_word = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(in_word) && !text[at + word.len()..].starts_with(in_word))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    #[test]
    fn sql_that_no_slt_names_is_found() {
        let tree = tree([
            ("crates/whocalled-report/src/sql/views/calls.sql", ""),
            ("crates/whocalled-report/src/sql/views/holders.sql", ""),
            ("crates/whocalled-report/src/sql/reports/coverage.sql", ""),
            ("tests/slt/views.slt", "SELECT * FROM attributed_calls; SELECT count(*) FROM calls;"),
            ("tests/slt/coverage.slt", "query II"),
        ]);
        assert_eq!(places(&has_a_test(&tree)), ["crates/whocalled-report/src/sql/views/holders.sql"]);
    }
}
