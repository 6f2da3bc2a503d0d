-- name: candidates
-- row: A candidate for the calls of a slot, weighed; the one without a principal is the caller whom
--   no log names.
-- columns:
--   slot: in `slots`
--   principal_id: the candidate; NULL for the unseen caller
--   rank: its place among all, from 1
--   confidence: the probability that it made a call of this slot
--   score: the sum of the scores that follow
--   prefix_score, rarity_score, digits_score, entra_score, hours_score, deployment_score, habit_score: what
--     each kind of evidence of a place adds
--   recency_score, repeated_score, deliberate_score, rotation_score: what each kind of evidence of grants adds
--   candidates_score: what the number of holders takes off
--   unseen_score: what speaks for the unseen caller
--   address, rarity, digits, entra, hours, usage, habit, recency, repetition, deliberation, rotation: the evidence by
--     its name in `weights`; of the unseen caller only `address`, `logs` and `others`
--   logs: how long the Activity Log reaches back, by its name in `weights`
--   others: whether holders were seen where else the account is called from by key, by its name in `weights`
--   granted_at, grant_count: the principal's last grant, and how many it had by then
--   address_principal_count: how many principals were seen at the prefix about that day
--   candidate_count: how many holders were weighed
-- how: Listed are the holders that are weighed by themselves and the five best others; the remaining ones
--   are in the probabilities, and not listed.
WITH listed AS (
  SELECT w.slot, w.step, w.address, w.prefix_score, w.rarity, w.rarity_score, w.digits, w.digits_score, w.entra, w.entra_score, w.hours,
    w.hours_score, w.usage, w.deployment_score, w.habit, w.habit_score, w.score, w.address_principal_count
  FROM weighed_holders AS w
  UNION ALL
  SELECT s.slot, l.step, t.absence, t.absence_score, 'prefix_alone', 0.0, 'digits_unknown', 0.0, 'entra_none', 0.0, 'hours_unknown', 0.0,
    'deployment_unknown', 0.0, 'habit_unknown', 0.0, l.base_score + t.absence_score, 0
  FROM slots AS s
  JOIN slot_sums AS t ON t.slot = s.slot
  JOIN leaders AS l ON l.account_number = s.account_number AND l.slot_at = s.slot_at
  LEFT JOIN weighed_holders AS w ON w.slot = s.slot AND w.step = l.step
  WHERE w.step IS NULL
),
everyone AS (
  SELECT l.slot, h.principal_id, l.score + t.candidates_score AS score, l.prefix_score, l.rarity_score, l.digits_score, l.entra_score,
    l.hours_score, l.deployment_score, l.habit_score, h.recency_score, h.repeated_score, h.deliberate_score, h.rotation_score,
    t.candidates_score, 0.0 AS unseen_score, l.address, l.rarity, l.digits, l.entra, l.hours, l.usage, l.habit, h.recency, h.repetition,
    h.deliberation, h.rotation, NULL AS logs, NULL AS others, h.granted_at, h.grant_count, l.address_principal_count,
    t.holder_count AS candidate_count, t.total_weight, l.step
  FROM listed AS l
  JOIN slot_sums AS t ON t.slot = l.slot
  JOIN holder_steps AS h ON h.step = l.step
  UNION ALL
  SELECT slot, NULL, unseen_score AS score, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, unseen_score, unseen, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, logs, others, NULL, NULL, NULL, holder_count, total_weight, NULL
  FROM slot_sums
)
SELECT slot, principal_id,
  CAST(row_number() OVER (PARTITION BY slot ORDER BY round(score, 9) DESC, step NULLS LAST) AS BIGINT) AS rank,
  exp(score) / total_weight AS confidence, score, prefix_score, rarity_score, digits_score, entra_score, hours_score,
  deployment_score, habit_score, recency_score, repeated_score, deliberate_score, rotation_score, candidates_score, unseen_score,
  address, rarity, digits, entra, hours, usage, habit, recency, repetition, deliberation, rotation, logs, others, granted_at, grant_count,
  address_principal_count, candidate_count
FROM everyone
