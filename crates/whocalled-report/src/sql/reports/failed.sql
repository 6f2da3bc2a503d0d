-- name: failed
-- question: Who was refused or throttled, from where, and when?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   hour: the hour, in UTC
--   account: the account that was called
--   ip_prefix: the visible part of the callers' address; empty where it is not logged
--   status: 401 (no valid key or token), 403 (not allowed) or 429 (too many requests or tokens)
--   calls: how many were answered so
--   other_calls: how many other calls came from the same prefix to the account in that hour
--   operations, deployments: how many different ones were tried
--   principals: how many principals the calls are attributed to; none for 401
--   principal_name, principal_id: the one with the most of them
-- reading: Many 401 from a prefix without `other_calls` are somebody trying keys, or an application whose key
--   was regenerated. 403 got past authentication: a network rule, a missing role, or content that is not
--   allowed. 429 is use beyond the quota: the principal is who to talk to. A key that is refused proves
--   nobody: callers of 401 are never named, unless a token names them.
WITH seen AS (
  SELECT date_trunc('hour', time) AS hour, resource_id, account, ip_prefix, status, operation, deployment, principal_id,
    principal_name
  FROM attributed_calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
totals AS (
  SELECT hour, resource_id, coalesce(ip_prefix, '') AS prefix, count(*) AS calls
  FROM seen
  GROUP BY hour, resource_id, coalesce(ip_prefix, '')
),
by_principal AS (
  SELECT hour, resource_id, coalesce(ip_prefix, '') AS prefix, status, principal_id,
    max(principal_name) AS principal_name, count(*) AS calls
  FROM seen
  WHERE status IN (401, 403, 429) AND principal_id IS NOT NULL
  GROUP BY hour, resource_id, coalesce(ip_prefix, ''), status, principal_id
),
named AS (
  SELECT hour, resource_id, prefix, status, count(*) AS principals,
    first_value(principal_name ORDER BY calls DESC, principal_id) AS principal_name,
    first_value(principal_id ORDER BY calls DESC, principal_id) AS principal_id
  FROM by_principal
  GROUP BY hour, resource_id, prefix, status
),
refused AS (
  SELECT hour, resource_id, max(account) AS account, coalesce(ip_prefix, '') AS prefix, status, count(*) AS calls,
    count(DISTINCT operation) AS operations, count(DISTINCT deployment) AS deployments
  FROM seen
  WHERE status IN (401, 403, 429)
  GROUP BY hour, resource_id, coalesce(ip_prefix, ''), status
)
SELECT r.hour, r.account, nullif(r.prefix, '') AS ip_prefix, r.status, r.calls, t.calls - r.calls AS other_calls,
  r.operations, r.deployments, coalesce(n.principals, 0) AS principals, n.principal_name, n.principal_id
FROM refused AS r
JOIN totals AS t ON t.hour = r.hour AND t.resource_id = r.resource_id AND t.prefix = r.prefix
LEFT JOIN named AS n ON n.hour = r.hour AND n.resource_id = r.resource_id AND n.prefix = r.prefix
  AND n.status = r.status
ORDER BY r.hour, r.account, r.calls DESC, r.prefix, r.status
