-- name: key-exposure
-- question: Who may still hold a valid key, since when, and used it from where?
-- parameters:
--   from (timestamp): the beginning of the range in which use is looked for, included
--   to (timestamp): the end of that range, excluded; what is said of keys holds at this time
-- columns:
--   account: the account whose keys they are
--   principal_name, principal_id, principal_kind: who obtained them
--   first_obtained, last_obtained: the first and the last time that may still count
--   grants: how many times
--   deliberate: whether keys were asked for at least once, rather than listed by a portal page
--   days_exposed: how many days have passed since `first_obtained`
--   rotated_once: whether one of the two keys was regenerated after all of these times, so that in one case
--     of two the principal's is worthless
--   key_calls: calls of the range that are attributed to the principal's key
--   mean_confidence: the mean probability of that
--   prefixes: from how many address prefixes
--   main_prefix: the one with the most of these calls
--   last_call: when the last of them was made
-- reading: A key is valid until it is regenerated, and an account has two of them: a row ends with the second
--   regeneration after the grant, or with the first if the logs name the key. Rows without calls are the
--   ones to close: nobody seems to need the key. Who obtained a key before the Activity Log begins, or reads
--   it in a vault, has no row.
WITH valid AS (
  SELECT account_id, max(account) AS account, principal_id, min(granted_at) AS first_obtained,
    max(granted_at) AS last_obtained, count(*) AS grants, bool_or(deliberate) AS deliberate,
    bool_and(weakened_at IS NOT NULL AND weakened_at < $to) AS rotated_once
  FROM grants
  WHERE granted_at < $to AND (ends_at IS NULL OR ends_at >= $to)
  GROUP BY account_id, principal_id
),
used AS (
  SELECT resource_id AS account_id, principal_id, ip_prefix, count(*) AS calls, sum(confidence) AS confidence,
    max(time) AS last_call
  FROM attributed_calls
  WHERE tier = 'key_holder' AND time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
  GROUP BY resource_id, principal_id, ip_prefix
),
summed AS (
  SELECT account_id, principal_id, sum(calls) AS key_calls, round(sum(confidence) / sum(calls), 9) AS mean_confidence,
    count(ip_prefix) AS prefixes, first_value(ip_prefix ORDER BY calls DESC, ip_prefix) AS main_prefix,
    max(last_call) AS last_call
  FROM used
  GROUP BY account_id, principal_id
)
SELECT v.account, p.principal_name, v.principal_id, p.principal_kind, v.first_obtained, v.last_obtained, v.grants,
  v.deliberate,
  CAST(floor((date_part('epoch', CAST($to AS TIMESTAMP)) - date_part('epoch', v.first_obtained)) / 86400) AS BIGINT)
    AS days_exposed,
  v.rotated_once, coalesce(s.key_calls, 0) AS key_calls, s.mean_confidence, coalesce(s.prefixes, 0) AS prefixes,
  s.main_prefix, s.last_call
FROM valid AS v
LEFT JOIN summed AS s ON s.account_id = v.account_id AND s.principal_id = v.principal_id
LEFT JOIN principals AS p ON p.principal_id = v.principal_id
ORDER BY days_exposed DESC, v.account, v.principal_id
