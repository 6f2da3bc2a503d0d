-- name: account_sums
-- row: An account and the beginning of a slot, and what all holders of its keys weigh together.
-- columns:
--   account_number, slot_at: which
--   holder_count: how many holders there are
--   holders_weight: the sum of the exponentials of their scores, before addresses are looked at
-- how: A running sum over the beginnings and ends of steps. Differences of sums leave traces of rounding,
--   which do not matter while there is a holder; without one there is no row.
WITH events AS (
  SELECT account_number, step_from AS at, 1 AS holders, base_weight AS weight, false AS is_slot FROM holder_steps
  UNION ALL
  SELECT account_number, step_to, -1, -base_weight, false FROM holder_steps
  UNION ALL
  SELECT DISTINCT account_number, slot_at, 0, 0.0, true FROM slots
),
summed AS (
  SELECT account_number, at, is_slot, sum(holders) OVER so_far AS holder_count, sum(weight) OVER so_far AS holders_weight
  FROM events
  -- What begins and ends at an instant counts for the slot that begins then.
  WINDOW so_far AS (PARTITION BY account_number ORDER BY at RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT account_number, at AS slot_at, holder_count, holders_weight
FROM summed
WHERE is_slot AND holder_count > 0
