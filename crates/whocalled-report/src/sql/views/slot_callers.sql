-- name: slot_callers
-- row: A slot, and the likeliest callers of the calls in it.
-- columns:
--   account_id, ip_prefix, hour, slot_at, slot_to: the slot
--   candidate_count: how many principals were weighed
--   first_id, first_confidence: the likeliest, and the probability that it made a call of this slot
--   second_id, second_confidence: the next likeliest
--   unattributed: why nobody is named, as the `reason` of `attributed_calls`; NULL where the first is
--   doubt: why the first is not certain
--   evidence: what speaks for the first, in words
-- how: Of `candidates`.
WITH summaries AS (
  SELECT slot, max(candidate_count) AS candidate_count, max(address_match_count) AS match_count,
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
  GROUP BY slot
)
SELECT s.account_id, s.ip_prefix, s.hour, s.slot_at, s.slot_to, candidate_count, first_id, first_confidence, second_id, second_confidence,
  CASE
    WHEN unseen_confidence > 0.5 THEN 'unseen_caller'
    WHEN s.ip_prefix = '' AND first_confidence < 0.5 THEN 'address_hidden'
  END AS unattributed,
  CASE
    WHEN s.ip_prefix = '' THEN 'address_hidden'
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
FROM summaries AS u
JOIN slots AS s ON s.slot = u.slot
