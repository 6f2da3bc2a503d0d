-- name: attribution
-- question: Who made the calls, to which account, and how sure is that?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   account: the account that was called
--   tier: how the callers were found: `object_id`, `key_holder` or `none`
--   principal_name, principal_id, principal_kind: who; empty where the tier is `none`
--   calls: how many calls
--   share: of all calls of the range
--   mean_confidence: the mean probability that the principal made each of them
--   request_bytes, response_bytes: how long requests and answers were, together; the answer of a
--     streaming call counts 0
--   prompt_tokens, completion_tokens: their sums, where tokens are logged
--   first_call, last_call: when
-- reading: A row of the tier `object_id` is certain. In a row of `key_holder` about `calls` times
--   `mean_confidence` calls are the principal's, and the others somebody else's: look at `explain` for
--   a call of it before acting on a low figure. Rows of the tier `none` are taken apart by the report
--   `unattributed`.
SELECT account, tier, principal_name, principal_id, principal_kind, count(*) AS calls,
  CAST(count(*) AS DOUBLE) / sum(count(*)) OVER () AS share, round(avg(confidence), 9) AS mean_confidence,
  sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes, sum(prompt_tokens) AS prompt_tokens,
  sum(completion_tokens) AS completion_tokens, min(time) AS first_call, max(time) AS last_call
FROM attributed_calls
WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
GROUP BY account, tier, principal_name, principal_id, principal_kind
ORDER BY calls DESC, account, tier, principal_id
