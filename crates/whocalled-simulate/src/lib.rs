//! Synthetic tenants with known truth: for the demo, for tests, and for measuring accuracy.
//!
//! [`simulate`] invents an organisation and what it does with Azure OpenAI, and writes what Azure
//! would have logged, in the layout and the variants of a real archive, together with what really
//! happened:
//!
//! ```text
//! OUT/SIMULATED.txt           marks the directory as one of ours, which may be written over
//! OUT/archive/CONTAINER/...   blobs, as diagnostic settings name them
//! OUT/truth/calls.csv         every distinct call, with its maker and the best tier possible
//! OUT/truth/principals.csv    everybody, where they call from, and what they have access to
//! OUT/truth/grants.csv        every attempt to obtain a key, and its outcome
//! OUT/truth/summary.json      exact counts; written last
//! ```
//!
//! The data flows from [`Options`] to the tenant (who and where), from there to the schedule (what
//! happens when), and from there, hour by hour, into records, blobs and truth. Memory is bounded by
//! hours times accounts and by the number of grants, not by the number of calls.

mod archive;
mod control;
mod dialect;
mod dice;
mod draw;
mod error;
mod journal;
mod options;
mod records;
mod scenario;
mod schedule;
mod summary;
mod tenant;
mod text;
mod traffic;
mod truth;

use std::{fs, io, path::Path};

pub use error::Error;
pub use options::Options;
pub use scenario::{Habits, Scenario};
pub use summary::Summary;

use crate::{
    archive::Archive,
    journal::Journal,
    schedule::Schedule,
    tenant::Tenant,
    text::{HOUR, Ticks},
    traffic::Traffic,
    truth::CallTruth,
};

/// How far a simulation is, told after every hour of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Simulated hours that are written, those before the first call included.
    pub hours_done: u32,
    /// Simulated hours that will be written.
    pub hour_count: u32,
    /// Bytes of the archive that are written.
    pub archive_bytes: u64,
}

/// The file that marks a directory as made here.
const MARKER: &str = "SIMULATED.txt";

/// Simulates a tenant into a directory. The same options give the same bytes.
///
/// A directory that an earlier simulation made is written over; one that holds anything else is
/// refused.
pub fn simulate(options: &Options, out: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Summary, Error> {
    options.check()?;
    claim(out)?;
    let tenant = Tenant::new(options);
    let schedule = Schedule::new(options, &tenant);
    let truth = out.join("truth");
    truth::write_principals(&truth, &tenant, &schedule)?;
    let grant_count = truth::write_grants(&truth, &tenant, &schedule)?;
    let mut calls = CallTruth::new(&truth)?;
    let mut archive = Archive::new(out.join("archive"));
    let mut journal = Journal::new(&tenant, &schedule, options.seed, options.redelivered_share);
    let mut traffic = Traffic::new(options, &tenant, &schedule);

    let hour_count = options.lead_hours + options.hour_count;
    let first = Ticks::from_utc(options.start) + -HOUR * i64::from(options.lead_hours);
    for hour in 0..hour_count {
        journal.write_hour(&mut archive, first + HOUR * i64::from(hour))?;
        if let Some(hour) = hour.checked_sub(options.lead_hours) {
            for account in 0..tenant.accounts.len() {
                traffic.write_hour(&mut archive, &mut calls, hour, account)?;
            }
        }
        progress(Progress { hours_done: hour + 1, hour_count, archive_bytes: archive.contents.bytes });
    }
    let counts = traffic.counts;
    let summary = Summary::new(options, archive.contents, counts, calls.finish()?, grant_count);
    let path = truth.join("summary.json");
    serde_json::to_writer_pretty(archive::create(&path)?, &summary)
        .map_err(io::Error::from)
        .map_err(Error::io("write", path))?;
    Ok(summary)
}

/// Makes a directory ours: creates and marks it, or empties it if it is marked already.
fn claim(out: &Path) -> Result<(), Error> {
    let marker = out.join(MARKER);
    let is_ours = fs::exists(&marker).map_err(Error::io("read", &marker))?;
    let is_there = fs::exists(out).map_err(Error::io("read", out))?;
    if is_there && !is_ours && fs::read_dir(out).map_err(Error::io("read", out))?.next().is_some() {
        return Err(Error::Occupied { path: out.to_owned() });
    }
    fs::create_dir_all(out).map_err(Error::io("create directory", out))?;
    let text = "Synthetic logs, written by `whocalled simulate`. Nobody in them exists.\n";
    fs::write(&marker, text).map_err(Error::io("write", &marker))?;
    for directory in [out.join("archive"), out.join("truth")] {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("empty", directory)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
