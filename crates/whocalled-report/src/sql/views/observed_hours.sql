-- name: observed_hours
-- row: A principal, an address prefix, and an hour in which some log shows the principal there.
-- columns:
--   spot: a number for principal and prefix, which means nothing beyond one answer
--   principal_id, ip_prefix, hour: who, where and when
--   by_call: whether calls with Entra authentication show it
--   by_log: whether another log shows it
--   has_1_digit, has_2_digits, has_3_digits: whether it was at an address whose last octet has so many
-- how: `observations` by the hour.
SELECT CAST(dense_rank() OVER (ORDER BY principal_id, ip_prefix) AS BIGINT) AS spot, principal_id, ip_prefix, hour,
  bool_or(is_call) AS by_call, bool_or(NOT is_call) AS by_log,
  bool_or(coalesce(digits = 1, false)) AS has_1_digit, bool_or(coalesce(digits = 2, false)) AS has_2_digits,
  bool_or(coalesce(digits = 3, false)) AS has_3_digits
FROM (
  SELECT principal_id, ip_prefix, date_trunc('hour', observed_at) AS hour, digits, false AS is_call
  FROM observations
  WHERE source <> 'entra_call'
  UNION ALL
  SELECT object_id, ip_prefix, hour, ip_hidden_digits, true
  FROM sightings
  WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL
) AS observed
GROUP BY principal_id, ip_prefix, hour
