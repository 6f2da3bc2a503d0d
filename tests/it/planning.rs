//! What a query is planned to do, and what it is spared.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use whocalled_report::{Parameters, Session, SessionOptions, Weights};
use whocalled_tests::schemas;

use crate::attribution::on_large_stacks;

/// The plan of a query over empty tables.
async fn plan(sql: &str) -> String {
    let options = SessionOptions {
        threads: NonZeroUsize::MIN,
        memory_bytes_max: 1 << 30,
        weights: Weights::with(&BTreeMap::new()).expect("the parameters file is in order"),
    };
    let session = Session::in_memory(&schemas::nullable(), &options).expect("a session");
    let answer = session.query(&format!("EXPLAIN {sql}"), &Parameters::new()).await.expect("a plan");
    let batches: Vec<_> = answer.batches.try_collect().await.expect("rows");
    pretty_format_batches(&batches).expect("text").to_string()
}

#[test]
fn joins_that_nothing_reads_are_left_out() {
    // Names come from a view that is kept, whose text is of another representation than the tables'.
    on_large_stacks(|runtime| {
        let plan = |sql| runtime.block_on(plan(sql));
        let counted = plan("SELECT tier, principal_id, count(*) FROM attributed_calls GROUP BY tier, principal_id");
        assert!(counted.contains("TableScan: slot_callers"), "{counted}");
        assert!(!counted.contains("TableScan: principals"), "{counted}");
        assert!(!counted.contains("TableScan: request_usage"), "{counted}");
        let named = plan("SELECT principal_name, prompt_tokens FROM attributed_calls");
        assert!(named.contains("TableScan: principals"), "{named}");
        assert!(named.contains("TableScan: request_usage"), "{named}");
    });
}
