-- name: single_records
-- row: A RequestResponse record that is a call by itself.
-- columns:
--   correlation_id: an id that no other record has
-- how: All columns of `request_response`. Every record is either here or in `repeated_records`.
SELECT time, request_time, response_time, resource_id, subscription_id, resource_group, account, location, operation,
  api_name, status, duration_ms, caller_ip, ip_prefix, ip_hidden_digits, correlation_id, object_id, streaming,
  deployment, model, model_version, request_bytes, response_bytes, prompt_tokens, completion_tokens, extra, blob,
  generation, blob_offset, date
FROM request_response
WHERE correlation_id IN (
  SELECT correlation_id FROM request_response WHERE correlation_id IS NOT NULL GROUP BY correlation_id HAVING count(*) = 1
)
