//! Leaves out joins that nothing needs.
//!
//! Views join names, tokens and candidates to calls. A query that reads none of them should not pay
//! for them, but DataFusion computes every join of a view that it inlines. A LEFT JOIN of which
//! no column of the right side is read, and whose right side has at most one row for each key, gives
//! the rows of its left side and nothing else.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Dependency, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, Projection, SubqueryAlias, lit};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

/// The rule; it walks the whole plan by itself.
#[derive(Debug)]
pub(crate) struct UnusedJoins;

impl OptimizerRule for UnusedJoins {
    fn name(&self) -> &'static str {
        "unused_joins"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let read = all(plan.schema());
        prune(plan, &read, false)
    }
}

type Columns = HashSet<Column>;

/// Leaves joins out of `plan`, of whose columns only those in `read` are needed. Whether columns may
/// vanish from its schema is for the plan above to say.
fn prune(plan: LogicalPlan, read: &Columns, may_vanish: bool) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => prune_projection(projection, read),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, schema, .. }) => {
            let read = renamed(read, &schema, input.schema());
            let pruned = prune(Arc::unwrap_or_clone(input), &read, false)?;
            pruned.map_data(|input| SubqueryAlias::try_new(Arc::new(input), alias).map(LogicalPlan::SubqueryAlias))
        }
        LogicalPlan::Join(join) if may_vanish && is_unused(&join, read) => {
            let pruned = prune(Arc::unwrap_or_clone(join.left), read, true)?;
            Ok(Transformed::yes(pruned.data))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) if !has_subquery(&plan)? => {
            let mut read = read.clone();
            plan.apply_expressions(|expr| {
                read.extend(expr.column_refs().into_iter().cloned());
                Ok(TreeNodeRecursion::Continue)
            })?;
            let is_outer = matches!(&plan, LogicalPlan::Join(join) if join.join_type != JoinType::Inner);
            rebuilt(plan.map_children(|input| prune(input, &read, may_vanish && !is_outer))?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            let read = exprs.flat_map(Expr::column_refs).cloned().collect();
            rebuilt(LogicalPlan::Aggregate(aggregate).map_children(|input| prune(input, &read, true))?)
        }
        LogicalPlan::Union(union) => {
            let schema = Arc::clone(&union.schema);
            let pruned = LogicalPlan::Union(union).map_children(|input| {
                let read = renamed(read, &schema, input.schema());
                prune(input, &read, false)
            });
            rebuilt(pruned?)
        }
        other => rebuilt(other.map_children(|input| {
            let read = all(input.schema());
            prune(input, &read, false)
        })?),
    }
}

/// A projection says which columns there are, so that those below it may vanish. An expression that
/// nobody reads may be of a column that did, and becomes NULL.
fn prune_projection(projection: Projection, read: &Columns) -> Result<Transformed<LogicalPlan>> {
    let Projection { expr, input, schema, .. } = projection;
    let is_read: Vec<bool> = schema.columns().iter().map(|column| read.contains(column)).collect();
    let exprs = || expr.iter().zip(&is_read).filter(|(_, is_read)| **is_read).map(|(expr, _)| expr);
    let below = exprs().flat_map(Expr::column_refs).cloned().collect();
    let may_vanish = !exprs().any(has_subquery_inside);
    let pruned = prune(Arc::unwrap_or_clone(input), &below, may_vanish)?;
    if !pruned.transformed {
        let input = Arc::new(pruned.data);
        return Ok(Transformed::no(LogicalPlan::Projection(Projection::try_new_with_schema(expr, input, schema)?)));
    }
    let has_all = |expr: &Expr| expr.column_refs().into_iter().all(|column| pruned.data.schema().has_column(column));
    let mut kept = Vec::with_capacity(expr.len());
    for (index, expr) in expr.into_iter().enumerate() {
        let (relation, field) = schema.qualified_field(index);
        kept.push(if has_all(&expr) {
            expr
        } else {
            lit(ScalarValue::try_new_null(field.data_type())?).alias_qualified(relation.cloned(), field.name())
        });
    }
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(kept, Arc::new(pruned.data))?)))
}

/// Whether a join only passes on the rows of its left side.
fn is_unused(join: &Join, read: &Columns) -> bool {
    let right = join.right.schema();
    if join.join_type != JoinType::Left || read.iter().any(|column| right.has_column(column)) {
        return false;
    }
    let mut keys: HashSet<usize> = HashSet::new();
    let index = |expr: &Expr| key(expr, right);
    keys.extend(join.on.iter().filter_map(|(_, key)| index(key)));
    for expr in join.filter.iter().flat_map(|filter| split_conjunction(filter)) {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right: other }) = expr {
            match (index(left), index(other)) {
                (Some(key), None) | (None, Some(key)) => keys.insert(key),
                _ => false,
            };
        }
    }
    let unique = |index: &usize| keys.contains(index);
    right
        .functional_dependencies()
        .iter()
        .any(|dependence| dependence.mode == Dependency::Single && dependence.source_indices.iter().all(unique))
}

/// The place of a column, or of one whose text is made into text of another representation, which tells
/// the same values apart.
fn key(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    let Expr::Cast(cast) = expr else { return schema.maybe_index_of_column(expr.try_as_col()?) };
    let index = schema.maybe_index_of_column(cast.expr.try_as_col()?)?;
    (schema.field(index).data_type().is_string() && cast.field.data_type().is_string()).then_some(index)
}

/// Whether an expression of the plan has a subquery, which may read columns that it does not show.
fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= has_subquery_inside(expr);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn has_subquery_inside(expr: &Expr) -> bool {
    let is_subquery = |it: &Expr| {
        matches!(it, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..))
    };
    // An expression that cannot be searched is taken to have one.
    expr.exists(|it| Ok(is_subquery(it))).unwrap_or(true)
}

/// The plan with the schema that its new inputs give it.
fn rebuilt(plan: Transformed<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    if plan.transformed { plan.map_data(LogicalPlan::recompute_schema) } else { Ok(plan) }
}

fn all(schema: &DFSchema) -> Columns {
    schema.columns().into_iter().collect()
}

/// Columns of one schema as those at the same places of another.
fn renamed(columns: &Columns, from: &DFSchema, to: &DFSchema) -> Columns {
    from.columns().iter().zip(to.columns()).filter(|(column, _)| columns.contains(column)).map(|it| it.1).collect()
}
