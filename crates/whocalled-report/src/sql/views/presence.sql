-- name: presence
-- row: A principal, an address prefix, and a day on or near which the principal was seen there.
-- columns:
--   spot: as in `observed_hours`
--   principal_id, ip_prefix: who and where
--   date: the day in question
--   days_off: how many days from it the nearest observation is, 0 to 7
--   entra_call: whether an own Entra call from there is at most a day off
--   has_1_digit, has_2_digits, has_3_digits: as in `observed_hours`, about that day
--   principal_count: how many principals have a row for this prefix and day: the more, the less it says
-- how: Each day of an observation is spread over the days that it is evidence for: a week on both
--   sides, and one day for the principal's own calls, of which there are many. So evidence is found
--   by equality of prefix and day, and never by comparing times.
WITH days AS (
  SELECT spot, principal_id, ip_prefix, CAST(hour AS DATE) AS date, bool_or(by_call) AS by_call, bool_or(by_log) AS by_log,
    bool_or(has_1_digit) AS has_1_digit, bool_or(has_2_digits) AS has_2_digits, bool_or(has_3_digits) AS has_3_digits
  FROM observed_hours
  GROUP BY spot, principal_id, ip_prefix, CAST(hour AS DATE)
),
spread AS (
  SELECT distance, days_off
  FROM (VALUES
    (INTERVAL '-7 days', 7), (INTERVAL '-6 days', 6), (INTERVAL '-5 days', 5), (INTERVAL '-4 days', 4),
    (INTERVAL '-3 days', 3), (INTERVAL '-2 days', 2), (INTERVAL '-1 days', 1), (INTERVAL '0 days', 0),
    (INTERVAL '1 days', 1), (INTERVAL '2 days', 2), (INTERVAL '3 days', 3), (INTERVAL '4 days', 4),
    (INTERVAL '5 days', 5), (INTERVAL '6 days', 6), (INTERVAL '7 days', 7)
  ) AS spread (distance, days_off)
),
near AS (
  SELECT d.spot, d.principal_id, d.ip_prefix, CAST(d.date + s.distance AS DATE) AS date, min(s.days_off) AS days_off,
    bool_or(d.by_call AND s.days_off <= 1) AS entra_call, bool_or(d.has_1_digit) AS has_1_digit,
    bool_or(d.has_2_digits) AS has_2_digits, bool_or(d.has_3_digits) AS has_3_digits
  FROM days AS d
  CROSS JOIN spread AS s
  WHERE d.by_log OR s.days_off <= 1
  GROUP BY d.spot, d.principal_id, d.ip_prefix, CAST(d.date + s.distance AS DATE)
)
SELECT spot, principal_id, ip_prefix, date, days_off, entra_call, has_1_digit, has_2_digits, has_3_digits,
  count(*) OVER (PARTITION BY ip_prefix, date) AS principal_count
FROM near
