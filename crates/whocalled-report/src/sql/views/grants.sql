-- name: grants
-- row: One time that a principal obtained key material, and how long that may have stayed valid.
-- columns:
--   account_id, account: the account, by resource id and by name
--   principal_id: who
--   granted_at: when
--   access, deliberate: as in `key_access`
--   weakened_at: the first regeneration on the account after it; NULL where there is none
--   ends_at: the second one: from then on, what was obtained is worthless; NULL where there is none
--   valid_from, weak_from, valid_to: these three times as calls are compared with them: the grant five
--     seconds earlier and the regenerations five later, for the clocks of two logs differ
-- how: An account has two keys, and the logs rarely say which one was regenerated. One regeneration
--   leaves the key valid in one case of two; of two, counted strictly after the grant, each is taken
--   to have replaced another key. Regenerating a key also is obtaining it.
WITH regenerations AS (
  SELECT account_id, time, CAST(row_number() OVER (PARTITION BY account_id ORDER BY time) AS BIGINT) AS number
  FROM (
    SELECT DISTINCT account_id, time FROM key_access WHERE succeeded AND access = 'regenerate'
  ) AS distinct_regenerations
),
granted AS (
  SELECT account_id, max(account) AS account, principal_id, time AS granted_at, access,
    bool_or(deliberate) AS deliberate
  FROM key_access
  WHERE succeeded AND principal_id IS NOT NULL
  GROUP BY account_id, principal_id, time, access
),
numbered AS (
  SELECT g.account_id, g.account, g.principal_id, g.granted_at, g.access, g.deliberate, count(r.time) AS earlier
  FROM granted AS g
  LEFT JOIN regenerations AS r ON r.account_id = g.account_id AND r.time <= g.granted_at
  GROUP BY g.account_id, g.account, g.principal_id, g.granted_at, g.access, g.deliberate
)
SELECT n.account_id, n.account, n.principal_id, n.granted_at, n.access, n.deliberate, w.time AS weakened_at,
  e.time AS ends_at, n.granted_at - INTERVAL '5 seconds' AS valid_from, w.time + INTERVAL '5 seconds' AS weak_from,
  e.time + INTERVAL '5 seconds' AS valid_to
FROM numbered AS n
LEFT JOIN regenerations AS w ON w.account_id = n.account_id AND w.number = n.earlier + 1
LEFT JOIN regenerations AS e ON e.account_id = n.account_id AND e.number = n.earlier + 2
