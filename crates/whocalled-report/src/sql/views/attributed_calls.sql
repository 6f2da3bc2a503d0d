-- name: attributed_calls
-- row: One data-plane call, and who made it.
-- columns:
--   tier: `object_id` (the record names the caller), `gateway` (a gateway's log does), `key_holder` (the
--     likeliest of those who could hold a key) or `none`
--   principal_id, principal_name, principal_kind: who; NULL where the tier is `none`
--   confidence: the probability that this principal made the call: 1 for `object_id` and `gateway`, below 1
--     for `key_holder`
--   candidates: how many principals were weighed
--   runner_up_id, runner_up_confidence: the next likeliest principal; the likeliest where the tier is `none`
--   evidence: what speaks for the principal, in words
--   reason: why nothing better can be said; NULL where exact
-- how: All columns of `calls` come before these. Reasons of the tier `none`: `unauthenticated` (the
--   service answered 401), `no_grant_seen` (no log shows anybody obtaining a key that could still be
--   valid), `unseen_caller` (a caller whom no log names has more than half of the probability),
--   `address_hidden` (no address is logged, and without one no holder has half of it), `undecided` (an unseen
--   caller is likelier than any one holder, if not than all). Reasons of `key_holder`: `address_hidden`,
--   `address_unseen` (no holder was seen at this address prefix), `shared_address` (several were),
--   `key_not_logged` (one was: only the key itself would prove more). A call that was refused in another way
--   than 401, such as 403 or 429, or that failed, got past authentication: its key was valid.
WITH decided AS (
  SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
    c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
    c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
    c.response_bytes, c.prompt_tokens, c.completion_tokens, c.extra, c.blob, c.generation, c.blob_offset, c.date,
    w.tier AS holder_tier, w.principal_id AS holder_id, w.confidence AS holder_confidence, w.candidates AS holder_count,
    w.runner_up_id, w.runner_up_confidence, w.evidence AS holder_evidence, w.reason AS holder_reason,
    g.principal_id AS gateway_id
  FROM calls AS c
  LEFT JOIN gateway_callers AS g ON g.correlation_id = c.correlation_id
  LEFT JOIN slot_callers AS w ON w.account_id = c.resource_id
    AND w.hour = date_trunc('hour', coalesce(c.request_time, c.time))
    AND w.ip_prefix = CASE
      WHEN c.object_id IS NULL AND g.principal_id IS NULL AND c.status IS DISTINCT FROM 401 THEN coalesce(c.ip_prefix, '')
    END
    AND w.ip_hidden_digits = coalesce(c.ip_hidden_digits, 0)
    AND w.slot_at <= coalesce(c.request_time, c.time) AND coalesce(c.request_time, c.time) < w.slot_to
),
named AS (
  SELECT d.time, d.request_time, d.response_time, d.resource_id, d.subscription_id, d.resource_group, d.account,
    d.location, d.operation, d.api_name, d.status, d.duration_ms, d.caller_ip, d.ip_prefix, d.ip_hidden_digits,
    d.correlation_id, d.object_id, d.streaming, d.deployment, d.model, d.model_version, d.request_bytes,
    d.response_bytes, d.prompt_tokens, d.completion_tokens, d.extra, d.blob, d.generation, d.blob_offset, d.date,
    CASE
      WHEN d.object_id IS NOT NULL THEN 'object_id'
      WHEN d.gateway_id IS NOT NULL THEN 'gateway'
      ELSE coalesce(d.holder_tier, 'none')
    END AS tier,
    coalesce(d.object_id, d.gateway_id, d.holder_id) AS principal_id,
    CASE WHEN d.object_id IS NOT NULL OR d.gateway_id IS NOT NULL THEN 1.0 ELSE d.holder_confidence END AS confidence,
    CASE
      WHEN d.object_id IS NOT NULL OR d.gateway_id IS NOT NULL THEN 1
      ELSE coalesce(d.holder_count, 0)
    END AS candidates,
    d.runner_up_id, d.runner_up_confidence,
    CASE
      WHEN d.object_id IS NOT NULL AND d.gateway_id <> d.object_id
        THEN concat('the record names the caller''s object id, a gateway that called for ', d.gateway_id)
      WHEN d.object_id IS NOT NULL THEN 'the record names the caller''s object id'
      WHEN d.gateway_id IS NOT NULL THEN 'a gateway''s log has this call, and names the caller'
      WHEN d.holder_id IS NOT NULL AND (d.status IN (403, 429) OR d.status >= 500)
        THEN concat(d.holder_evidence, '; answered ', CAST(d.status AS VARCHAR), ', so the key was accepted')
      ELSE d.holder_evidence
    END AS evidence,
    CASE
      WHEN d.object_id IS NOT NULL OR d.gateway_id IS NOT NULL THEN NULL
      WHEN d.status = 401 THEN 'unauthenticated'
      ELSE coalesce(d.holder_reason, 'no_grant_seen')
    END AS reason
  FROM decided AS d
)
SELECT n.time, n.request_time, n.response_time, n.resource_id, n.subscription_id, n.resource_group, n.account,
  n.location, n.operation, n.api_name, n.status, n.duration_ms, n.caller_ip, n.ip_prefix, n.ip_hidden_digits,
  n.correlation_id, n.object_id, n.streaming, n.deployment, n.model, n.model_version, n.request_bytes,
  n.response_bytes, n.prompt_tokens, n.completion_tokens, n.extra, n.blob, n.generation, n.blob_offset, n.date,
  n.tier, n.principal_id, p.principal_name, p.principal_kind, n.confidence, n.candidates, n.runner_up_id,
  n.runner_up_confidence, n.evidence, n.reason
FROM named AS n
LEFT JOIN principals AS p ON p.principal_id = n.principal_id
