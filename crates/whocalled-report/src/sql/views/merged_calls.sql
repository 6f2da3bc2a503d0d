-- name: merged_calls
-- row: One data-plane call of which there is more than one record, or whose record has no correlation id.
-- columns:
--   prompt_tokens, completion_tokens: from the records alone
-- how: All columns of `calls`. Records of one account with the same
--   correlation id are one call, and give it the values that they have between them. Records without a
--   correlation id are one call when account, request time, operation and address are the same; without a
--   request time as well, each is a call of its own.
SELECT min(time) AS time, min(request_time) AS request_time, max(response_time) AS response_time, resource_id,
  max(subscription_id) AS subscription_id, max(resource_group) AS resource_group, max(account) AS account,
  max(location) AS location, max(operation) AS operation, max(api_name) AS api_name, max(status) AS status,
  max(duration_ms) AS duration_ms, max(caller_ip) AS caller_ip, max(ip_prefix) AS ip_prefix,
  max(ip_hidden_digits) AS ip_hidden_digits, correlation_id, max(object_id) AS object_id,
  bool_or(streaming) AS streaming, max(deployment) AS deployment, max(model) AS model,
  max(model_version) AS model_version, max(request_bytes) AS request_bytes, max(response_bytes) AS response_bytes,
  max(prompt_tokens) AS prompt_tokens, max(completion_tokens) AS completion_tokens, max(extra) AS extra,
  first_value(blob ORDER BY request_time NULLS LAST, time, blob, blob_offset) AS blob,
  first_value(generation ORDER BY request_time NULLS LAST, time, blob, blob_offset) AS generation,
  first_value(blob_offset ORDER BY request_time NULLS LAST, time, blob, blob_offset) AS blob_offset,
  min(date) AS date
FROM repeated_records
GROUP BY resource_id, correlation_id,
  CASE
    WHEN correlation_id IS NOT NULL THEN ''
    WHEN request_time IS NULL THEN concat(blob, '@', CAST(blob_offset AS VARCHAR))
    ELSE concat(CAST(request_time AS VARCHAR), ' ', operation, ' ', caller_ip)
  END
