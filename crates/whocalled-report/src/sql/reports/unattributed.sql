-- name: unattributed
-- question: Which calls could not be attributed, and why?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
--   confidence_min (number, default 0): calls that were attributed with less than this are listed too
-- columns:
--   account: the account that was called
--   reason: why: `unauthenticated`, `no_grant_seen`, `unseen_caller`, `address_hidden`; of calls
--     below `confidence_min` also `address_unseen`, `shared_address`, `key_not_logged`
--   ip_prefix: the visible part of the callers' address
--   calls: how many
--   first_call, last_call: when
--   runner_up_name, runner_up_id: the likeliest principal after all
--   runner_up_confidence: the highest probability that one of the calls is its own
-- reading: `no_grant_seen` asks for logs: the key was obtained before the Activity Log was archived,
--   or from another place, such as a vault. `unseen_caller` asks for a person: somebody uses a key
--   from an address at which no principal that could hold it was seen. `unauthenticated` calls did
--   nothing; many of them from one prefix are somebody trying.
WITH unsure AS (
  SELECT account, reason, ip_prefix, time, tier,
    CASE WHEN tier = 'none' THEN runner_up_id ELSE principal_id END AS best_id,
    CASE WHEN tier = 'none' THEN runner_up_confidence ELSE confidence END AS best_confidence
  FROM attributed_calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
    AND (tier = 'none' OR confidence < $confidence_min)
),
summed AS (
  SELECT account, reason, ip_prefix, count(*) AS calls, min(time) AS first_call, max(time) AS last_call,
    first_value(best_id ORDER BY best_confidence DESC NULLS LAST, best_id) AS best_id,
    max(best_confidence) AS best_confidence
  FROM unsure
  GROUP BY account, reason, ip_prefix
)
SELECT s.account, s.reason, s.ip_prefix, s.calls, s.first_call, s.last_call, p.principal_name AS runner_up_name,
  s.best_id AS runner_up_id, s.best_confidence AS runner_up_confidence
FROM summed AS s
LEFT JOIN principals AS p ON p.principal_id = s.best_id
ORDER BY s.calls DESC, s.account, s.reason, s.ip_prefix
