-- name: key_requests
-- row: One request to Azure Resource Manager for key material of an account.
-- columns:
--   request: its correlation id, or where its record is if it has none
--   account_id, subscription_id, account, operation, access: as in `key_access`
--   principal_id, principal_name, principal_kind, app_id, caller_ip, ip_prefix, correlation_id: as in `key_access`
--   time: when it was begun
--   succeeded, result_signature: how it ended, as far as the Activity Log says
--   blob, generation, blob_offset: where one of its records is
-- how: `key_access` without the Audit log.
WITH operations AS (
  SELECT operation, access
  FROM (VALUES
    ('microsoft.cognitiveservices/accounts/listkeys/action', 'list'),
    ('microsoft.cognitiveservices/accounts/regeneratekey/action', 'regenerate'),
    ('microsoft.cognitiveservices/accounts/connections/listsecrets/action', 'connection'),
    ('microsoft.cognitiveservices/accounts/projects/connections/listsecrets/action', 'connection')
  ) AS operations (operation, access)
),
records AS (
  SELECT a.time, a.operation, o.access, lower(a.result_type) AS result_type, a.result_signature, a.principal_id,
    a.principal_name, a.principal_kind, a.app_id, a.caller_ip, a.ip_prefix, a.correlation_id, a.subscription_id,
    a.account, a.blob, a.generation, a.blob_offset,
    -- Of a connection's or project's id, the account's part.
    concat('/subscriptions/', split_part(a.resource_id, '/', 3), '/resourcegroups/', split_part(a.resource_id, '/', 5),
      '/providers/', split_part(a.resource_id, '/', 7), '/', split_part(a.resource_id, '/', 8), '/',
      split_part(a.resource_id, '/', 9)) AS account_id,
    coalesce(a.correlation_id, concat(a.blob, '@', a.blob_offset)) AS request
  FROM activity AS a
  JOIN operations AS o ON o.operation = a.operation
)
SELECT request, account_id, operation, access, principal_id, min(time) AS time,
  CASE
    WHEN bool_or(result_type IN ('success', 'succeeded')) THEN true
    WHEN bool_or(result_type IN ('failure', 'failed')) THEN false
  END AS succeeded,
  first_value(result_signature ORDER BY time DESC) AS result_signature, max(subscription_id) AS subscription_id,
  max(account) AS account, max(principal_name) AS principal_name, max(principal_kind) AS principal_kind,
  max(app_id) AS app_id, max(caller_ip) AS caller_ip, max(ip_prefix) AS ip_prefix,
  max(correlation_id) AS correlation_id, first_value(blob ORDER BY time, blob, blob_offset) AS blob,
  first_value(generation ORDER BY time, blob, blob_offset) AS generation,
  first_value(blob_offset ORDER BY time, blob, blob_offset) AS blob_offset
FROM records
GROUP BY request, account_id, operation, access, principal_id
