//! Rules on manifests, and the little of TOML that reading them takes.
//!
//! Manifests of members are regular, because the rules here make them so: a section header or a
//! `key = value` to a line. The root manifest, where features stand, is read for one line only.

use super::{Finding, Tree, numbered};

/// Members that may depend on DataFusion; every binary that links it costs a link and 125 MB.
const DATAFUSION_USERS: [&str; 2] = ["whocalled-report", "whocalled-tests"];

/// One `key = value` of a manifest.
pub(super) struct Entry<'a> {
    pub(super) line: usize,
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// The entries of a manifest, in order.
pub(super) fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (line, content) in numbered(text) {
        let content = content.trim();
        if let Some(header) = content.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = header.trim_matches(['[', ']']);
        } else if let Some((key, value)) = content.split_once('=').filter(|_| !content.starts_with('#')) {
            entries.push(Entry { line, section, key: key.trim(), value: value.trim() });
        }
    }
    entries
}

/// The manifests of the workspace's members.
pub(super) fn members(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")).map(|(path, text)| (path.as_str(), text.as_str()))
}

/// Normal, dev and build dependencies, of all targets: the dependency's name and its entry.
pub(super) fn dependencies(text: &str) -> Vec<(&str, Entry<'_>)> {
    let is_dependencies = |section: &str| section.rsplit('.').next().is_some_and(|it| it.ends_with("dependencies"));

    entries(text)
        .into_iter()
        .filter(|entry| is_dependencies(entry.section))
        .map(|entry| (entry.key.split('.').next().unwrap_or(entry.key), entry))
        .collect()
}

/// The package's name, or nothing if the manifest has none.
pub(super) fn package_name(text: &str) -> Option<&str> {
    let name = entries(text).into_iter().find(|it| it.section == "package" && it.key == "name")?;
    Some(name.value.trim_matches('"'))
}

/// Every member has the workspace's lints, version, edition and licence.
pub(super) fn inherits_lints_and_package_keys(tree: &Tree) -> Vec<Finding> {
    let wanted = [
        ("lints", "workspace"),
        ("package", "version.workspace"),
        ("package", "edition.workspace"),
        ("package", "rust-version.workspace"),
        ("package", "license.workspace"),
        ("package", "publish.workspace"),
    ];
    let mut findings = Vec::new();
    for (path, text) in members(tree) {
        let entries = entries(text);
        for (section, key) in wanted {
            if !entries.iter().any(|it| it.section == section && it.key == key && it.value == "true") {
                findings
                    .push(Finding::in_file(path, format!("[{section}] lacks `{key} = true`: one rule for all crates")));
            }
        }
    }
    findings
}

/// Versions and features of dependencies stand in the root manifest and nowhere else.
pub(super) fn inherits_every_dependency(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in members(tree) {
        for (name, entry) in dependencies(text) {
            let inherits = entry.key.ends_with(".workspace") || entry.value.contains("workspace = true");
            if !inherits {
                let message = format!(
                    "{name} is declared here; declare it in [workspace.dependencies] and write `{name}.workspace = true`"
                );
                findings.push(Finding::at_line(path, entry.line, message));
            }
            if entry.value.contains("features") || entry.key.ends_with(".features") {
                let message = format!(
                    "features of {name} belong in the root manifest: features that differ by command build DataFusion twice"
                );
                findings.push(Finding::at_line(path, entry.line, message));
            }
        }
    }
    findings
}

/// Only the report crate and the tests depend on DataFusion, and Delta does not bring it in.
pub(super) fn links_datafusion_in_one_place(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in members(tree) {
        let allowed = package_name(text).is_some_and(|it| DATAFUSION_USERS.contains(&it));
        for (name, entry) in dependencies(text) {
            if !allowed && (name == "datafusion" || name.starts_with("datafusion-")) {
                let message = "only whocalled-report and the tests link DataFusion (docs/architecture.md)";
                findings.push(Finding::at_line(path, entry.line, message));
            }
        }
    }
    let root = tree.get("Cargo.toml").map(String::as_str).unwrap_or_default();
    for entry in entries(root) {
        if entry.section == "workspace.dependencies"
            && entry.key == "deltalake"
            && entry.value.contains("\"datafusion\"")
        {
            let message = "deltalake's `datafusion` feature links DataFusion into the lake, with all its default features (docs/decisions/0002)";
            findings.push(Finding::at_line("Cargo.toml", entry.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    const GOOD: &str = "\
[package]
name = \"whocalled-lake\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
arrow.workspace = true
# A comment with an = in it.
clap = { workspace = true, optional = true }

[lints]
workspace = true
";

    #[test]
    fn a_regular_manifest_passes() {
        let tree = tree([("crates/whocalled-lake/Cargo.toml", GOOD)]);
        assert_eq!(places(&inherits_lints_and_package_keys(&tree)), [""; 0]);
        assert_eq!(places(&inherits_every_dependency(&tree)), [""; 0]);
        assert_eq!(places(&links_datafusion_in_one_place(&tree)), [""; 0]);
        assert_eq!(dependencies(GOOD).iter().map(|it| it.0).collect::<Vec<_>>(), ["arrow", "clap"]);
        assert_eq!(package_name(GOOD), Some("whocalled-lake"));
    }

    #[test]
    fn missing_lints_are_found() {
        let tree = tree([("xtask/Cargo.toml", &GOOD.replace("[lints]\nworkspace = true\n", ""))]);
        let findings = inherits_lints_and_package_keys(&tree);
        assert_eq!(places(&findings), ["xtask/Cargo.toml"]);
        assert!(findings[0].message.contains("[lints]"));
    }

    #[test]
    fn own_versions_and_features_are_found() {
        let text =
            "[dependencies]\narrow = \"59\"\n[dev-dependencies]\ntokio = { workspace = true, features = [\"full\"] }\n";
        assert_eq!(
            places(&inherits_every_dependency(&tree([("a/Cargo.toml", text)]))),
            ["a/Cargo.toml:2", "a/Cargo.toml:4"]
        );
    }

    #[test]
    fn datafusion_below_report_is_found() {
        let tree = tree([
            ("a/Cargo.toml", "[package]\nname = \"whocalled-lake\"\n[dev-dependencies]\ndatafusion.workspace = true\n"),
            ("b/Cargo.toml", "[package]\nname = \"whocalled-report\"\n[dependencies]\ndatafusion.workspace = true\n"),
            (
                "Cargo.toml",
                "[workspace.dependencies]\ndeltalake = { version = \"1\", features = [\"azure\", \"datafusion\"] }\n",
            ),
        ]);
        assert_eq!(places(&links_datafusion_in_one_place(&tree)), ["a/Cargo.toml:4", "Cargo.toml:2"]);
    }
}
