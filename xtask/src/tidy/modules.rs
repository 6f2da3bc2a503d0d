//! Every Rust file belongs to a crate: a forgotten `mod` line leaves a file that nothing compiles,
//! and a test in it that never runs.

use super::{Finding, Tree, with_extension};

/// Every file that is not a crate's root is declared by its parent module.
pub(super) fn is_declared(tree: &Tree) -> Vec<Finding> {
    let roots = ["lib.rs", "main.rs", "build.rs"];
    with_extension(tree, "rs")
        .filter(|(path, _)| !roots.contains(&path.rsplit('/').next().unwrap_or(path)))
        .filter(|(path, _)| !is_declared_in(tree, path))
        .map(|(path, _)| {
            Finding::in_file(
                path,
                "no `mod` line declares this file, so it is never compiled; add one or delete the file",
            )
        })
        .collect()
}

fn is_declared_in(tree: &Tree, path: &str) -> bool {
    let (mut directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let mut module = file.trim_end_matches(".rs");
    if module == "mod" {
        (directory, module) = directory.rsplit_once('/').unwrap_or(("", directory));
    }
    let beside = ["lib.rs", "main.rs", "mod.rs"].map(|it| format!("{directory}/{it}"));
    let declares = |parent: &String| tree.get(parent).is_some_and(|text| declares_module(text, module));
    beside.iter().chain([&format!("{directory}.rs")]).any(declares)
}

fn declares_module(text: &str, module: &str) -> bool {
    let declaration = format!("mod {module};");
    text.lines().map(str::trim_start).any(|line| {
        // After a visibility, if there is one.
        line.ends_with(&declaration)
            && line.strip_suffix(&declaration).is_some_and(|before| before.is_empty() || before.starts_with("pub"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let tree = tree([
            ("tests/it/main.rs", "//! Tests.\nmod lake;\nmod cli;\n// mod forgotten;\n"),
            ("tests/it/lake.rs", "#[cfg(test)]\nmod deep;"),
            ("tests/it/lake/deep.rs", ""),
            ("tests/it/cli/mod.rs", "pub(crate) mod flags;"),
            ("tests/it/cli/flags.rs", ""),
            ("tests/it/forgotten.rs", ""),
            ("tests/it/lake/rust.rs", ""),
        ]);
        assert_eq!(places(&is_declared(&tree)), ["tests/it/forgotten.rs", "tests/it/lake/rust.rs"]);
    }
}
