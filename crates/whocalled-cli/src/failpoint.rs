//! Failpoints of the lake's protocol, set from the environment, so that a killed process can be
//! tested: `WHOCALLED_FAILPOINT=decide.after` aborts there, `decide.after:2` the second time.

use std::sync::atomic::{AtomicUsize, Ordering};

use whocalled_lake::Failpoints;

pub(crate) const VARIABLE: &str = "WHOCALLED_FAILPOINT";

/// The failpoint that the environment names; none if it names none.
pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Failpoints {
    let Some(text) = variable(VARIABLE) else { return Failpoints::default() };
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    let (name, count) = (name.to_owned(), count.parse().unwrap_or(1));
    let hits = AtomicUsize::new(0);
    Failpoints::new(move |hit| {
        if hit == name && hits.fetch_add(1, Ordering::Relaxed) + 1 == count {
            // As hard as a kill: no destructor runs, nothing is flushed.
            std::process::abort();
        }
        Ok(())
    })
}
