-- name: rotation
-- question: How long do keys that somebody obtained stay valid?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   account: the account whose keys they are
--   regenerated_at: when a key was regenerated, within the range; empty for an account whose keys were
--     obtained and not regenerated before `to`
--   principal_name, principal_id: who did that
--   regenerated_before: when a key of the account was regenerated before that
--   obtained: how many times keys were obtained since then, by others
--   obtained_by: by how many principals
--   first_obtained, last_obtained: when first and last
--   first_hours, last_hours: hours from those until the key was regenerated, or until `to`
-- reading: One row for each regeneration, of whichever of the two keys. `first_hours` is how long what was
--   obtained first stayed good at least; with rotation of both keys in turn it stays good until the next
--   row. An account without `regenerated_at` never rotated: its `first_hours` grow until it does.
WITH regenerations AS (
  SELECT account_id, account, time AS regenerated_at, principal_id, principal_name,
    lag(time) OVER (PARTITION BY account_id ORDER BY time) AS regenerated_before
  FROM (
    SELECT account_id, max(account) AS account, time, max(principal_id) AS principal_id,
      max(principal_name) AS principal_name
    FROM key_access
    WHERE succeeded AND access = 'regenerate' AND time < $to
    GROUP BY account_id, time
  ) AS once
),
periods AS (
  SELECT account_id, account, regenerated_at, principal_id, principal_name, regenerated_before,
    regenerated_at AS period_to
  FROM regenerations
  WHERE regenerated_at >= $from
  UNION ALL
  SELECT g.account_id, max(g.account), NULL, NULL, NULL, NULL, CAST($to AS TIMESTAMP)
  FROM grants AS g
  LEFT JOIN regenerations AS r ON r.account_id = g.account_id
  WHERE r.account_id IS NULL AND g.granted_at < $to
  GROUP BY g.account_id
),
obtained AS (
  SELECT p.account_id, p.period_to, count(*) AS obtained, count(DISTINCT g.principal_id) AS obtained_by,
    min(g.granted_at) AS first_obtained, max(g.granted_at) AS last_obtained
  FROM periods AS p
  JOIN grants AS g ON g.account_id = p.account_id AND g.granted_at < p.period_to
    AND g.granted_at >= coalesce(p.regenerated_before, g.granted_at) AND g.access <> 'regenerate'
  GROUP BY p.account_id, p.period_to
)
SELECT p.account, p.regenerated_at, coalesce(p.principal_name, n.principal_name) AS principal_name, p.principal_id,
  p.regenerated_before, coalesce(o.obtained, 0) AS obtained, coalesce(o.obtained_by, 0) AS obtained_by, o.first_obtained,
  o.last_obtained,
  round((date_part('epoch', p.period_to) - date_part('epoch', o.first_obtained)) / 3600, 2) AS first_hours,
  round((date_part('epoch', p.period_to) - date_part('epoch', o.last_obtained)) / 3600, 2) AS last_hours
FROM periods AS p
LEFT JOIN obtained AS o ON o.account_id = p.account_id AND o.period_to = p.period_to
LEFT JOIN principals AS n ON n.principal_id = p.principal_id
ORDER BY p.regenerated_at IS NULL DESC, first_hours DESC NULLS LAST, p.account, p.regenerated_at
