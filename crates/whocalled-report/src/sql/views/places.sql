-- name: places
-- row: An account and an address prefix from which it was called with a key.
-- columns:
--   place: a number, which means nothing beyond one answer
--   account_number, account_id: the account, as in `accounts`
--   ip_prefix: the visible part of the callers' address; empty where it is not logged
-- how: Of the records that name no caller and were not refused for their key.
SELECT CAST(row_number() OVER (ORDER BY a.account_number, s.ip_prefix) AS BIGINT) AS place, a.account_number,
  a.account_id, s.ip_prefix
FROM (
  SELECT DISTINCT account_id, coalesce(ip_prefix, '') AS ip_prefix
  FROM sightings
  WHERE object_id IS NULL AND NOT refused
) AS s
JOIN accounts AS a ON a.account_id = s.account_id
