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
WITH summaries AS (
  SELECT account_id, ip_prefix, slot_at, max(candidate_count) AS candidate_count, max(address_match_count) AS match_count,
    max(CASE WHEN principal_id IS NULL THEN confidence END) AS unseen_confidence,
    max(CASE WHEN principal_rank = 1 THEN principal_id END) AS first_id,
    max(CASE WHEN principal_rank = 1 THEN confidence END) AS first_confidence,
    max(CASE WHEN principal_rank = 1 THEN address END) AS address,
    max(CASE WHEN principal_rank = 1 THEN entra END) AS entra,
    max(CASE WHEN principal_rank = 1 THEN deliberation END) AS deliberation,
    max(CASE WHEN principal_rank = 1 THEN rotation END) AS rotation,
    max(CASE WHEN principal_rank = 1 THEN date_part('epoch', slot_at) - date_part('epoch', granted_at) END)
      AS granted_seconds,
    max(CASE WHEN principal_rank = 2 THEN principal_id END) AS second_id,
    max(CASE WHEN principal_rank = 2 THEN confidence END) AS second_confidence
  FROM candidates
  GROUP BY account_id, ip_prefix, slot_at
),
worded AS (
  SELECT account_id, ip_prefix, slot_at, candidate_count, first_id, first_confidence, second_id, second_confidence,
    CASE
      WHEN unseen_confidence > 0.5 THEN 'unseen_caller'
      WHEN ip_prefix = '' AND first_confidence < 0.5 THEN 'address_hidden'
    END AS unattributed,
    CASE
      WHEN ip_prefix = '' THEN 'address_hidden'
      WHEN match_count = 0 THEN 'address_unseen'
      WHEN match_count > 1 THEN 'shared_address'
      ELSE 'key_not_logged'
    END AS doubt,
    concat(
      CASE address
        WHEN 'address_same_hour' THEN 'seen at this address prefix in the same hour; '
        WHEN 'address_same_day' THEN 'seen at this address prefix on the same day; '
        WHEN 'address_day_off' THEN 'seen at this address prefix a day before or after; '
        WHEN 'address_same_week' THEN 'seen at this address prefix within a week; '
        WHEN 'address_colleagues' THEN 'not seen at this address prefix, but others were; '
        WHEN 'address_elsewhere' THEN 'not seen at this address prefix; '
        ELSE 'no address logged; '
      END,
      CASE WHEN entra = 'entra_call' THEN 'calls with Entra from there; ' ELSE '' END,
      'obtained keys ',
      CASE
        WHEN granted_seconds < 3600 THEN 'within the hour before'
        WHEN granted_seconds < 172800 THEN concat(CAST(CAST(floor(granted_seconds / 3600) AS BIGINT) AS VARCHAR), ' h before')
        ELSE concat(CAST(CAST(floor(granted_seconds / 86400) AS BIGINT) AS VARCHAR), ' days before')
      END,
      CASE deliberation WHEN 'grant_portal' THEN ' by opening a portal page' WHEN 'grant_deliberate' THEN ' by asking for them' ELSE '' END,
      CASE rotation WHEN 'rotated_once' THEN '; one key regenerated since' ELSE '' END,
      '; ', CAST(candidate_count AS VARCHAR), CASE candidate_count WHEN 1 THEN ' candidate' ELSE ' candidates' END
    ) AS evidence
  FROM summaries
),
decided AS (
  SELECT c.time, c.request_time, c.response_time, c.resource_id, c.subscription_id, c.resource_group, c.account,
    c.location, c.operation, c.api_name, c.status, c.duration_ms, c.caller_ip, c.ip_prefix, c.ip_hidden_digits,
    c.correlation_id, c.object_id, c.streaming, c.deployment, c.model, c.model_version, c.request_bytes,
    c.response_bytes, c.prompt_tokens, c.completion_tokens, c.extra, c.blob, c.generation, c.blob_offset, c.date,
    CASE
      WHEN c.way = 'entra' THEN 'object_id'
      WHEN w.first_id IS NOT NULL AND w.unattributed IS NULL THEN 'key_holder'
      ELSE 'none'
    END AS tier,
    CASE
      WHEN c.way = 'entra' THEN c.object_id
      WHEN w.unattributed IS NULL THEN w.first_id
    END AS principal_id,
    CASE
      WHEN c.way = 'entra' THEN 1.0
      WHEN w.unattributed IS NULL THEN w.first_confidence
    END AS confidence,
    CASE WHEN c.way = 'entra' THEN 1 ELSE coalesce(w.candidate_count, 0) END AS candidates,
    CASE WHEN w.unattributed IS NULL THEN w.second_id ELSE w.first_id END AS runner_up_id,
    CASE WHEN w.unattributed IS NULL THEN w.second_confidence ELSE w.first_confidence END AS runner_up_confidence,
    CASE
      WHEN c.way = 'entra' THEN 'the record names the caller''s object id'
      WHEN w.unattributed IS NULL THEN w.evidence
    END AS evidence,
    CASE
      WHEN c.way = 'entra' THEN NULL
      WHEN c.way = 'unauthenticated' THEN 'unauthenticated'
      WHEN w.first_id IS NULL THEN 'no_grant_seen'
      ELSE coalesce(w.unattributed, w.doubt)
    END AS reason
  FROM call_slots AS c
  LEFT JOIN worded AS w ON c.way = 'key' AND w.account_id = c.resource_id AND w.ip_prefix = c.slot_prefix
    AND w.slot_at = c.slot_at
)
SELECT d.time, d.request_time, d.response_time, d.resource_id, d.subscription_id, d.resource_group, d.account,
  d.location, d.operation, d.api_name, d.status, d.duration_ms, d.caller_ip, d.ip_prefix, d.ip_hidden_digits,
  d.correlation_id, d.object_id, d.streaming, d.deployment, d.model, d.model_version, d.request_bytes,
  d.response_bytes, d.prompt_tokens, d.completion_tokens, d.extra, d.blob, d.generation, d.blob_offset, d.date,
  d.tier, d.principal_id, p.principal_name, p.principal_kind, d.confidence, d.candidates, d.runner_up_id,
  d.runner_up_confidence, d.evidence, d.reason
FROM decided AS d
LEFT JOIN principals AS p ON p.principal_id = d.principal_id
