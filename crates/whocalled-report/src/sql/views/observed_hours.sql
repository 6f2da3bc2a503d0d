-- name: observed_hours
-- row: A principal, an address prefix, and an hour in which some log shows the principal there.
-- columns:
--   principal_id, ip_prefix, hour: who, where and when
--   by_call: whether calls with Entra authentication show it
--   by_log: whether the Activity Log or a sign-in shows it
-- how: `observations` by the hour.
SELECT principal_id, ip_prefix, hour, bool_or(is_call) AS by_call, bool_or(NOT is_call) AS by_log
FROM (
  SELECT principal_id, ip_prefix, date_trunc('hour', time) AS hour, false AS is_call
  FROM activity
  WHERE principal_id IS NOT NULL AND ip_prefix IS NOT NULL
  UNION ALL
  SELECT object_id, ip_prefix, date_trunc('hour', time), false
  FROM sign_ins
  WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL AND result_type = '0'
  UNION ALL
  SELECT object_id, ip_prefix, hour, true
  FROM sightings
  WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL
) AS observed
GROUP BY principal_id, ip_prefix, hour
