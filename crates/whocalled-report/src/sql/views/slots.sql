-- name: slots
-- row: An account, an address prefix and a piece of an hour from which keys were used.
-- columns:
--   account_id: the account
--   ip_prefix: the visible part of the callers' address; empty where it is not logged
--   slot_at, slot_to: when the piece begins and ends, half-open
--   hour: the hour that it is a piece of
--   slot: a number for account, prefix and piece
--   moment: a number for account and piece
-- how: Candidates are weighed once for each of these, and calls find theirs by equality: there are far
--   fewer slots than calls. Made from the records rather than from `calls`, which is costlier and
--   would give the same: a record without a request time also stands for the hour before it was logged.
--   The numbers are shorter keys than what they stand for, and mean nothing beyond one answer.
WITH hours AS (
  SELECT account_id, coalesce(ip_prefix, '') AS ip_prefix, hour
  FROM sightings
  WHERE object_id IS NULL AND NOT refused
  UNION
  SELECT account_id, coalesce(ip_prefix, ''), hour - INTERVAL '1 hour'
  FROM sightings
  WHERE object_id IS NULL AND NOT refused AND NOT request_timed
),
cut AS (
  SELECT h.account_id, h.ip_prefix, h.hour, coalesce(p.piece_from, h.hour) AS slot_at,
    coalesce(p.piece_to, h.hour + INTERVAL '1 hour') AS slot_to
  FROM hours AS h
  LEFT JOIN pieces AS p ON p.account_id = h.account_id AND p.hour = h.hour
)
SELECT account_id, ip_prefix, hour, slot_at, slot_to,
  CAST(row_number() OVER (ORDER BY account_id, slot_at, ip_prefix) AS BIGINT) AS slot,
  CAST(dense_rank() OVER (ORDER BY account_id, slot_at) AS BIGINT) AS moment
FROM cut
