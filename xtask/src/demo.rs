//! `cargo xtask demo`: the main job on a simulated archive, from nothing to attributed calls.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Profile};
use crate::steps::seconds;

/// Where the demo works, below the workspace's root; made anew each time.
const DIRECTORY: &str = "target/demo";
const TENANT: &str = "target/demo/tenant";
const LAKE: &str = "target/demo/lake";

/// Two calls of each tier, the surest first.
const CALLS_OF_EACH_TIER: &str = "\
WITH one_of_each AS (SELECT *, row_number() OVER (PARTITION BY tier, coalesce(principal_id, reason) \
ORDER BY confidence DESC, time) AS place FROM attributed_calls), \
ranked AS (SELECT *, row_number() OVER (PARTITION BY tier ORDER BY confidence DESC, time) AS nth \
FROM one_of_each WHERE place = 1) \
SELECT tier, operation, principal_name, confidence, candidates, coalesce(evidence, reason) AS why \
FROM ranked WHERE nth <= 3 ORDER BY tier DESC, nth";

/// A call that was made with a key, and of which more than one principal could be thought.
const A_KEY_CALL: &str = "\
SELECT correlation_id FROM attributed_calls WHERE tier = 'key_holder' AND candidates > 1 \
AND correlation_id IS NOT NULL ORDER BY confidence DESC, correlation_id LIMIT 1";

const WHERE_NEXT: &str = "
Where to look next:
  cargo xtask report --list                               the reports; each is one SQL file
  cargo xtask report key-access --lake target/demo/lake   who obtained keys, and what followed
  cargo xtask sql --lake target/demo/lake                 a SQL shell; \\d lists tables and views
  cargo xtask status --lake target/demo/lake              what is committed, and how far
  target/demo/tenant/truth/                               who really made each simulated call
  docs/tutorial.md                                        the same on a real Storage Account
";

/// Builds `whocalled` and shows what it does.
pub(crate) fn run() -> Result<()> {
    eprintln!(
        "The first build takes about 5 minutes on two cores (dev profile); the demo itself takes seconds, \
         and so does every later run."
    );
    let started = Instant::now();
    let demo = Demo { binary: cargo::build_whocalled(Profile::Dev)? };
    eprintln!("built in {}", seconds(started.elapsed()));

    let directory = cargo::root().join(DIRECTORY);
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

    let simulate = "simulate --seed 7 --accounts 4 --hours 48 --calls 20000 --principals 24 --out";
    demo.keep("A tenant whose truth is known, archived the way Azure does it", simulate.split(' ').chain([TENANT]))?;
    demo.keep("From archived blobs to the lake", ["convert", TENANT, "--lake", LAKE])?;
    demo.show("Calls by principal, account and tier", ["report", "attribution", "--lake", LAKE])?;
    let call = demo.key_call()?;
    let explain = ["explain", &call, "--lake", LAKE, "--archive", TENANT];
    demo.show("The evidence behind one call that was made with a key, and its raw record", explain)?;
    demo.show("Calls of all three tiers", ["sql", "--lake", LAKE, "-c", CALLS_OF_EACH_TIER])?;
    eprint!("{WHERE_NEXT}");
    Ok(())
}

struct Demo {
    binary: PathBuf,
}

impl Demo {
    /// Says what comes, shows the command, runs it and gives its time.
    fn show<'a>(&self, title: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.step(title, arguments, None)
    }

    /// As [`Demo::show`], with the receipt put into a file, since it is long.
    fn keep<'a>(&self, title: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut arguments = arguments.into_iter().peekable();
        let receipt = format!("{DIRECTORY}/{}.json", arguments.peek().unwrap_or(&"receipt"));
        self.step(title, arguments, Some(&receipt))
    }

    fn step<'a>(&self, title: &str, arguments: impl IntoIterator<Item = &'a str>, receipt: Option<&str>) -> Result<()> {
        let mut command = self.whocalled();
        command.args(arguments);
        let to = receipt.map_or_else(String::new, |receipt| format!(" > {receipt}"));
        eprintln!("\n# {title}\n$ {}{to}", cargo::line(&command));
        if let Some(receipt) = receipt {
            let path = cargo::root().join(receipt);
            command.stdout(fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?);
        }
        let started = Instant::now();
        cargo::run(&mut command)?;
        eprintln!("({})", seconds(started.elapsed()));
        Ok(())
    }

    /// The correlation id of a call to explain.
    fn key_call(&self) -> Result<String> {
        let csv = cargo::output(self.whocalled().args(["sql", "--lake", LAKE, "--format", "csv", "-c", A_KEY_CALL]))?;
        match csv.lines().nth(1) {
            Some(id) if !id.is_empty() => Ok(id.to_owned()),
            _ => bail!("no call of the demo was attributed to a key holder; this is a bug, please report it"),
        }
    }

    fn whocalled(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(cargo::root());
        command
    }
}
