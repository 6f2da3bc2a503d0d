//! Which crate depends on which: the graph is the one that docs/architecture.md shows, and it has
//! no cycle. Dev-dependencies count: a cycle through one compiles a crate twice.

use std::collections::{BTreeMap, BTreeSet};

use super::manifests::{dependencies, members, package_name};
use super::{Finding, Tree, numbered};

const DOCUMENT: &str = "docs/architecture.md";
const FENCE: &str = "```crate-graph";

/// From a crate to those of the workspace that it depends on.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The arrows in the manifests are those in the architecture document.
pub(super) fn is_the_documented_one(tree: &Tree) -> Vec<Finding> {
    let Some((line, documented)) = tree.get(DOCUMENT).and_then(|text| documented(text)) else {
        return vec![Finding::in_file(DOCUMENT, format!("there is no `{FENCE}` block that shows the crate graph"))];
    };
    let actual = actual(tree);
    let mut findings = Vec::new();
    for name in actual.keys().chain(documented.keys()).collect::<BTreeSet<_>>() {
        let message = match (actual.get(name), documented.get(name)) {
            (Some(real), Some(shown)) if real == shown => continue,
            (Some(real), _) => format!(
                "the graph should say `{}`; an arrow that is new is a decision about the architecture, so think twice",
                shown(name, real)
            ),
            (None, _) => format!("the graph shows {name}, which is not in the workspace"),
        };
        findings.push(Finding::at_line(DOCUMENT, line, message));
    }
    findings
}

/// No crate depends on itself by way of others.
pub(super) fn has_no_cycle(tree: &Tree) -> Vec<Finding> {
    let mut graph = actual(tree);
    // Take away crates that depend on no other until none is left, or only cycles.
    while let Some(leaf) = graph.iter().find(|(_, arrows)| arrows.is_empty()).map(|(name, _)| name.clone()) {
        graph.remove(&leaf);
        graph.values_mut().for_each(|arrows| {
            arrows.remove(&leaf);
        });
    }
    if graph.is_empty() {
        return Vec::new();
    }
    let names = graph.into_keys().collect::<Vec<_>>().join(", ");
    vec![Finding::in_file("Cargo.toml", format!("these crates form a cycle or lead into one: {names}"))]
}

fn actual(tree: &Tree) -> Graph {
    let named: Vec<_> = members(tree).filter_map(|(_, text)| Some((package_name(text)?, text))).collect();
    let names: BTreeSet<&str> = named.iter().map(|it| it.0).collect();
    let arrows =
        |text| dependencies(text).into_iter().map(|it| it.0).filter(|it| names.contains(it)).map(str::to_owned);
    named.iter().map(|(name, text)| ((*name).to_owned(), arrows(text).collect())).collect()
}

/// The line where the block begins, and the graph in it: `crate -> crate crate` a line.
fn documented(text: &str) -> Option<(usize, Graph)> {
    let mut lines = numbered(text).skip_while(|(_, line)| *line != FENCE);
    let (begin, _) = lines.next()?;
    let mut graph = Graph::new();
    for (_, line) in lines.take_while(|(_, line)| !line.starts_with("```")) {
        let (name, arrows) = line.split_once("->").unwrap_or((line, ""));
        graph.insert(name.trim().to_owned(), arrows.split_whitespace().map(str::to_owned).collect());
    }
    Some((begin, graph))
}

fn shown(name: &str, arrows: &BTreeSet<String>) -> String {
    let arrows = arrows.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    if arrows.is_empty() { name.to_owned() } else { format!("{name} -> {arrows}") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{places, tree};
    use super::*;

    const TYPES: &str = "[package]\nname = \"types\"\n";
    const LAKE: &str = "[package]\nname = \"lake\"\n[dependencies]\ntypes.workspace = true\narrow.workspace = true\n";

    #[test]
    fn the_documented_graph_passes() {
        let tree = tree([
            ("docs/architecture.md", "# A\n\n```crate-graph\ntypes\nlake -> types\n```\n"),
            ("crates/types/Cargo.toml", TYPES),
            ("crates/lake/Cargo.toml", LAKE),
        ]);
        assert_eq!(places(&is_the_documented_one(&tree)), [""; 0]);
        assert_eq!(places(&has_no_cycle(&tree)), [""; 0]);
    }

    #[test]
    fn arrows_that_differ_are_found() {
        let tree = tree([
            ("docs/architecture.md", "```crate-graph\ntypes\nlake\ngone -> types\n```\n"),
            ("crates/types/Cargo.toml", TYPES),
            ("crates/lake/Cargo.toml", LAKE),
        ]);
        let findings = is_the_documented_one(&tree);
        assert_eq!(places(&findings), ["docs/architecture.md:1"; 2]);
        assert!(findings[0].message.contains("gone"));
        assert!(findings[1].message.contains("`lake -> types`"));
    }

    #[test]
    fn a_cycle_through_a_dev_dependency_is_found() {
        let types = format!("{TYPES}[dev-dependencies]\nlake.workspace = true\n");
        let tree = tree([("crates/types/Cargo.toml", &types), ("crates/lake/Cargo.toml", LAKE)]);
        let findings = has_no_cycle(&tree);
        assert_eq!(places(&findings), ["Cargo.toml"]);
        assert!(findings[0].message.ends_with("lake, types"));
    }
}
