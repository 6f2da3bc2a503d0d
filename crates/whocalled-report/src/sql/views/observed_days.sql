-- name: observed_days
-- row: A principal, an address prefix, and a day on which some log shows the principal there.
-- columns:
--   spot: as in `observed_hours`
--   principal_id, ip_prefix, date: who, where and when
--   by_call, by_log, has_1_digit, has_2_digits, has_3_digits: as in `observed_hours`, on that day
-- how: `observed_hours` by the day.
SELECT spot, principal_id, ip_prefix, CAST(hour AS DATE) AS date, bool_or(by_call) AS by_call, bool_or(by_log) AS by_log,
  bool_or(has_1_digit) AS has_1_digit, bool_or(has_2_digits) AS has_2_digits, bool_or(has_3_digits) AS has_3_digits
FROM observed_hours
GROUP BY spot, principal_id, ip_prefix, CAST(hour AS DATE)
