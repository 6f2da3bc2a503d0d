//! The repository is about the product: no paths of somebody's machine, no package source other
//! than the public ones.

use super::{Finding, Tree, numbered};

const CRATES_IO: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

/// No file names a place that only exists where it was written.
pub(super) fn belong_here(tree: &Tree) -> Vec<Finding> {
    // Put together here, so that this file does not find itself.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "bash")];
    let mut findings = Vec::new();
    for (path, text) in tree {
        for (number, line) in numbered(text) {
            if let Some(place) = places.iter().find(|it| names_path(line, it)) {
                findings.push(Finding::at_line(
                    path,
                    number,
                    format!("`{place}` is a path of one machine; write it so that it holds on any"),
                ));
            }
        }
        findings.extend(package_sources(path, text));
    }
    findings
}

/// Whether the line holds that absolute path, rather than a longer relative one that ends in it.
fn names_path(line: &str, path: &str) -> bool {
    let in_path = |it: char| it.is_ascii_alphanumeric() || "._-}*/".contains(it);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(in_path))
}

/// Lock files pin versions and hashes; where the bytes come from is each installation's own matter.
fn package_sources(path: &str, text: &str) -> Vec<Finding> {
    let message = match path.rsplit('/').next() {
        Some("Cargo.lock") => "a crate that does not come from crates.io",
        Some("package-lock.json") => {
            "names the registry it was made with; take the `resolved` lines out, `npm ci` needs only `integrity`"
        }
        _ => return Vec::new(),
    };
    let foreign = |line: &str| {
        let line = line.trim();
        line.strip_prefix("source = ").is_some_and(|it| it != CRATES_IO) || line.starts_with("\"resolved\":")
    };
    numbered(text)
        .filter(|(_, line)| foreign(line))
        .map(|(number, _)| Finding::at_line(path, number, message))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        let text = concat!("see /wo", "rk/notes\n", "crates/net/wo", "rk/x.rs\n", "https://example.org/wo", "rk/\n");
        assert_eq!(places(&belong_here(&tree([("README.md", text)]))), ["README.md:1"]);
    }

    #[test]
    fn foreign_package_sources_are_found() {
        let cargo = format!("source = {CRATES_IO}\nsource = \"git+https://example.org/fork\"\n");
        let npm = "  \"resolved\": \"https://example.org/azurite.tgz\",\n  \"integrity\": \"sha512-x\"\n";
        let tree = tree([("Cargo.lock", cargo.as_str()), ("tests/azurite/package-lock.json", npm)]);
        assert_eq!(places(&belong_here(&tree)), ["Cargo.lock:2", "tests/azurite/package-lock.json:1"]);
    }
}
