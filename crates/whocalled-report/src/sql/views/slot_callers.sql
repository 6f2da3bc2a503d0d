-- name: slot_callers
-- row: A slot, and the likeliest callers of the calls in it.
-- columns:
--   account_id, ip_prefix: the place, as in `places`
--   ip_hidden_digits, hour, slot_at, slot_to: the slot, as in `slots`
--   tier: `key_holder`, or `none` where nobody can be named
--   principal_id, confidence: the likeliest, and the probability that it made a call of this slot; NULL where
--     nobody can be named
--   candidates: how many principals were weighed
--   runner_up_id, runner_up_confidence: the next likeliest; the likeliest where nobody can be named
--   evidence: what speaks for the principal, in words
--   reason: why nobody can be named, or why the principal is not certain, as in `attributed_calls`
-- how: The same as the first two principals of `candidates`, from sums instead of lists.
WITH chiefs AS (
  SELECT account_number, slot_at, max(CASE WHEN rank = 1 THEN step END) AS step_1,
    max(CASE WHEN rank = 1 THEN base_score END) AS base_1, max(CASE WHEN rank = 2 THEN step END) AS step_2,
    max(CASE WHEN rank = 2 THEN base_score END) AS base_2, max(CASE WHEN rank = 3 THEN step END) AS step_3,
    max(CASE WHEN rank = 3 THEN base_score END) AS base_3
  FROM leaders
  GROUP BY account_number, slot_at
),
others AS (
  -- The two likeliest of those that are not weighed by themselves.
  SELECT t.slot, t.first_step, t.first_score, t.second_step, t.second_score, t.match_count, t.total_weight,
    t.absence_score + t.candidates_score AS absence_score,
    CASE
      WHEN c.step_1 <> coalesce(t.first_step, 0) AND c.step_1 <> coalesce(t.second_step, 0) THEN 1
      WHEN c.step_2 <> coalesce(t.first_step, 0) AND c.step_2 <> coalesce(t.second_step, 0) THEN 2
      ELSE 3
    END AS other,
    CASE
      WHEN c.step_1 IN (t.first_step, t.second_step) OR c.step_2 IN (t.first_step, t.second_step) THEN 3
      ELSE 2
    END AS next_other,
    c.step_1, c.base_1, c.step_2, c.base_2, c.step_3, c.base_3
  FROM slots AS s
  JOIN slot_sums AS t ON t.slot = s.slot
  JOIN chiefs AS c ON c.account_number = s.account_number AND c.slot_at = s.slot_at
),
contenders AS (
  SELECT slot, first_step, first_score, second_step, second_score, total_weight,
    CASE other WHEN 1 THEN step_1 WHEN 2 THEN step_2 ELSE step_3 END AS other_step,
    CASE other WHEN 1 THEN base_1 WHEN 2 THEN base_2 ELSE base_3 END + absence_score AS other_score,
    CASE next_other WHEN 2 THEN step_2 ELSE step_3 END AS next_step,
    CASE next_other WHEN 2 THEN base_2 ELSE base_3 END + absence_score AS next_score
  FROM others
),
decided AS (
  SELECT slot, total_weight,
    CASE WHEN coalesce(other_score > first_score, first_step IS NULL) THEN other_step ELSE first_step END AS step,
    CASE WHEN coalesce(other_score > first_score, first_step IS NULL) THEN other_score ELSE first_score END AS score,
    CASE
      WHEN coalesce(other_score > first_score, first_step IS NULL)
        THEN CASE WHEN coalesce(next_score > first_score, first_step IS NULL) THEN next_step ELSE first_step END
      WHEN coalesce(other_score > second_score, second_step IS NULL) THEN other_step
      ELSE second_step
    END AS runner_up_step,
    CASE
      WHEN coalesce(other_score > first_score, first_step IS NULL)
        THEN CASE WHEN coalesce(next_score > first_score, first_step IS NULL) THEN next_score ELSE first_score END
      WHEN coalesce(other_score > second_score, second_step IS NULL) THEN other_score
      ELSE second_score
    END AS runner_up_score
  FROM contenders
),
summaries AS (
  SELECT d.slot, h.principal_id AS first_id, exp(d.score) / d.total_weight AS first_confidence,
    r.principal_id AS second_id, exp(d.runner_up_score) / d.total_weight AS second_confidence, t.holder_count AS candidate_count,
    t.match_count, exp(t.unseen_score) / d.total_weight AS unseen_confidence,
    coalesce(w.address, t.absence) AS address, w.digits, w.entra, w.hours, w.usage, h.deliberation, h.repetition,
    h.rotation, h.granted_at
  FROM decided AS d
  JOIN slot_sums AS t ON t.slot = d.slot
  JOIN holder_steps AS h ON h.step = d.step
  LEFT JOIN holder_steps AS r ON r.step = d.runner_up_step
  LEFT JOIN weighed_holders AS w ON w.slot = d.slot AND w.step = d.step
),
told AS (
  SELECT p.account_id, p.ip_prefix, s.ip_hidden_digits, s.hour, s.slot_at, s.slot_to, u.candidate_count,
    u.first_id, u.first_confidence, u.second_id, u.second_confidence,
    CASE
      WHEN u.unseen_confidence > 0.5 THEN 'unseen_caller'
      WHEN p.ip_prefix = '' AND u.first_confidence < 0.5 THEN 'address_hidden'
      WHEN u.unseen_confidence > u.first_confidence THEN 'undecided'
    END AS unattributed,
    CASE
      WHEN p.ip_prefix = '' THEN 'address_hidden'
      WHEN u.match_count = 0 THEN 'address_unseen'
      WHEN u.match_count > 1 THEN 'shared_address'
      ELSE 'key_not_logged'
    END AS doubt,
    concat(
      CASE u.address
        WHEN 'address_same_hour' THEN 'seen at this address prefix in the same hour; '
        WHEN 'address_same_day' THEN 'seen at this address prefix on the same day; '
        WHEN 'address_day_off' THEN 'seen at this address prefix a day before or after; '
        WHEN 'address_same_week' THEN 'seen at this address prefix within a week; '
        WHEN 'address_same_month' THEN 'seen at this address prefix within a month; '
        WHEN 'address_colleagues' THEN 'not seen at this address prefix, but others were; '
        WHEN 'address_elsewhere' THEN 'not seen at this address prefix; '
        ELSE 'no address logged; '
      END,
      CASE u.digits WHEN 'digits_differ' THEN 'at another address of it; ' ELSE '' END,
      CASE u.entra WHEN 'entra_call' THEN 'calls with Entra from there; ' ELSE '' END,
      CASE u.usage
        WHEN 'deployment_usual' THEN 'calls deployments that are called from there with Entra; '
        WHEN 'deployment_other' THEN 'calls other deployments with Entra; '
        ELSE ''
      END,
      CASE u.hours WHEN 'hours_unusual' THEN 'not active at this time of day otherwise; ' ELSE '' END,
      'obtained keys ',
      CASE
        WHEN date_part('epoch', s.slot_at) - date_part('epoch', u.granted_at) < 3600 THEN 'within the hour before'
        WHEN date_part('epoch', s.slot_at) - date_part('epoch', u.granted_at) < 172800
          THEN concat(CAST(CAST(floor((date_part('epoch', s.slot_at) - date_part('epoch', u.granted_at)) / 3600) AS BIGINT) AS VARCHAR), ' h before')
        ELSE concat(CAST(CAST(floor((date_part('epoch', s.slot_at) - date_part('epoch', u.granted_at)) / 86400) AS BIGINT) AS VARCHAR), ' days before')
      END,
      CASE u.deliberation
        WHEN 'grant_portal' THEN ' by opening a portal page'
        WHEN 'grant_deliberate' THEN ' by asking for them'
        ELSE ''
      END,
      CASE u.repetition
        WHEN 'grants_automated' THEN ', as it does many times a day'
        WHEN 'grants_repeated' THEN ', not for the first time'
        ELSE ''
      END,
      CASE u.rotation WHEN 'rotated_once' THEN '; one key regenerated since' ELSE '' END,
      '; ', CAST(u.candidate_count AS VARCHAR), CASE u.candidate_count WHEN 1 THEN ' candidate' ELSE ' candidates' END
    ) AS evidence
  FROM summaries AS u
  JOIN slots AS s ON s.slot = u.slot
  JOIN places AS p ON p.place = s.place
)
SELECT account_id, ip_prefix, ip_hidden_digits, hour, slot_at, slot_to,
  CASE WHEN unattributed IS NULL THEN 'key_holder' ELSE 'none' END AS tier,
  CASE WHEN unattributed IS NULL THEN first_id END AS principal_id,
  CASE WHEN unattributed IS NULL THEN first_confidence END AS confidence,
  candidate_count AS candidates,
  CASE WHEN unattributed IS NULL THEN second_id ELSE first_id END AS runner_up_id,
  CASE WHEN unattributed IS NULL THEN second_confidence ELSE first_confidence END AS runner_up_confidence,
  CASE WHEN unattributed IS NULL THEN evidence END AS evidence,
  coalesce(unattributed, doubt) AS reason
FROM told
