-- name: slots
-- row: What calls by key are told apart by: a place, how many digits of the address are masked, and a piece
--   of an hour.
-- columns:
--   slot: a number, which means nothing beyond one answer
--   place, account_number: as in `places`
--   ip_hidden_digits: how many digits of the address are masked; 0 where none
--   slot_at, slot_to: when the piece begins and ends, half-open
--   hour: the hour that it is a piece of
-- how: Candidates are weighed once for each of these, and calls find theirs by equality: there are far
--   fewer slots than calls. Made from the records rather than from `calls`, which is costlier and
--   would give the same: a record without a request time also stands for the hour before it was logged.
WITH placed AS (
  SELECT DISTINCT p.place, p.account_number, coalesce(s.ip_hidden_digits, 0) AS ip_hidden_digits, s.hour,
    s.request_timed
  FROM sightings AS s
  JOIN places AS p ON p.account_id = s.account_id AND p.ip_prefix = coalesce(s.ip_prefix, '')
  WHERE s.object_id IS NULL AND NOT s.refused
),
hours AS (
  SELECT place, account_number, ip_hidden_digits, hour FROM placed
  UNION
  SELECT place, account_number, ip_hidden_digits, hour - INTERVAL '1 hour' FROM placed WHERE NOT request_timed
)
SELECT CAST(row_number() OVER (ORDER BY h.place, h.hour, h.ip_hidden_digits, p.piece_from) AS BIGINT) AS slot, h.place,
  h.account_number, h.ip_hidden_digits, h.hour, coalesce(p.piece_from, h.hour) AS slot_at,
  coalesce(p.piece_to, h.hour + INTERVAL '1 hour') AS slot_to
FROM hours AS h
LEFT JOIN pieces AS p ON p.account_number = h.account_number AND p.hour = h.hour
