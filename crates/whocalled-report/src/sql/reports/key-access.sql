-- name: key-access
-- question: Who obtained keys, from where, and what followed within a day?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   time: when keys were asked for
--   account: the account whose keys they are
--   access: `list`, `regenerate` or `connection`
--   succeeded: whether they were handed out; empty where no outcome is logged
--   principal_name, principal_id: who asked
--   app: the portal or the application id that was used
--   deliberate: false where a portal page did it unasked
--   caller_ip: the full address
--   source: `activity`, or `audit` where only the data plane saw it
--   key_calls: calls with a key to the account within the next 24 hours
--   key_calls_same_prefix: those of them that came from the same address prefix
-- reading: Portal pages list keys as a side effect: rows with `deliberate` false are mostly
--   harmless, and frequent. Look at deliberate rows by unexpected principals or from unexpected
--   addresses, above all where calls from the same prefix follow. Calls in the same hour as a second
--   request by the same principal count from the hour's next change of holders on.
WITH key_calls AS (
  SELECT resource_id AS account_id, ip_prefix, slot_at, count(*) AS calls
  FROM call_slots
  WHERE way = 'key'
  GROUP BY resource_id, ip_prefix, slot_at
),
accesses AS (
  SELECT time, account_id, account, access, operation, succeeded, principal_id, principal_name,
    coalesce(app_name, app_id) AS app, deliberate, caller_ip, ip_prefix, source, blob, blob_offset
  FROM key_access
  WHERE time >= $from AND time < $to
),
followed AS (
  SELECT a.blob, a.blob_offset, a.account_id, a.operation, a.time, sum(c.calls) AS key_calls,
    sum(CASE WHEN c.ip_prefix = a.ip_prefix THEN c.calls ELSE 0 END) AS key_calls_same_prefix
  FROM accesses AS a
  JOIN key_calls AS c ON c.account_id = a.account_id AND c.slot_at >= a.time AND c.slot_at < a.time + INTERVAL '1 day'
  GROUP BY a.blob, a.blob_offset, a.account_id, a.operation, a.time
)
SELECT a.time, a.account, a.access, a.succeeded, coalesce(a.principal_name, p.principal_name) AS principal_name,
  a.principal_id, a.app, a.deliberate, a.caller_ip, a.source, coalesce(f.key_calls, 0) AS key_calls,
  coalesce(f.key_calls_same_prefix, 0) AS key_calls_same_prefix
FROM accesses AS a
LEFT JOIN followed AS f ON f.blob = a.blob AND f.blob_offset = a.blob_offset AND f.account_id = a.account_id
  AND f.operation = a.operation AND f.time = a.time
LEFT JOIN principals AS p ON p.principal_id = a.principal_id
ORDER BY a.time, a.account, a.principal_id
