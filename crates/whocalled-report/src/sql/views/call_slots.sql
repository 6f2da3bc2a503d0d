-- name: call_slots
-- row: A call, with how it was authenticated and, where that was by a key, the slot whose candidates are its own.
-- columns:
--   way: `entra` where the record names an object id, `unauthenticated` where the service answered
--     401, else `key`
--   slot_prefix, slot_at: with `resource_id` the key of its slot
-- how: All columns of `calls` come before these. A call lies in exactly one piece of its hour, found by
--   equality of account and hour; the time of the request counts, and where it is not logged that of
--   the record.
SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
  c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
  c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
  c.response_bytes, c.prompt_tokens, c.completion_tokens, c.extra, c.blob, c.generation, c.blob_offset, c.date,
  CASE WHEN c.object_id IS NOT NULL THEN 'entra' WHEN c.status = 401 THEN 'unauthenticated' ELSE 'key' END AS way,
  coalesce(c.ip_prefix, '') AS slot_prefix,
  coalesce(p.piece_from, date_trunc('hour', coalesce(c.request_time, c.time))) AS slot_at
FROM calls AS c
LEFT JOIN pieces AS p ON p.account_id = c.resource_id
  AND p.hour = date_trunc('hour', coalesce(c.request_time, c.time))
  AND p.piece_from <= coalesce(c.request_time, c.time) AND coalesce(c.request_time, c.time) < p.piece_to
