-- name: attribution
-- row: A call and one candidate for having made it; the one without a principal is the caller whom no
--   log names.
-- columns:
--   correlation_id, time, resource_id, account, date: the call
--   principal_id: the candidate; NULL for the unseen caller
--   rank: its place, from 1
--   confidence: the probability that it made the call
--   score: the sum of the scores that follow; NULL where a log names the caller
--   prefix_score: seen at the caller's address prefix, and when, or elsewhere
--   rarity_score: how many principals were seen there
--   digits_score: whether the masked octet has as many digits as where it was seen
--   entra_score: Entra calls of its own from there
--   hours_score: whether it usually is active at that time of day
--   deployment_score: whether its own calls are to the same deployment
--   habit_score: whether it called the account by key from an address of its own about that day
--   recency_score: how long ago it obtained keys
--   repeated_score: how often it did
--   deliberate_score: whether it asked for them
--   rotation_score: whether a key was regenerated since
--   candidates_score: how many there are
--   unseen_score: what speaks for the unseen caller
--   address, rarity, digits, entra, hours, usage, habit, recency, repetition, deliberation, rotation, logs, others: the
--     evidence by its name in `weights`
--   granted_at, grant_count: when it last obtained keys, and how often by then
--   address_principal_count, candidate_count: how many principals were seen at the prefix, and how
--     many could hold a key
--   slot: the call's slot in `slots`; NULL where a log names the caller
--   blob, generation, blob_offset: where a record of the call is
-- how: Calls with a slot have the candidates of their slot. Calls without any candidate have no row.
SELECT c.correlation_id, c.time, c.resource_id, c.account, k.principal_id, k.rank, k.confidence, k.score,
  k.prefix_score, k.rarity_score, k.digits_score, k.entra_score, k.hours_score, k.deployment_score, k.habit_score, k.recency_score, k.repeated_score,
  k.deliberate_score, k.rotation_score, k.candidates_score, k.unseen_score, k.address, k.rarity, k.digits, k.entra, k.hours,
  k.usage, k.habit, k.recency, k.repetition, k.deliberation, k.rotation, k.logs, k.others, k.granted_at, k.grant_count,
  k.address_principal_count, k.candidate_count, c.slot, c.blob, c.generation, c.blob_offset, c.date
FROM call_slots AS c
JOIN candidates AS k ON k.slot = c.slot
UNION ALL
SELECT correlation_id, time, resource_id, account, coalesce(object_id, gateway_principal_id), 1, 1.0, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, blob, generation, blob_offset, date
FROM call_slots
WHERE way IN ('entra', 'gateway')
