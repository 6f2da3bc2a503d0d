-- name: attributed_calls
-- row: One data-plane call, and who made it.
-- columns:
--   tier: `object_id` (the record names the caller), `key_holder` (the likeliest of those who could
--     hold a key) or `none`
--   principal_id, principal_name, principal_kind: who; NULL where the tier is `none`
--   confidence: the probability that this principal made the call: 1 for `object_id`, below 1 for `key_holder`
--   candidates: how many principals were weighed
--   runner_up_id, runner_up_confidence: the next likeliest principal; the likeliest where the tier is `none`
--   evidence: what speaks for the principal, in words
--   reason: why nothing better can be said; NULL where exact
-- how: All columns of `calls` come before these. Reasons of the tier `none`: `unauthenticated` (the
--   service answered 401), `no_grant_seen` (no log shows anybody obtaining a key that could still be
--   valid), `unseen_caller` (a caller whom no log names has more than half of the probability),
--   `address_hidden` (no address is logged, and without one no holder has half of the probability).
--   Reasons of `key_holder`: `address_hidden`, `address_unseen` (no holder was seen at this address
--   prefix), `shared_address` (several were), `key_not_logged` (one was: only the key itself would
--   prove more). A tier for callers named by a gateway's log is foreseen between the two: API
--   Management logs no Entra principal today.
WITH decided AS (
  SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
    c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
    c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
    c.response_bytes, c.prompt_tokens, c.completion_tokens, c.extra, c.blob, c.generation, c.blob_offset, c.date,
    CASE
      WHEN c.object_id IS NOT NULL THEN 'object_id'
      WHEN w.first_id IS NOT NULL AND w.unattributed IS NULL THEN 'key_holder'
      ELSE 'none'
    END AS tier,
    CASE
      WHEN c.object_id IS NOT NULL THEN c.object_id
      WHEN w.unattributed IS NULL THEN w.first_id
    END AS principal_id,
    CASE
      WHEN c.object_id IS NOT NULL THEN 1.0
      WHEN w.unattributed IS NULL THEN w.first_confidence
    END AS confidence,
    CASE WHEN c.object_id IS NOT NULL THEN 1 ELSE coalesce(w.candidate_count, 0) END AS candidates,
    CASE WHEN w.unattributed IS NULL THEN w.second_id ELSE w.first_id END AS runner_up_id,
    CASE WHEN w.unattributed IS NULL THEN w.second_confidence ELSE w.first_confidence END AS runner_up_confidence,
    CASE
      WHEN c.object_id IS NOT NULL THEN 'the record names the caller''s object id'
      WHEN w.unattributed IS NULL THEN w.evidence
    END AS evidence,
    CASE
      WHEN c.object_id IS NOT NULL THEN NULL
      WHEN c.status = 401 THEN 'unauthenticated'
      WHEN w.first_id IS NULL THEN 'no_grant_seen'
      ELSE coalesce(w.unattributed, w.doubt)
    END AS reason
  FROM calls AS c
  LEFT JOIN slot_callers AS w ON w.account_id = c.resource_id
    AND w.hour = date_trunc('hour', coalesce(c.request_time, c.time))
    AND w.ip_prefix = CASE WHEN c.object_id IS NULL AND c.status IS DISTINCT FROM 401 THEN coalesce(c.ip_prefix, '') END
    AND w.slot_at <= coalesce(c.request_time, c.time) AND coalesce(c.request_time, c.time) < w.slot_to
)
SELECT d.time, d.request_time, d.response_time, d.resource_id, d.subscription_id, d.resource_group, d.account,
  d.location, d.operation, d.api_name, d.status, d.duration_ms, d.caller_ip, d.ip_prefix, d.ip_hidden_digits,
  d.correlation_id, d.object_id, d.streaming, d.deployment, d.model, d.model_version, d.request_bytes,
  d.response_bytes, d.prompt_tokens, d.completion_tokens, d.extra, d.blob, d.generation, d.blob_offset, d.date,
  d.tier, d.principal_id, p.principal_name, p.principal_kind, d.confidence, d.candidates, d.runner_up_id,
  d.runner_up_confidence, d.evidence, d.reason
FROM decided AS d
LEFT JOIN principals AS p ON p.principal_id = d.principal_id
