//! Whole simulations: determinism, exact counts, and agreement of archive and truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::*;

/// A directory that is removed at the end of a test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("whocalled-simulate-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn options() -> Options {
    Options { account_count: 9, hour_count: 30, call_count: 9_000, damaged_count: 3, torn: true, ..Options::default() }
}

fn run(options: &Options, directory: &Directory) -> Summary {
    simulate(options, &directory.0, &mut |_| {}).expect("simulates")
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(path).expect("is a directory") {
            let path = entry.expect("is readable").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.insert(
                    path.strip_prefix(directory).expect("is below").to_owned(),
                    fs::read(&path).expect("is readable"),
                );
            }
        }
    }
    files
}

/// The records of a blob, and how many lines are none.
fn records(bytes: &[u8]) -> (Vec<Value>, u64) {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if let Ok(mut document) = serde_json::from_slice::<Value>(bytes)
        && let Some(Value::Array(records)) = document.get_mut("records").map(Value::take)
    {
        return (records, 0);
    }
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let parsed: Vec<_> = lines.map(serde_json::from_slice).collect();
    let damaged = parsed.iter().filter(|record| record.is_err()).count();
    (parsed.into_iter().flatten().collect(), damaged as u64)
}

/// The properties of a record, whichever way they are written.
fn properties(record: &Value) -> Value {
    match &record["properties"] {
        Value::String(text) => serde_json::from_str(text).expect("is JSON"),
        object => object.clone(),
    }
}

fn calls(directory: &Directory) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(directory.0.join("truth/calls.csv")).expect("is readable");
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    let row = |line: &str| header.iter().cloned().zip(line.split(',').map(str::to_owned)).collect();
    lines.map(row).collect()
}

#[test]
fn the_same_options_give_the_same_bytes_and_another_seed_others() {
    let (first, second, third) = (Directory::new("same-1"), Directory::new("same-2"), Directory::new("same-3"));
    let summary = run(&options(), &first);
    assert_eq!(summary, run(&options(), &second));
    // A second simulation writes over the first, and leaves nothing of it.
    run(&Options { hour_count: 5, ..options() }, &second);
    run(&options(), &second);
    assert!(files(&first.0) == files(&second.0));
    run(&Options { seed: 2, ..options() }, &third);
    assert!(files(&first.0) != files(&third.0));
}

