-- name: presence
-- row: A principal, an address prefix, and a day on or near which the principal was seen there.
-- columns:
--   spot: as in `observed_hours`
--   principal_id, ip_prefix: who and where
--   date: the day in question
--   days_off: how many days from it the nearest observation is, 0 to 30
--   entra_call: whether an own Entra call from there is at most a day off
--   has_1_digit, has_2_digits, has_3_digits: as in `observed_hours`, about that day
--   principal_count: how many principals have a row for this prefix and day: the more, the less it says
-- how: Each day of an observation is spread over the days that it is evidence for: a month on both
--   sides, and one day for the principal's own calls, of which there are many. So evidence is found
--   by equality of prefix and day, and never by comparing times.
WITH near AS (
  SELECT d.spot, d.principal_id, d.ip_prefix, CAST(d.date + s.distance AS DATE) AS date, min(abs(s.distance)) AS days_off,
    bool_or(d.by_call AND abs(s.distance) <= 1) AS entra_call, bool_or(d.has_1_digit) AS has_1_digit,
    bool_or(d.has_2_digits) AS has_2_digits, bool_or(d.has_3_digits) AS has_3_digits
  FROM observed_days AS d
  CROSS JOIN generate_series(-30, 30) AS s (distance)
  WHERE d.by_log OR abs(s.distance) <= 1
  GROUP BY d.spot, d.principal_id, d.ip_prefix, CAST(d.date + s.distance AS DATE)
)
SELECT spot, principal_id, ip_prefix, date, days_off, entra_call, has_1_digit, has_2_digits, has_3_digits,
  count(*) OVER (PARTITION BY ip_prefix, date) AS principal_count
FROM near
