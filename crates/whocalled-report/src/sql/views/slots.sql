-- name: slots
-- row: What the evidence looks at: an account, an address prefix, a number of masked digits, a deployment
--   and a piece of an hour, by which calls were made with a key.
-- columns:
--   slot: a number
--   account_id: the account
--   ip_prefix: the visible part of the callers' address; empty where it is not logged
--   ip_hidden_digits: how many digits of it are masked; 0 where none
--   deployment: what was called; empty where the operation has none
--   slot_at, slot_to: when the piece begins and ends, half-open
--   hour: the hour that it is a piece of
-- how: Candidates are weighed once for each of these, and calls find theirs by equality: there are far
--   fewer slots than calls. Made from the records rather than from `calls`, which is costlier and
--   would give the same: a record without a request time also stands for the hour before it was logged.
--   The number is a shorter key than what it stands for, and means nothing beyond one answer.
WITH hours AS (
  SELECT account_id, ip_prefix, ip_hidden_digits, deployment, hour, request_timed
  FROM sightings
  WHERE object_id IS NULL AND NOT refused
),
places AS (
  SELECT account_id, coalesce(ip_prefix, '') AS ip_prefix, coalesce(ip_hidden_digits, 0) AS ip_hidden_digits,
    coalesce(deployment, '') AS deployment, hour
  FROM hours
  UNION
  SELECT account_id, coalesce(ip_prefix, ''), coalesce(ip_hidden_digits, 0), coalesce(deployment, ''),
    hour - INTERVAL '1 hour'
  FROM hours
  WHERE NOT request_timed
)
SELECT CAST(row_number() OVER (ORDER BY h.account_id, h.hour, h.ip_prefix, h.ip_hidden_digits, h.deployment, p.piece_from)
    AS BIGINT) AS slot,
  h.account_id, h.ip_prefix, h.ip_hidden_digits, h.deployment, h.hour, coalesce(p.piece_from, h.hour) AS slot_at,
  coalesce(p.piece_to, h.hour + INTERVAL '1 hour') AS slot_to
FROM places AS h
LEFT JOIN pieces AS p ON p.account_id = h.account_id AND p.hour = h.hour
