-- name: usage
-- question: Who used how much of which deployment and model on which day?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   date: the UTC day
--   account: the account that was called
--   principal_name, principal_id: who; empty where no caller was found
--   deployment, model: what was called; empty where the operation has none
--   calls: how many, those that failed included
--   exact_calls: how many of them name their caller, by themselves or in a gateway's log
--   exact_share: the same as a share of `calls`
--   mean_confidence: the mean probability that the principal made each of them; empty without a principal
--   request_bytes, response_bytes: how long requests and answers were, together; the answer of a
--     streaming call counts 0
--   prompt_tokens, completion_tokens: their sums, where tokens are logged
--   calls_with_tokens: how many calls these sums come from
-- reading: For charge-back, the exact share says what is proved; the rest is the likeliest holder of a key,
--   whose expected use is `calls` times `mean_confidence`. Token counts exist only where the category
--   `AzureOpenAIRequestUsage` is logged; compare `calls_with_tokens` with `calls` before using them, and fall
--   back on bytes. A call counts on the day it was logged first.
SELECT date, account, principal_name, principal_id, deployment, model, count(*) AS calls,
  sum(CASE WHEN tier IN ('object_id', 'gateway') THEN 1 ELSE 0 END) AS exact_calls,
  CAST(sum(CASE WHEN tier IN ('object_id', 'gateway') THEN 1 ELSE 0 END) AS DOUBLE) / count(*) AS exact_share,
  round(avg(confidence), 9) AS mean_confidence, sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes,
  sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
  count(coalesce(prompt_tokens, completion_tokens)) AS calls_with_tokens
FROM attributed_calls
WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
GROUP BY date, account, principal_name, principal_id, deployment, model
ORDER BY date, calls DESC, account, principal_id, deployment, model
