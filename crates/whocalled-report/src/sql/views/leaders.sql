-- name: leaders
-- row: One of the five likeliest holders of keys of an account at a time, before addresses are looked at.
-- columns:
--   account_id, slot_at: the account, and the time: the beginning of a slot
--   rank: its place, from 1
--   step: in `holder_steps`
--   base_score: its score there
--   holder_count: how many holders there are
--   holders_weight: the sum of the exponentials of their scores
-- how: Computed once for all slots of an account that begin at the same time.
WITH moments AS (
  SELECT DISTINCT account_id, slot_at FROM slots
),
ranked AS (
  SELECT m.account_id, m.slot_at, h.step, h.base_score,
    count(*) OVER (PARTITION BY m.account_id, m.slot_at) AS holder_count,
    sum(h.base_weight) OVER (PARTITION BY m.account_id, m.slot_at) AS holders_weight,
    CAST(row_number() OVER (PARTITION BY m.account_id, m.slot_at ORDER BY h.step) AS BIGINT) AS rank
  FROM moments AS m
  JOIN holder_steps AS h ON h.account_id = m.account_id AND h.step_from <= m.slot_at AND m.slot_at < h.step_to
)
SELECT account_id, slot_at, rank, step, base_score, holder_count, holders_weight
FROM ranked
WHERE rank <= 5
