-- name: observations
-- row: One time that a principal was seen at an address.
-- columns:
--   principal_id: who
--   ip_prefix: where: the first three octets, or the first 64 bits
--   observed_at: when
--   source: `activity`, `sign_in` or `entra_call`
-- how: From the full addresses of the Activity Log and of sign-ins that succeeded, and from the masked
--   addresses of the principal's own data-plane calls with Entra authentication. A gateway's log
--   names no principal, and Azure publishes no addresses of managed identities' sign-ins.
SELECT principal_id, ip_prefix, time AS observed_at, 'activity' AS source
FROM activity
WHERE principal_id IS NOT NULL AND ip_prefix IS NOT NULL
UNION ALL
SELECT object_id, ip_prefix, time, 'sign_in'
FROM sign_ins
WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL AND result_type = '0'
UNION ALL
SELECT object_id, ip_prefix, coalesce(request_time, time), 'entra_call'
FROM request_response
WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL
