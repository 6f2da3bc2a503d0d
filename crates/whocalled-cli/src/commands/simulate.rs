//! `whocalled simulate`: a synthetic tenant with known truth.

use std::io::Write;
use std::time::Instant;

use whocalled_simulate::{Options, Scenario, simulate};

use super::output::json;
use crate::args::Simulate;
use crate::context::{Context, now, show_bytes};
use crate::time::{Bound, instant};

pub(super) fn run(context: &Context, args: &Simulate) -> anyhow::Result<()> {
    let defaults = args.scenario.map_or_else(Options::default, Scenario::options);
    let options = Options {
        seed: args.seed,
        account_count: args.accounts.unwrap_or(defaults.account_count),
        hour_count: args.hours.unwrap_or(defaults.hour_count),
        call_count: args.calls.unwrap_or(defaults.call_count),
        principal_count: args.principals.unwrap_or(defaults.principal_count),
        start: args.start.as_ref().map_or(Ok(defaults.start), |text| instant(text, Bound::From, now()))?,
        tenant_count: args.tenants.unwrap_or(defaults.tenant_count),
        plain: args.plain,
        grant_count_min: args.grants,
        damaged_count: args.damaged,
        torn: args.torn,
        ..defaults
    };
    let begun = Instant::now();
    let mut said = Instant::now();
    let summary = simulate(&options, &args.out, &mut |progress| {
        if said.elapsed().as_secs() >= 2 {
            said = Instant::now();
            context.say(format!(
                "hour {} of {}, {}",
                progress.hours_done,
                progress.hour_count,
                show_bytes(progress.archive_bytes)
            ));
        }
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    context.say(format!(
        "{} blobs, {}, {} records in {seconds:.1} s: archive in {}, truth in {}",
        summary.blob_count,
        show_bytes(summary.archive_bytes),
        summary.record_count,
        args.out.join("archive").display(),
        args.out.join("truth").display(),
    ));
    std::io::stdout().write_all(json(&summary)?.as_bytes())?;
    Ok(())
}
