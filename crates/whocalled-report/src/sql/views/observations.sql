-- name: observations
-- row: One time that a principal was seen at an address.
-- columns:
--   principal_id: who
--   caller_ip: the address as logged; masked in the principal's own calls
--   ip_prefix: where: the first three octets, or the first 64 bits
--   digits: how many digits the last octet has; NULL where the address has none
--   observed_at: when
--   source: `activity`, `sign_in`, `gateway` or `entra_call`
-- how: From the full addresses of the Activity Log, of sign-ins that succeeded, and of gateways whose
--   log names the caller, and from the masked addresses of the principal's own data-plane calls with
--   Entra authentication. Azure publishes no addresses of managed identities' sign-ins.
SELECT principal_id, caller_ip, ip_prefix,
  CASE WHEN caller_ip LIKE concat(ip_prefix, '.%') THEN character_length(split_part(caller_ip, '.', 4)) END AS digits,
  time AS observed_at, 'activity' AS source
FROM activity
WHERE principal_id IS NOT NULL AND ip_prefix IS NOT NULL
UNION ALL
SELECT object_id, caller_ip, ip_prefix,
  CASE WHEN caller_ip LIKE concat(ip_prefix, '.%') THEN character_length(split_part(caller_ip, '.', 4)) END, time,
  'sign_in'
FROM sign_ins
WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL AND result_type = '0'
UNION ALL
SELECT principal_id, caller_ip, ip_prefix,
  CASE WHEN caller_ip LIKE concat(ip_prefix, '.%') THEN character_length(split_part(caller_ip, '.', 4)) END, time,
  'gateway'
FROM gateway_callers
WHERE ip_prefix IS NOT NULL
UNION ALL
SELECT object_id, caller_ip, ip_prefix, ip_hidden_digits, coalesce(request_time, time), 'entra_call'
FROM request_response
WHERE object_id IS NOT NULL AND ip_prefix IS NOT NULL
