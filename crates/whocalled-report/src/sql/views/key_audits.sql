-- name: key_audits
-- row: A ListKey of the data plane by a principal that its record names.
-- columns:
--   account_id, subscription_id, account, principal_id, caller_ip, ip_prefix: as in `key_access`
--   time: when it was logged
--   blob, generation, blob_offset: where one of its records is
-- how: Records of the same account, principal and time are one.
SELECT resource_id AS account_id, object_id AS principal_id, time, max(subscription_id) AS subscription_id,
  max(account) AS account, max(caller_ip) AS caller_ip, max(ip_prefix) AS ip_prefix, min(blob) AS blob,
  first_value(generation ORDER BY blob, blob_offset) AS generation,
  first_value(blob_offset ORDER BY blob, blob_offset) AS blob_offset
FROM audit
WHERE lower(operation) = 'listkey' AND object_id IS NOT NULL
GROUP BY resource_id, object_id, time