#[test]
fn every_record_is_counted_and_every_call_is_there_once() {
    let directory = Directory::new("counts");
    let summary = run(&options(), &directory);
    let mut found = BTreeMap::<String, BTreeMap<String, u64>>::new();
    let (mut damaged, mut bytes, mut blob_count) = (0, 0, 0);
    for (path, content) in files(&directory.0.join("archive")) {
        let container = path.iter().next().expect("has a container").to_string_lossy().into_owned();
        let (records, damaged_here) = records(&content);
        damaged += damaged_here;
        bytes += content.len() as u64;
        blob_count += 1;
        let categories = found.entry(container).or_default();
        for record in records {
            let category = record.get("category").and_then(Value::as_str).unwrap_or("AllMetrics");
            *categories.entry(category.to_owned()).or_default() += 1;
        }
    }
    let expected: BTreeMap<_, BTreeMap<_, _>> = summary
        .records
        .iter()
        .map(|(container, by)| (container.clone(), by.iter().map(|(it, count)| ((*it).to_owned(), *count)).collect()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!((damaged, bytes, blob_count), (3, summary.archive_bytes, summary.blob_count));
    assert!(summary.torn_bytes > 0);
    assert_eq!(summary.call_count, 9_000);
    assert_eq!(calls(&directory).len(), 9_000);
    let call_records = summary.records["insights-logs-requestresponse"]["RequestResponse"];
    assert_eq!(call_records, summary.call_count + summary.redelivered_count + summary.split_count);
    // Every table gets rows, so that a lake of a simulation shows them all.
    let mut tables = whocalled_types::Table::data().map(whocalled_types::Table::name);
    assert_eq!(tables.find(|table| !summary.rows_by_table.contains_key(table)), None);
}

#[test]
fn truth_agrees_with_the_archive() {
    let directory = Directory::new("truth");
    let summary = run(&options(), &directory);
    let mut by_id = BTreeMap::new();
    for (_, content) in files(&directory.0.join("archive/insights-logs-requestresponse")) {
        for record in records(&content).0 {
            let id = record["correlationId"].as_str().unwrap_or_default().to_owned();
            // Of the two records of a split call, the nearly empty one says nothing.
            if properties(&record).get("requestTime").is_some() {
                by_id.insert(id, record);
            }
        }
    }
    for call in calls(&directory).iter().filter(|call| !call["correlation_id"].is_empty()) {
        let record = &by_id[&call["correlation_id"]];
        let properties = properties(record);
        let object_id = ["objectId", "callerObjectId"].into_iter().find_map(|key| properties.get(key)?.as_str());
        let expected = if call["tier"] == "object_id" { call["principal_id"].as_str() } else { "" };
        assert_eq!(object_id, Some(expected));
        assert_eq!(record["resourceId"].as_str().map(str::to_lowercase).as_ref(), Some(&call["account"]));
        assert_eq!(record["resultSignature"].as_str(), Some(call["status"].as_str()));
        let address = ["callerIpAddress", "callerIPAddress"].into_iter().find_map(|key| record.get(key)?.as_str());
        assert_eq!(address.is_none(), call["address_hidden"] == "true");
        assert!(address.is_none_or(|address| address.starts_with(&format!("{}.", call["prefix"]))));
        assert!(call["tier"] != "key_holder" || (!call["principal_id"].is_empty() && call["status"] != "401"));
    }
    assert!(["object_id", "key_holder", "none"].into_iter().all(|tier| summary.calls_by_tier[tier] > 0));
}

#[test]
fn shares_are_about_what_was_asked_for() {
    let directory = Directory::new("shares");
    let summary = run(&Options { hour_count: 168, call_count: 20_000, ..Options::default() }, &directory);
    let share = |count: u64| count as f64 / summary.call_count as f64;
    assert!((share(summary.calls_by_tier["object_id"]) - 0.3).abs() < 0.05, "{:?}", summary.calls_by_tier);
    let strangers = calls(&directory).iter().filter(|call| call["stranger"] == "true").count() as u64;
    assert!((share(strangers) - 0.01).abs() < 0.006, "{strangers} strangers");
    assert!((share(summary.redelivered_count) - 0.02).abs() < 0.005);
}

#[test]
fn a_plain_archive_is_json_lines_of_one_shape() {
    let directory = Directory::new("plain");
    run(&Options { plain: true, torn: false, damaged_count: 0, ..options() }, &directory);
    let mut names = BTreeMap::<String, u64>::new();
    for bytes in files(&directory.0.join("archive/insights-logs-requestresponse")).values() {
        assert!(!bytes.contains(&b'\r') && bytes.ends_with(b"\n"));
        for line in bytes.split_inclusive(|it| *it == b'\n') {
            let record: Value = serde_json::from_slice(line).expect("every line is a record");
            assert!(record["durationMs"].is_i64() && record["time"].as_str().is_some_and(|it| it.ends_with('Z')));
            for name in ["callerIpAddress", "callerIPAddress"] {
                *names.entry(name.to_owned()).or_default() += u64::from(record.get(name).is_some());
            }
        }
    }
    assert!(names.values().all(|it| *it > 0), "both names occur: {names:?}");
}

#[test]
fn grants_are_as_many_as_asked_for() {
    let directory = Directory::new("grants");
    let summary = run(&Options { grant_count_min: 1_234, ..options() }, &directory);
    assert_eq!(summary.grant_count, 1_234);
}

/// A row of the truth: its fields by their names.
type Row = BTreeMap<String, String>;

/// The grants of the truth as rows of named fields, and the calls, of a scenario made small.
fn scenario(scenario: Scenario) -> (Directory, Vec<Row>, Vec<Row>) {
    let directory = Directory::new(scenario.name());
    run(&Options { call_count: 8_000, ..scenario.options() }, &directory);
    let (grants, calls) = (rows(&directory, "grants.csv"), rows(&directory, "calls.csv"));
    (directory, grants, calls)
}

fn rows(directory: &Directory, file: &str) -> Vec<Row> {
    let text = fs::read_to_string(directory.0.join("truth").join(file)).expect("is there");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row =
        |line: &str| names.iter().zip(line.split(',')).map(|(name, it)| ((*name).to_owned(), it.to_owned())).collect();
    lines.map(row).collect()
}

fn is_key_call(call: &Row) -> bool {
    call["tier"] != "object_id" && call["stranger"] == "false" && call["status"] != "401"
}

#[test]
fn offices_are_shared_and_every_address_is_logged() {
    let (_directory, _, calls) = scenario(Scenario::Offices);
    assert!(calls.iter().all(|call| call["address_hidden"] == "false"));
    let mut at_offices = BTreeMap::<&str, BTreeSet<&str>>::new();
    for call in calls.iter().filter(|call| call["prefix"].starts_with("198.18.")) {
        at_offices.entry(&call["prefix"]).or_default().insert(&call["principal_id"]);
    }
    assert!(at_offices.len() > 10 && at_offices.values().all(|it| it.len() > 1), "{at_offices:?}");
}

#[test]
fn behind_a_nat_everybody_has_one_prefix() {
    let (_directory, _, calls) = scenario(Scenario::Nat);
    let of_tenant = || calls.iter().filter(|call| call["stranger"] == "false");
    assert!(of_tenant().all(|call| call["prefix"] == "198.18.255"));
    assert!(calls.iter().any(|call| call["stranger"] == "true" && call["prefix"] != "198.18.255"));
}

#[test]
fn who_reads_a_key_in_a_vault_has_no_grant() {
    let (_directory, grants, calls) = scenario(Scenario::KeyVault);
    let deliberate = grants.iter().filter(|it| it["operation"] == "listKeys" && it["client"] == "own");
    let keepers: BTreeSet<&str> = deliberate.map(|it| it["principal_id"].as_str()).collect();
    assert_eq!(keepers.len(), 1, "one principal fills the vault");
    let accounts: BTreeSet<&str> = calls.iter().map(|it| it["account"].as_str()).collect();
    let held = |call: &&Row| {
        grants.iter().any(|it| it["account"] == call["account"] && it["principal_id"] == call["principal_id"])
    };
    let (with, all) = (
        calls.iter().filter(|it| is_key_call(it)).filter(held).count(),
        calls.iter().filter(|it| is_key_call(it)).count(),
    );
    assert!(accounts.len() == 12 && with * 3 < all, "{with} of {all} key calls by somebody who obtained a key");
}

#[test]
fn roaming_callers_are_on_the_road_for_most_hours() {
    let (_directory, _, calls) = scenario(Scenario::Roaming);
    let of_users = || calls.iter().filter(|call| call["principal_kind"] == "user" && call["stranger"] == "false");
    let away = of_users().filter(|call| call["prefix"].starts_with("100.127.")).count() * 100 / of_users().count();
    assert!((50..70).contains(&away), "{away} %");
}

#[test]
fn late_logs_begin_three_days_after_the_calls() {
    let (directory, grants, calls) = scenario(Scenario::LateActivity);
    assert!(calls.iter().any(|call| call["time"].starts_with("2026-11-02T")));
    assert!(grants.iter().all(|it| it["time"].as_str() >= "2026-11-05T"));
    for container in [whocalled_types::CONTAINER_ACTIVITY, "insights-logs-audit", "insights-logs-signinlogs"] {
        for path in files(&directory.0.join("archive").join(container)).keys() {
            let path = path.display().to_string();
            assert!(!path.contains("m=11/d=02") && !path.contains("m=10"), "{path}");
        }
    }
}

#[test]
fn a_scanner_lists_keys_all_day_and_never_calls() {
    let (_directory, grants, calls) = scenario(Scenario::Automation);
    let mut by_principal = BTreeMap::<&str, usize>::new();
    for grant in &grants {
        *by_principal.entry(&grant["principal_id"]).or_default() += 1;
    }
    let (scanner, count) = by_principal.into_iter().max_by_key(|(_, count)| *count).expect("somebody");
    assert!(count >= 12 * 14 * 200, "{count}");
    assert!(calls.iter().all(|call| call["principal_id"] != scanner));
}

#[test]
fn two_tenants_share_an_archive_and_no_account() {
    let (directory, _, calls) = scenario(Scenario::TwoTenants);
    let tenants: BTreeMap<String, String> = rows(&directory, "principals.csv")
        .into_iter()
        .map(|it| (it["principal_id"].clone(), it["tenant_id"].clone()))
        .collect();
    let mut of_account = BTreeMap::<&str, BTreeSet<&str>>::new();
    for call in calls.iter().filter(|it| !it["principal_id"].is_empty()) {
        of_account.entry(&call["account"]).or_default().insert(&tenants[&call["principal_id"]]);
    }
    assert!(of_account.values().all(|it| it.len() == 1));
    assert_eq!(of_account.values().flatten().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn the_smallest_and_oddest_options_work() {
    let directory = Directory::new("odd");
    let smallest = Options { account_count: 1, principal_count: 1, hour_count: 1, call_count: 1, ..Options::default() };
    let no_lead = Options { lead_hours: 0, entra_share: 0.0, stranger_share: 0.0, ..smallest.clone() };
    let two_tenants = Options { account_count: 5, tenant_count: 2, principal_count: 30, ..smallest.clone() };
    let no_calls = Options { call_count: 0, torn: true, damaged_count: 1, ..smallest.clone() };
    for options in [smallest, no_lead, two_tenants, no_calls] {
        assert_eq!(run(&options, &directory).call_count, options.call_count);
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let directory = Directory::new("refused");
    let refusal = |options: Options| simulate(&options, &directory.0, &mut |_| {}).map_err(|error| error.to_string());
    let error = refusal(Options { account_count: 0, ..Options::default() });
    assert_eq!(error, Err("option `account_count` is 0, but must be from 1 to 1000".to_owned()));
    assert!(refusal(Options { entra_share: f64::NAN, ..Options::default() }).is_err());
    fs::create_dir_all(&directory.0).expect("creates");
    fs::write(directory.0.join("letter.txt"), "precious").expect("writes");
    assert!(refusal(Options::default()).is_err_and(|error| error.contains("not made by a simulation")));
    assert_eq!(fs::read_to_string(directory.0.join("letter.txt")).ok().as_deref(), Some("precious"));
}
