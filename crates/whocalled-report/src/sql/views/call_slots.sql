-- name: call_slots
-- row: A call, with how its caller is found and, where that is by weighing key holders, its slot.
-- columns:
--   way: `entra` where the record names an object id, `gateway` where a gateway's log names the caller,
--     `unauthenticated` where the service answered 401, else `key`
--   gateway_principal_id: the caller that a gateway's log names
--   slot, slot_at: its slot in `slots`, and when that begins; NULL unless `way` is `key`
-- how: All columns of `calls` come before these. A call lies in exactly one piece of its hour, found by
--   equality of account, address and hour; the time of the request counts, and where it is not
--   logged that of the record.
WITH found AS (
  SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
    c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
    c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
    c.response_bytes, c.prompt_tokens, c.completion_tokens, c.extra, c.blob, c.generation, c.blob_offset, c.date,
    CASE
      WHEN c.object_id IS NOT NULL THEN 'entra'
      WHEN g.principal_id IS NOT NULL THEN 'gateway'
      WHEN c.status = 401 THEN 'unauthenticated'
      ELSE 'key'
    END AS way,
    g.principal_id AS gateway_principal_id
  FROM calls AS c
  LEFT JOIN gateway_callers AS g ON g.correlation_id = c.correlation_id
)
SELECT f.time, f.request_time, f.response_time, f.resource_id, f.subscription_id, f.resource_group, f.account,
  f.location, f.operation, f.api_name, f.status, f.duration_ms, f.caller_ip, f.ip_prefix, f.ip_hidden_digits,
  f.correlation_id, f.object_id, f.streaming, f.deployment, f.model, f.model_version, f.request_bytes,
  f.response_bytes, f.prompt_tokens, f.completion_tokens, f.extra, f.blob, f.generation, f.blob_offset, f.date, f.way,
  f.gateway_principal_id, s.slot, s.slot_at
FROM found AS f
LEFT JOIN places AS p ON p.account_id = f.resource_id AND p.ip_prefix = CASE WHEN f.way = 'key' THEN coalesce(f.ip_prefix, '') END
LEFT JOIN slots AS s ON s.place = p.place AND s.hour = date_trunc('hour', coalesce(f.request_time, f.time))
  AND s.ip_hidden_digits = coalesce(f.ip_hidden_digits, 0)
  AND s.slot_at <= coalesce(f.request_time, f.time) AND coalesce(f.request_time, f.time) < s.slot_to
