-- name: holders
-- row: A principal that may hold a valid key of an account, from one time until another.
-- columns:
--   account_id, account: the account, by resource id and by name
--   principal_id: who
--   held_from: the first grant, included
--   held_to: the regeneration that ended it, excluded; NULL where it still may hold one
--   grant_count: how many grants the interval rests on
--   last_granted_at: the last of them
-- how: Half-open intervals over `grants`: those that end with the same regeneration are one. Two
--   intervals of one principal may overlap, when it obtained keys again between two regenerations.
SELECT account_id, max(account) AS account, principal_id, min(granted_at) AS held_from, ends_at AS held_to,
  count(*) AS grant_count, max(granted_at) AS last_granted_at
FROM grants
GROUP BY account_id, principal_id, ends_at
