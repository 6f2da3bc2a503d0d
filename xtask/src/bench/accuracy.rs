//! `cargo xtask bench accuracy`: attribution beside the truth of simulated tenants, and with `--fit` the
//! weights of its evidence made anew.
//!
//! The tenants that weights are fitted to have other seeds and sizes than those that are judged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::peers::Peers;
use super::{Bench, input, measure, page};
use crate::cargo;

const JUDGE: &str = include_str!("accuracy/judge.py");
const FIT: &str = include_str!("accuracy/fit.py");

/// The tenants that `whocalled simulate --scenario` knows; the first is the one to be good at.
const SCENARIOS: [&str; 7] = ["offices", "two-tenants", "automation", "roaming", "late-activity", "key-vault", "nat"];
const JUDGED_SEEDS: [&str; 4] = ["1", "2", "3", "4"];
/// The seeds that weights are fitted to, with the number of accounts and of principals.
const FITTED: [(u32, &str, &str); 2] = [(100, "8", "100"), (200, "18", "180")];

/// The page, and the drawing in it.
const PAGE: &str = "docs/accuracy.md";
const DRAWING: &str = "docs/accuracy.svg";
const MODEL: &str = "crates/whocalled-report/src/model.toml";

/// How strongly weights are pulled towards the reasoned ones: enough to keep those that the tenants say
/// nothing about.
const PULL: &str = "0.0003";

const CALLS: &str = "SELECT correlation_id, resource_id, coalesce(request_time, time) AS called_at, ip_prefix, \
    ip_hidden_digits, tier, principal_id, confidence, reason FROM attributed_calls";
const GRANTS: &str = "SELECT account_id, principal_id, time, ip_prefix FROM key_access \
    WHERE succeeded AND principal_id IS NOT NULL";
/// Every holder for every slot, with the evidence by name.
const CANDIDATES: &str = "SELECT s.slot, h.principal_id, coalesce(w.address, t.absence) AS address, \
    coalesce(w.rarity, 'prefix_alone') AS rarity, coalesce(w.digits, 'digits_unknown') AS digits, \
    coalesce(w.entra, 'entra_none') AS entra, coalesce(w.hours, 'hours_unknown') AS hours, \
    coalesce(w.usage, 'deployment_unknown') AS usage, coalesce(w.habit, 'habit_unknown') AS habit, h.recency, h.repetition, h.deliberation, h.rotation, t.unseen, \
    t.logs, t.others, t.holder_count FROM slots AS s JOIN slot_sums AS t ON t.slot = s.slot \
    JOIN holder_steps AS h ON h.account_number = s.account_number AND h.step_from <= s.slot_at AND s.slot_at < h.step_to \
    LEFT JOIN weighed_holders AS w ON w.slot = s.slot AND w.step = h.step";
const SLOTS: &str = "SELECT correlation_id, slot FROM call_slots WHERE slot IS NOT NULL";

/// Judges, prints the tables and writes the page if asked; or fits, and writes the parameters file.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let peers = Peers::install()?;
    if bench.options.fit { fit(bench, &peers) } else { judge(bench, &peers) }
}

fn judge(bench: &Bench<'_>, peers: &Peers) -> Result<()> {
    let mut tenants = Vec::new();
    for scenario in SCENARIOS {
        for seed in JUDGED_SEEDS {
            let tenant = tenant(bench, scenario, seed, &[])?;
            export(bench, &tenant, &[(CALLS, "calls"), (GRANTS, "grants")])?;
            tenants.push(tenant);
        }
    }
    let drawing = cargo::root().join(if bench.options.write { DRAWING } else { "target/bench/accuracy.svg" });
    let judged = measure::once(peers.command(JUDGE).arg(&drawing).args(&tenants))?;
    eprintln!("the reliability curves are in {}", drawing.display());
    let text = format!("{}; {} tenants of each scenario.\n\n{}", bench.version()?, JUDGED_SEEDS.len(), judged.stdout);
    page::publish_to(PAGE, "accuracy", &text, bench.options.write)
}

