-- name: summary
-- question: What happened on the whole?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   measure: what is counted: `calls`, and of these `object_id`, `gateway`, `key_holder` and `none` by the tier
--     of attribution, `unexplained` (`unseen_caller` or `undecided`), `refused` (401) and `throttled` (429);
--     `accounts` called, `principals` named, `prompt_tokens`, `completion_tokens`; `keys_obtained`,
--     `keys_regenerated` and `key_requests_failed`
--   value: how many
--   share: the same as a share of the calls; empty for what is not calls
--   mean_confidence: of calls with a principal, the mean probability that it made them
-- reading: `object_id` and `gateway` are certain. Of `key_holder`, about `value` times `mean_confidence` are
--   right. `unexplained` calls are in the report `leaked-key`.
WITH seen AS (
  SELECT count(*) AS calls, sum(CASE tier WHEN 'object_id' THEN 1 ELSE 0 END) AS object_id,
    sum(CASE tier WHEN 'gateway' THEN 1 ELSE 0 END) AS gateway,
    sum(CASE tier WHEN 'key_holder' THEN 1 ELSE 0 END) AS key_holder,
    sum(CASE tier WHEN 'none' THEN 1 ELSE 0 END) AS unnamed,
    sum(CASE WHEN reason IN ('unseen_caller', 'undecided') THEN 1 ELSE 0 END) AS unexplained,
    sum(CASE status WHEN 401 THEN 1 ELSE 0 END) AS refused, sum(CASE status WHEN 429 THEN 1 ELSE 0 END) AS throttled,
    count(DISTINCT resource_id) AS accounts, count(DISTINCT principal_id) AS principals,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens, coalesce(sum(completion_tokens), 0) AS completion_tokens,
    round(avg(CASE tier WHEN 'key_holder' THEN confidence END), 9) AS mean_confidence
  FROM attributed_calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
keys AS (
  SELECT coalesce(sum(CASE WHEN succeeded THEN 1 ELSE 0 END), 0) AS obtained,
    coalesce(sum(CASE WHEN succeeded AND access = 'regenerate' THEN 1 ELSE 0 END), 0) AS regenerated,
    coalesce(sum(CASE WHEN NOT succeeded THEN 1 ELSE 0 END), 0) AS failed
  FROM key_access
  WHERE time >= $from AND time < $to
),
measures AS (
  SELECT 1 AS place, 'calls' AS measure, calls AS value, CAST(calls AS DOUBLE) / nullif(calls, 0) AS share, CAST(NULL AS DOUBLE) AS mean_confidence
  FROM seen
  UNION ALL SELECT 2, 'object_id', object_id, CAST(object_id AS DOUBLE) / nullif(calls, 0), 1.0 FROM seen
  UNION ALL SELECT 3, 'gateway', gateway, CAST(gateway AS DOUBLE) / nullif(calls, 0), 1.0 FROM seen
  UNION ALL SELECT 4, 'key_holder', key_holder, CAST(key_holder AS DOUBLE) / nullif(calls, 0), mean_confidence FROM seen
  UNION ALL SELECT 5, 'none', unnamed, CAST(unnamed AS DOUBLE) / nullif(calls, 0), NULL FROM seen
  UNION ALL SELECT 6, 'unexplained', unexplained, CAST(unexplained AS DOUBLE) / nullif(calls, 0), NULL FROM seen
  UNION ALL SELECT 7, 'refused', refused, CAST(refused AS DOUBLE) / nullif(calls, 0), NULL FROM seen
  UNION ALL SELECT 8, 'throttled', throttled, CAST(throttled AS DOUBLE) / nullif(calls, 0), NULL FROM seen
  UNION ALL SELECT 9, 'accounts', accounts, NULL, NULL FROM seen
  UNION ALL SELECT 10, 'principals', principals, NULL, NULL FROM seen
  UNION ALL SELECT 11, 'prompt_tokens', prompt_tokens, NULL, NULL FROM seen
  UNION ALL SELECT 12, 'completion_tokens', completion_tokens, NULL, NULL FROM seen
  UNION ALL SELECT 13, 'keys_obtained', obtained, NULL, NULL FROM keys
  UNION ALL SELECT 14, 'keys_regenerated', regenerated, NULL, NULL FROM keys
  UNION ALL SELECT 15, 'key_requests_failed', failed, NULL, NULL FROM keys
)
SELECT measure, coalesce(value, 0) AS value, share, CASE WHEN value > 0 THEN mean_confidence END AS mean_confidence
FROM measures
ORDER BY place
