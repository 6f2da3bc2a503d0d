-- name: local-auth
-- question: Which accounts can do without keys (`disableLocalAuth`), and who would break on the others?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   account: the account that was called
--   verdict: `safe` where no call of the range used a key, else `keys_in_use`
--   entra_calls: calls to the account that name their caller
--   key_calls: calls to the account with a key that was accepted
--   refused_calls: calls that were answered 401
--   tier: how the user of the key was found; empty for an account that is safe
--   principal_name, principal_id: who would break; empty where no caller was found
--   principal_key_calls: how many of the key calls are this principal's
--   mean_confidence: the mean probability of that
--   prefixes: from how many address prefixes
--   last_key_call: when the last of them was made
-- reading: `safe` holds for the range only: take one that has a whole business cycle in it, such as a month
--   with its end. A gateway that calls with a key is found by its own callers, in rows of the tier `gateway`:
--   it is the gateway that has to change. Turning keys off breaks every row of the account at once. Accounts
--   without calls in the range have no row.
WITH seen AS (
  SELECT resource_id, account, tier, principal_id, principal_name, confidence, ip_prefix, time,
    coalesce(status = 401, false) AND object_id IS NULL AS refused, object_id IS NOT NULL AS by_entra
  FROM attributed_calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
accounts_called AS (
  SELECT resource_id, max(account) AS account, sum(CASE WHEN by_entra THEN 1 ELSE 0 END) AS entra_calls,
    sum(CASE WHEN by_entra OR refused THEN 0 ELSE 1 END) AS key_calls,
    sum(CASE WHEN refused THEN 1 ELSE 0 END) AS refused_calls
  FROM seen
  GROUP BY resource_id
),
users AS (
  SELECT resource_id, tier, principal_id, max(principal_name) AS principal_name, count(*) AS principal_key_calls,
    round(avg(confidence), 9) AS mean_confidence, count(DISTINCT ip_prefix) AS prefixes, max(time) AS last_key_call
  FROM seen
  WHERE NOT by_entra AND NOT refused
  GROUP BY resource_id, tier, principal_id
)
SELECT a.account, CASE WHEN a.key_calls = 0 THEN 'safe' ELSE 'keys_in_use' END AS verdict, a.entra_calls, a.key_calls,
  a.refused_calls, u.tier, u.principal_name, u.principal_id, u.principal_key_calls, u.mean_confidence, u.prefixes,
  u.last_key_call
FROM accounts_called AS a
LEFT JOIN users AS u ON u.resource_id = a.resource_id
ORDER BY verdict DESC, a.account, u.principal_key_calls DESC, u.tier, u.principal_id