fn fit(bench: &Bench<'_>, peers: &Peers) -> Result<()> {
    let mut tenants = Vec::new();
    for (number, scenario) in (1..).zip(SCENARIOS) {
        for (seed, accounts, principals) in FITTED {
            let sizes = ["--accounts", accounts, "--principals", principals, "--hours", "120", "--calls", "60000"];
            let tenant = tenant(bench, scenario, &(seed + number).to_string(), &sizes)?;
            export(bench, &tenant, &[(CANDIDATES, "candidates"), (SLOTS, "slots")])?;
            tenants.push(tenant);
        }
    }
    let model = cargo::root().join(MODEL);
    let fitted = measure::once(peers.command(FIT).arg(PULL).arg(&model).args(&tenants))?;
    println!("{}", fitted.stdout.trim());
    let text = fs::read_to_string(&model).with_context(|| format!("cannot read {MODEL}"))?;
    let text = with_weights(&text, &fitted.stdout).context("the fit gave no weight for some evidence")?;
    fs::write(&model, text).with_context(|| format!("cannot write {MODEL}"))?;
    eprintln!("the weights are in {MODEL}; `cargo xtask bench accuracy` judges them in a new build");
    Ok(())
}

/// A lake of a simulated tenant, and the truth beside it.
fn tenant(bench: &Bench<'_>, scenario: &str, seed: &str, sizes: &[&str]) -> Result<PathBuf> {
    let mut arguments = vec!["--scenario", scenario, "--seed", seed];
    arguments.extend(sizes);
    input::kept(&format!("accuracy/{scenario}-{seed}"), &arguments, 500, |directory| {
        let simulated = directory.join("simulated");
        input::simulate(&bench.binary, &arguments, &simulated)?;
        let mut convert = Command::new(&bench.binary);
        convert.args(["convert", "--quiet", "--lake"]).arg(directory.join("lake")).arg(simulated.join("archive"));
        measure::once(&mut convert)?;
        fs::rename(simulated.join("truth"), directory.join("truth"))?;
        input::remove(&simulated)
    })
}

/// Writes the answers to some questions as Parquet files beside a tenant's lake.
fn export(bench: &Bench<'_>, tenant: &Path, questions: &[(&str, &str)]) -> Result<()> {
    for (statement, name) in questions {
        let path = tenant.join(name).with_extension("parquet");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut command = Command::new(&bench.binary);
        command.args(["sql", "--quiet", "--format", "parquet", "-c", statement, "--lake"]).arg(tenant.join("lake"));
        if !command.stdout(file).status().context("the binary does not run")?.success() {
            bail!("{name} of {} could not be had", tenant.display());
        }
    }
    Ok(())
}

/// The parameters file with other weights, of which there is one a line, after its name.
fn with_weights(model: &str, weights: &str) -> Option<String> {
    let weight = |name: &str| weights.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let mut name = "";
    let mut lines = Vec::new();
    for line in model.lines() {
        if let Some(quoted) = line.strip_prefix("name = ") {
            name = quoted.trim_matches('"');
        }
        lines.push(match line.strip_prefix("weight = ") {
            Some(_) => format!("weight = {}", weight(name)?),
            None => line.to_owned(),
        });
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_weights_are_replaced_each_by_its_name() {
        let model = "# weight\n[[weight]]\nname = \"a\"\nprior = 1.0\nweight = 1.0\n\n[[weight]]\nname = \"a_b\"\nweight = 2.0\n";
        let expected = model.replace("\nweight = 1.0", "\nweight = 0.50").replace("\nweight = 2.0", "\nweight = -3.00");
        assert_eq!(with_weights(model, "a_b -3.00\na 0.50\n"), Some(expected));
        assert_eq!(with_weights(model, "a 0.50\n"), None);
    }
}
