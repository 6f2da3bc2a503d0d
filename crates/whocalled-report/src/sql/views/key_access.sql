-- name: key_access
-- row: One request by which a principal obtained, or tried to obtain, key material of an account.
-- columns:
--   time: when it was begun
--   account_id, subscription_id, account: the account whose keys they are; its lower-case resource id, and parts of it
--   access: `list`, `regenerate` or `connection`
--   operation: as logged, in lower case
--   succeeded: whether it did; NULL where no outcome was logged
--   result_signature: the outcome's own words
--   principal_id, principal_name, principal_kind: who
--   app_id, app_name: the application used, and its name where it is one of `known_apps`
--   deliberate: whether it was asked for, rather than done by a portal page; NULL where no application is logged
--   caller_ip, ip_prefix: from where
--   correlation_id: of the Activity Log
--   source: `activity`, or `audit` for a ListKey of the data plane without a counterpart there
--   audit_time: when the matching Audit record says
--   blob, generation, blob_offset: where one of its records is
--   date: the day of `time`
-- how: The Activity Log writes a Start and an outcome with one correlation id: they are one row, and
--   an attempt that failed is a row too. An Audit ListKey belongs to a request on the same account by
--   the same object id within five minutes. Reading secrets of a connection is taken as obtaining a
--   key of the account that the connection belongs to, although it may be another's. Creating or
--   updating an account is not listed: its answer holds no keys.
WITH nearby AS (
  -- Found by equality of a stretch of ten minutes, its own or one beside it, so that tools which list keys all
  -- day long are not compared with all that they ever did.
  SELECT a.account_id, a.principal_id, a.time, CAST(floor(date_part('epoch', a.time) / 600) AS BIGINT) + d.distance AS stretch
  FROM key_audits AS a
  CROSS JOIN (VALUES (-1), (0), (1)) AS d (distance)
),
pairs AS (
  SELECT r.request, r.account_id, r.operation, r.principal_id, a.time AS audit_time
  FROM key_requests AS r
  JOIN nearby AS a ON a.account_id = r.account_id AND a.principal_id = r.principal_id
    AND a.stretch = CAST(floor(date_part('epoch', r.time) / 600) AS BIGINT)
    AND a.time >= r.time - INTERVAL '5 minutes' AND a.time <= r.time + INTERVAL '5 minutes'
  WHERE r.succeeded IS NOT FALSE
),
matched AS (
  SELECT request, account_id, operation, principal_id, min(audit_time) AS audit_time
  FROM pairs
  GROUP BY request, account_id, operation, principal_id
),
paired AS (
  SELECT DISTINCT account_id, principal_id, audit_time FROM pairs
)
SELECT r.time, r.account_id, r.subscription_id, r.account, r.access, r.operation,
  coalesce(r.succeeded, CASE WHEN m.audit_time IS NOT NULL THEN true END) AS succeeded, r.result_signature,
  r.principal_id, r.principal_name, r.principal_kind, r.app_id, k.app_name,
  CASE WHEN r.app_id IS NOT NULL THEN k.app_id IS NULL END AS deliberate, r.caller_ip, r.ip_prefix, r.correlation_id,
  'activity' AS source, m.audit_time, r.blob, r.generation, r.blob_offset, CAST(r.time AS DATE) AS date
FROM key_requests AS r
LEFT JOIN matched AS m ON m.request = r.request AND m.account_id = r.account_id AND m.operation = r.operation
  AND m.principal_id = r.principal_id
LEFT JOIN known_apps AS k ON k.app_id = r.app_id
UNION ALL
SELECT a.time, a.account_id, a.subscription_id, a.account, 'list', 'listkey', true, NULL AS result_signature,
  a.principal_id, NULL AS principal_name, NULL AS principal_kind, NULL AS app_id, NULL AS app_name, NULL AS deliberate,
  a.caller_ip, a.ip_prefix, NULL AS correlation_id, 'audit', a.time AS audit_time, a.blob, a.generation, a.blob_offset,
  CAST(a.time AS DATE)
FROM key_audits AS a
LEFT JOIN paired AS p ON p.account_id = a.account_id AND p.principal_id = a.principal_id AND p.audit_time = a.time
WHERE p.audit_time IS NULL
