-- name: calls
-- row: One data-plane call, however often and in however many parts its record was delivered.
-- columns:
--   time: when the call was logged first
--   request_time, response_time: when the service began and ended it
--   resource_id: the account that was called
--   subscription_id, resource_group, account, location: parts of it, and its region
--   operation, api_name: what was called
--   status, duration_ms: how it ended, and how long it took
--   caller_ip, ip_prefix, ip_hidden_digits: the caller's address as logged, its visible part, and how
--     many digits are masked
--   correlation_id: the `apim-request-id` header of the answer
--   object_id: the caller's object id; NULL where an API key was used
--   streaming, deployment, model, model_version: what was asked for
--   request_bytes, response_bytes: how long request and answer were
--   prompt_tokens, completion_tokens: from the record, or else from `request_usage`
--   extra: fields of the record that have no column
--   blob, generation, blob_offset: where one of its records is: the most complete, then the earliest
--   date: the day of `time`
-- how: Azure delivers some records again, and since 2026 may split a call into a populated and a
--   nearly empty record. Most records have no twin, and pass through as they are; the others are brought together
--   in `merged_calls`.
WITH usage AS (
  SELECT resource_id, correlation_id, max(prompt_tokens) AS prompt_tokens, max(generated_tokens) AS generated_tokens
  FROM request_usage
  WHERE correlation_id IS NOT NULL
  GROUP BY resource_id, correlation_id
),
once AS (
  SELECT time, request_time, response_time, resource_id, subscription_id, resource_group, account, location, operation,
    api_name, status, duration_ms, caller_ip, ip_prefix, ip_hidden_digits, correlation_id, object_id, streaming,
    deployment, model, model_version, request_bytes, response_bytes, prompt_tokens, completion_tokens, extra, blob,
    generation, blob_offset, date
  FROM single_records
  UNION ALL
  SELECT time, request_time, response_time, resource_id, subscription_id, resource_group, account, location, operation,
    api_name, status, duration_ms, caller_ip, ip_prefix, ip_hidden_digits, correlation_id, object_id, streaming,
    deployment, model, model_version, request_bytes, response_bytes, prompt_tokens, completion_tokens, extra, blob,
    generation, blob_offset, date
  FROM merged_calls
)
SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
  c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
  c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
  c.response_bytes, coalesce(c.prompt_tokens, u.prompt_tokens) AS prompt_tokens,
  coalesce(c.completion_tokens, u.generated_tokens) AS completion_tokens, c.extra, c.blob, c.generation,
  c.blob_offset, c.date
FROM once AS c
LEFT JOIN usage AS u ON u.resource_id = c.resource_id AND u.correlation_id = c.correlation_id
