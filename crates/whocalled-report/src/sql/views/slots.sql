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
--   An hour that grants cut into more than twelve pieces has slots only where a record was requested, since most of
--   its pieces have no call from most places: with a thousand holders that was five slots to a call.
WITH busy AS (
  SELECT account_number, hour FROM pieces GROUP BY account_number, hour HAVING count(*) > 12
),
placed AS (
  SELECT DISTINCT p.place, p.account_number, coalesce(s.ip_hidden_digits, 0) AS ip_hidden_digits, s.hour,
    s.request_timed
  FROM sightings AS s
  JOIN places AS p ON p.account_id = s.account_id AND p.ip_prefix = coalesce(s.ip_prefix, '')
  WHERE s.object_id IS NULL AND NOT s.refused
),
hours AS (
  SELECT place, account_number, ip_hidden_digits, hour, bool_and(request_timed) AS request_timed
  FROM (
    SELECT place, account_number, ip_hidden_digits, hour, request_timed FROM placed
    UNION ALL
    SELECT place, account_number, ip_hidden_digits, hour - INTERVAL '1 hour', false FROM placed WHERE NOT request_timed
  ) AS either
  GROUP BY place, account_number, ip_hidden_digits, hour
),
busy_hours AS (
  SELECT h.place, h.account_number, h.ip_hidden_digits, h.hour, p.account_id, p.ip_prefix
  FROM hours AS h
  JOIN busy AS b ON b.account_number = h.account_number AND b.hour = h.hour
  JOIN places AS p ON p.place = h.place
  WHERE h.request_timed
),
called AS (
  SELECT b.place, b.account_number, b.ip_hidden_digits, b.hour, r.request_time
  FROM busy_hours AS b
  JOIN request_response AS r ON r.resource_id = b.account_id AND coalesce(r.ip_prefix, '') = b.ip_prefix
    AND coalesce(r.ip_hidden_digits, 0) = b.ip_hidden_digits AND date_trunc('hour', r.request_time) = b.hour
  WHERE r.object_id IS NULL
),
cut AS (
  SELECT h.place, h.account_number, h.ip_hidden_digits, h.hour, coalesce(p.piece_from, h.hour) AS slot_at,
    coalesce(p.piece_to, h.hour + INTERVAL '1 hour') AS slot_to
  FROM hours AS h
  LEFT JOIN busy AS b ON b.account_number = h.account_number AND b.hour = h.hour
  LEFT JOIN pieces AS p ON p.account_number = h.account_number AND p.hour = h.hour
  WHERE b.hour IS NULL OR NOT h.request_timed
  UNION ALL
  SELECT DISTINCT c.place, c.account_number, c.ip_hidden_digits, c.hour, p.piece_from, p.piece_to
  FROM called AS c
  JOIN pieces AS p ON p.account_number = c.account_number AND p.hour = c.hour AND p.piece_from <= c.request_time
    AND c.request_time < p.piece_to
)
SELECT CAST(row_number() OVER (ORDER BY place, hour, ip_hidden_digits, slot_at) AS BIGINT) AS slot, place, account_number,
  ip_hidden_digits, hour, slot_at, slot_to
FROM cut
