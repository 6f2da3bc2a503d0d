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
--   An hour that grants cut into more than twelve pieces is made from the calls all the same, since most of
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
  SELECT place, account_number, ip_hidden_digits, hour FROM placed
  UNION
  SELECT place, account_number, ip_hidden_digits, hour - INTERVAL '1 hour' FROM placed WHERE NOT request_timed
),
busy_places AS (
  SELECT p.place, p.account_number, p.account_id, p.ip_prefix, b.hour
  FROM busy AS b
  JOIN places AS p ON p.account_number = b.account_number
),
busy_calls AS (
  SELECT b.place, b.account_number, coalesce(c.ip_hidden_digits, 0) AS ip_hidden_digits, b.hour,
    coalesce(c.request_time, c.time) AS called_at
  FROM busy_places AS b
  JOIN calls AS c ON c.resource_id = b.account_id AND coalesce(c.ip_prefix, '') = b.ip_prefix
    AND date_trunc('hour', coalesce(c.request_time, c.time)) = b.hour
  WHERE c.object_id IS NULL
),
cut AS (
  SELECT h.place, h.account_number, h.ip_hidden_digits, h.hour, coalesce(p.piece_from, h.hour) AS slot_at,
    coalesce(p.piece_to, h.hour + INTERVAL '1 hour') AS slot_to
  FROM hours AS h
  LEFT JOIN busy AS b ON b.account_number = h.account_number AND b.hour = h.hour
  LEFT JOIN pieces AS p ON p.account_number = h.account_number AND p.hour = h.hour
  WHERE b.hour IS NULL
  UNION ALL
  SELECT DISTINCT c.place, c.account_number, c.ip_hidden_digits, c.hour, p.piece_from, p.piece_to
  FROM busy_calls AS c
  JOIN pieces AS p ON p.account_number = c.account_number AND p.hour = c.hour AND p.piece_from <= c.called_at
    AND c.called_at < p.piece_to
)
SELECT CAST(row_number() OVER (ORDER BY place, hour, ip_hidden_digits, slot_at) AS BIGINT) AS slot, place, account_number,
  ip_hidden_digits, hour, slot_at, slot_to
FROM cut
