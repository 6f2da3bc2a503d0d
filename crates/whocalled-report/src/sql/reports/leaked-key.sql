-- name: leaked-key
-- question: Which calls does no known holder of a key explain?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
--   gap_hours (integer, default 6): how long calls from one prefix may pause and still be one row
-- columns:
--   account: the account that was called
--   ip_prefix: the visible part of the callers' address
--   reason: `unseen_caller`, `undecided` or `no_grant_seen`, as in `attributed_calls`
--   first_call, last_call: when
--   calls: how many
--   deployments: how many different ones were called
--   request_bytes, response_bytes: how long requests and answers were, together
--   prompt_tokens, completion_tokens: their sums, where tokens are logged
--   last_grant_at, last_grant_name, last_grant_id: who obtained a key of the account last before the first
--     of these calls, when the log knows of any
--   correlation_id: the first call, for `whocalled explain`
-- reading: `unseen_caller` is the finding to act on: a valid key was used from an address where nobody was
--   seen who could hold it. Somebody known may travel, or work from a new place; ask who obtained the key
--   last, and rotate the keys unless that explains it. `undecided` is the same with less certainty.
--   `no_grant_seen` often is a key that was obtained before the Activity Log begins, or through a vault. Calls
--   without an address cannot be told apart, and are left out; 401 never used a valid key.
WITH unexplained AS (
  SELECT resource_id, account, ip_prefix, reason, time, correlation_id, deployment, request_bytes, response_bytes,
    prompt_tokens, completion_tokens,
    lag(time) OVER (PARTITION BY resource_id, ip_prefix, reason ORDER BY time, correlation_id) AS time_before
  FROM attributed_calls
  WHERE tier = 'none' AND reason IN ('unseen_caller', 'undecided', 'no_grant_seen') AND ip_prefix IS NOT NULL
    AND time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
numbered AS (
  SELECT resource_id, account, ip_prefix, reason, time, correlation_id, deployment, request_bytes, response_bytes,
    prompt_tokens, completion_tokens,
    sum(CASE WHEN date_part('epoch', time) - date_part('epoch', time_before) <= $gap_hours * 3600 THEN 0 ELSE 1 END)
      OVER (PARTITION BY resource_id, ip_prefix, reason ORDER BY time, correlation_id) AS spell
  FROM unexplained
),
clusters AS (
  SELECT resource_id, max(account) AS account, ip_prefix, reason, spell, min(time) AS first_call,
    max(time) AS last_call, count(*) AS calls, count(DISTINCT deployment) AS deployments,
    sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, first_value(correlation_id ORDER BY time, correlation_id) AS correlation_id
  FROM numbered
  GROUP BY resource_id, ip_prefix, reason, spell
),
obtained AS (
  SELECT c.resource_id, c.ip_prefix, c.reason, c.spell, max(g.granted_at) AS last_grant_at,
    first_value(g.principal_id ORDER BY g.granted_at DESC, g.principal_id) AS last_grant_id
  FROM clusters AS c
  JOIN grants AS g ON g.account_id = c.resource_id AND g.granted_at <= c.first_call
  GROUP BY c.resource_id, c.ip_prefix, c.reason, c.spell
)
SELECT c.account, c.ip_prefix, c.reason, c.first_call, c.last_call, c.calls, c.deployments, c.request_bytes,
  c.response_bytes, c.prompt_tokens, c.completion_tokens, o.last_grant_at, p.principal_name AS last_grant_name,
  o.last_grant_id, c.correlation_id
FROM clusters AS c
LEFT JOIN obtained AS o ON o.resource_id = c.resource_id AND o.ip_prefix = c.ip_prefix AND o.reason = c.reason
  AND o.spell = c.spell
LEFT JOIN principals AS p ON p.principal_id = o.last_grant_id
ORDER BY CASE c.reason WHEN 'unseen_caller' THEN 1 WHEN 'undecided' THEN 2 ELSE 3 END, c.calls DESC, c.account,
  c.ip_prefix, c.first_call
