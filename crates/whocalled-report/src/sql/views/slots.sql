-- name: slots
-- row: An account, an address prefix and a piece of an hour from which keys were used.
-- columns:
--   account_id: the account
--   ip_prefix: the visible part of the callers' address; empty where it is not logged
--   slot_at: when the piece begins
-- how: Candidates are weighed once for each of these, and calls find theirs by equality: there are far
--   fewer slots than calls. Made from the records rather than from `calls`, which is costlier and
--   would give the same: a record without a request time also stands for the hour before it was logged.
WITH hours AS (
  SELECT resource_id AS account_id, coalesce(ip_prefix, '') AS ip_prefix,
    date_trunc('hour', coalesce(request_time, time)) AS hour
  FROM request_response
  WHERE object_id IS NULL AND status IS DISTINCT FROM 401
  UNION
  SELECT resource_id, coalesce(ip_prefix, ''), date_trunc('hour', time) - INTERVAL '1 hour'
  FROM request_response
  WHERE object_id IS NULL AND request_time IS NULL AND status IS DISTINCT FROM 401
)
SELECT h.account_id, h.ip_prefix, coalesce(p.piece_from, h.hour) AS slot_at
FROM hours AS h
LEFT JOIN pieces AS p ON p.account_id = h.account_id AND p.hour = h.hour
