//! How many rows a join is expected to give: as many as its larger side.
//!
//! Of two sides, an engine looks up in the one that it takes for the smaller. DataFusion takes a join for
//! as small as its smaller side unless it knows how many values the keys have, which it does not of rows
//! in memory or of what views compute. Views join names and weights, which are few, to calls and slots,
//! which are many, and join the outcome again: taken for small, it would be copied into a table for
//! lookups each time, and every row of it handed over.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::error::Result;
use datafusion::logical_expr::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::operator_statistics::{
    ExtendedStatistics, StatisticsProvider, StatisticsRegistry, StatisticsResult,
};

/// The estimate.
#[derive(Debug)]
struct JoinSizes;

/// DataFusion's own estimates, and this one of joins.
pub(crate) fn registry() -> StatisticsRegistry {
    let mut registry = StatisticsRegistry::default_with_builtin_providers();
    registry.register(Arc::new(JoinSizes));
    registry
}

impl StatisticsProvider for JoinSizes {
    fn compute_statistics(&self, plan: &dyn ExecutionPlan, sides: &[ExtendedStatistics]) -> Result<StatisticsResult> {
        let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(StatisticsResult::Delegate) };
        if !matches!(join.join_type(), JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full) {
            return Ok(StatisticsResult::Delegate);
        }
        let rows = |side: &ExtendedStatistics| side.base().num_rows.get_value().copied();
        let mut statistics = Statistics::new_unknown(&plan.schema());
        if let [Some(left), Some(right)] = sides.iter().map(rows).collect::<Vec<_>>()[..] {
            statistics.num_rows = Precision::Inexact(left.max(right));
        }
        Ok(StatisticsResult::Computed(statistics.into()))
    }
}
