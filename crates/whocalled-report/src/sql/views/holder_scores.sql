-- name: holder_scores
-- row: A principal that may hold a key of an account at a time, weighed without regard to addresses.
-- columns:
--   moment, slot_at: the account and the time, by their number in `slots`, and the time
--   principal_id: the holder
--   granted_at: its last grant that is still good
--   grant_count: how many grants are still good
--   recency, recency_score: how long ago that was, as evidence in `weights`, and what it adds
--   deliberation, deliberate_score: whether keys were asked for
--   rotation, rotation_score: whether a key was regenerated since
--   candidates_score: `-ln` of the number of holders
--   base_score: the sum of these
--   holder_count: how many holders there are
--   holders_weight: the sum of the exponentials of their base scores
--   base_rank: the place among them by base score, from 1
-- how: Joined per account and slot, of which there are as many as hours in which keys were used, and
--   some more where an hour is cut.
WITH moments AS (
  SELECT DISTINCT moment, account_id, slot_at FROM slots
),
held AS (
  SELECT m.moment, m.slot_at, g.principal_id, max(g.granted_at) AS granted_at, count(*) AS grant_count,
    bool_or(g.deliberate) AS deliberate, bool_and(coalesce(g.weakened_at <= m.slot_at, false)) AS weakened
  FROM moments AS m
  JOIN grants AS g ON g.account_id = m.account_id
    AND g.granted_at <= m.slot_at AND (g.ends_at IS NULL OR m.slot_at < g.ends_at)
  GROUP BY m.moment, m.slot_at, g.principal_id
),
named AS (
  SELECT moment, slot_at, principal_id, granted_at, grant_count,
    CASE
      WHEN granted_at >= slot_at - INTERVAL '1 hour' THEN 'grant_last_hour'
      WHEN granted_at >= slot_at - INTERVAL '1 day' THEN 'grant_last_day'
      WHEN granted_at >= slot_at - INTERVAL '7 days' THEN 'grant_last_week'
      WHEN granted_at >= slot_at - INTERVAL '30 days' THEN 'grant_last_month'
      ELSE 'grant_older'
    END AS recency,
    CASE
      WHEN deliberate THEN 'grant_deliberate'
      WHEN NOT deliberate THEN 'grant_portal'
      ELSE 'grant_unknown_app'
    END AS deliberation,
    CASE WHEN weakened THEN 'rotated_once' ELSE 'not_rotated' END AS rotation,
    count(*) OVER (PARTITION BY moment) AS holder_count
  FROM held
),
scored AS (
  SELECT n.moment, n.slot_at, n.principal_id, n.granted_at, n.grant_count, n.recency,
    a.weight AS recency_score, n.deliberation, b.weight AS deliberate_score, n.rotation, c.weight AS rotation_score,
    -ln(CAST(n.holder_count AS DOUBLE)) AS candidates_score,
    a.weight + b.weight + c.weight - ln(CAST(n.holder_count AS DOUBLE)) AS base_score, n.holder_count
  FROM named AS n
  JOIN weights AS a ON a.name = n.recency
  JOIN weights AS b ON b.name = n.deliberation
  JOIN weights AS c ON c.name = n.rotation
)
SELECT moment, slot_at, principal_id, granted_at, grant_count, recency, recency_score, deliberation,
  deliberate_score, rotation, rotation_score, candidates_score, base_score, holder_count,
  sum(exp(base_score)) OVER (PARTITION BY moment) AS holders_weight,
  CAST(
    row_number() OVER (PARTITION BY moment ORDER BY round(base_score, 9) DESC, granted_at DESC, principal_id) AS BIGINT
  ) AS base_rank
FROM scored
