-- name: candidates
-- row: A candidate for the calls of a slot, weighed; the one without a principal is the caller whom
--   no log names.
-- columns:
--   account_id, ip_prefix, slot_at, slot: the slot, and its number in `slots`
--   principal_id: the candidate; NULL for the unseen caller
--   rank: its place among all, from 1
--   principal_rank: its place among the principals; NULL for the unseen caller
--   confidence: the probability that it made a call of this slot
--   score: the sum of the scores that follow
--   prefix_score, entra_score, recency_score, deliberate_score, rotation_score: what each kind of evidence adds
--   candidates_score: `-ln` of the number of holders
--   unseen_score: what speaks for the unseen caller
--   address, entra, recency, deliberation, rotation: the evidence by its name in `weights`; of the
--     unseen caller only `address`
--   granted_at: the principal's last grant that is still good
--   address_principal_count: how many principals were seen at the prefix about that day
--   address_match_count: how many holders were seen there
--   candidate_count: how many holders were weighed
-- how: A holder's score is its base score and what the address adds. A prefix at which several
--   principals were seen says less: `-ln` of their number is added. One at which only others than
--   holders were seen belongs to the organisation: that a holder is there, too, is no surprise. Listed are the holders seen at
--   the prefix and the five best others; the remaining ones are weighed in the probabilities, as not
--   seen at the prefix, and not listed.
WITH known AS (
  SELECT DISTINCT ip_prefix, date FROM presence
),
listed AS (
  SELECT s.slot, s.ip_prefix, s.slot_at, h.principal_id, p.days_off, p.entra_call, p.principal_count,
    h.granted_at, h.recency, h.recency_score, h.deliberation, h.deliberate_score, h.rotation, h.rotation_score,
    h.candidates_score, h.base_score, h.holder_count, h.holders_weight
  FROM slots AS s
  JOIN holder_scores AS h ON h.moment = s.moment
  LEFT JOIN presence AS p ON p.ip_prefix = s.ip_prefix AND p.date = CAST(s.slot_at AS DATE)
    AND p.principal_id = h.principal_id
  WHERE h.base_rank <= 5
  UNION ALL
  SELECT s.slot, s.ip_prefix, s.slot_at, h.principal_id, p.days_off, p.entra_call, p.principal_count,
    h.granted_at, h.recency, h.recency_score, h.deliberation, h.deliberate_score, h.rotation, h.rotation_score,
    h.candidates_score, h.base_score, h.holder_count, h.holders_weight
  FROM slots AS s
  JOIN presence AS p ON p.ip_prefix = s.ip_prefix AND p.date = CAST(s.slot_at AS DATE)
  JOIN holder_scores AS h ON h.moment = s.moment
    AND h.principal_id = p.principal_id
  WHERE h.base_rank > 5
),
named AS (
  SELECT l.slot, l.slot_at, l.principal_id, l.days_off, l.principal_count, l.granted_at, l.recency,
    l.recency_score, l.deliberation, l.deliberate_score, l.rotation, l.rotation_score, l.candidates_score,
    l.base_score, l.holder_count, l.holders_weight,
    CASE
      WHEN l.ip_prefix = '' THEN 'address_hidden'
      WHEN l.days_off IS NULL AND q.date IS NOT NULL THEN 'address_colleagues'
      WHEN l.days_off IS NULL THEN 'address_elsewhere'
      WHEN o.hour IS NOT NULL THEN 'address_same_hour'
      WHEN l.days_off = 0 THEN 'address_same_day'
      WHEN l.days_off = 1 THEN 'address_day_off'
      ELSE 'address_same_week'
    END AS address,
    CASE
      WHEN l.ip_prefix = '' THEN 'address_hidden'
      WHEN q.date IS NOT NULL THEN 'address_colleagues'
      ELSE 'address_elsewhere'
    END AS absence,
    CASE WHEN l.entra_call THEN 'entra_call' ELSE 'entra_none' END AS entra
  FROM listed AS l
  LEFT JOIN known AS q ON q.ip_prefix = l.ip_prefix AND q.date = CAST(l.slot_at AS DATE)
  LEFT JOIN observed_hours AS o ON o.principal_id = l.principal_id AND o.ip_prefix = l.ip_prefix
    AND o.hour = date_trunc('hour', l.slot_at)
),
scored AS (
  SELECT n.slot, n.slot_at, n.principal_id, n.principal_count, n.granted_at, n.recency,
    n.recency_score, n.deliberation, n.deliberate_score, n.rotation, n.rotation_score, n.candidates_score,
    n.base_score, n.holder_count, n.holders_weight, n.address, n.entra, e.weight AS entra_score,
    n.days_off IS NOT NULL AS at_prefix,
    a.weight - ln(CAST(coalesce(n.principal_count, 1) AS DOUBLE)) AS prefix_score,
    n.base_score + e.weight + a.weight - ln(CAST(coalesce(n.principal_count, 1) AS DOUBLE)) AS score,
    n.absence, absent.weight AS absence_score
  FROM named AS n
  JOIN weights AS a ON a.name = n.address
  JOIN weights AS e ON e.name = n.entra
  JOIN weights AS absent ON absent.name = n.absence
),
weighed AS (
  SELECT s.slot, s.slot_at, s.principal_id, s.principal_count, s.granted_at, s.recency,
    s.recency_score, s.deliberation, s.deliberate_score, s.rotation, s.rotation_score, s.candidates_score,
    s.holder_count, s.address, s.absence, s.entra, s.entra_score, s.prefix_score, s.score,
    -- All holders as if not seen at the prefix, and for those that were, the difference.
    s.holders_weight * exp(s.absence_score)
      + sum(exp(s.score) - exp(s.base_score + s.absence_score)) OVER slot AS principals_weight,
    sum(CASE WHEN s.at_prefix THEN 1 ELSE 0 END) OVER slot AS match_count,
    CAST(row_number() OVER (
      PARTITION BY s.slot
      ORDER BY round(s.score, 9) DESC, s.granted_at DESC, s.principal_id
    ) AS BIGINT) AS principal_rank
  FROM scored AS s
  WINDOW slot AS (PARTITION BY s.slot)
),
unseen AS (
  SELECT w.slot, w.slot_at, w.principal_id, w.principal_count, w.granted_at, w.recency,
    w.recency_score, w.deliberation, w.deliberate_score, w.rotation, w.rotation_score, w.candidates_score,
    w.holder_count, w.address, w.entra, w.entra_score, w.prefix_score, w.score, w.principals_weight, w.match_count,
    w.principal_rank,
    w.unseen, p.weight + coalesce(a.weight, 0.0) AS unseen_score
  FROM (
    SELECT slot, slot_at, principal_id, principal_count, granted_at, recency, recency_score,
      deliberation, deliberate_score, rotation, rotation_score, candidates_score, holder_count, address, entra,
      entra_score, prefix_score, score, principals_weight, match_count, principal_rank,
      CASE
        WHEN match_count > 0 THEN 'unseen_neighbour'
        WHEN absence = 'address_colleagues' THEN 'unseen_colleague'
        WHEN absence = 'address_elsewhere' THEN 'unseen_address'
      END AS unseen
    FROM weighed
  ) AS w
  JOIN weights AS p ON p.name = 'unseen_prior'
  LEFT JOIN weights AS a ON a.name = w.unseen
),
everyone AS (
  -- With each best principal the unseen caller.
  SELECT slot, CASE WHEN NOT k.is_unseen THEN principal_id END AS principal_id,
    CASE WHEN NOT k.is_unseen THEN principal_rank END AS principal_rank,
    CASE WHEN k.is_unseen THEN exp(unseen_score) ELSE exp(score) END / (principals_weight + exp(unseen_score))
      AS confidence,
    CASE WHEN k.is_unseen THEN unseen_score ELSE score END AS score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE prefix_score END AS prefix_score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE entra_score END AS entra_score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE recency_score END AS recency_score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE deliberate_score END AS deliberate_score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE rotation_score END AS rotation_score,
    CASE WHEN k.is_unseen THEN 0.0 ELSE candidates_score END AS candidates_score,
    CASE WHEN k.is_unseen THEN unseen_score ELSE 0.0 END AS unseen_score,
    CASE WHEN k.is_unseen THEN unseen ELSE address END AS address, CASE WHEN NOT k.is_unseen THEN entra END AS entra,
    CASE WHEN NOT k.is_unseen THEN recency END AS recency,
    CASE WHEN NOT k.is_unseen THEN deliberation END AS deliberation,
    CASE WHEN NOT k.is_unseen THEN rotation END AS rotation, CASE WHEN NOT k.is_unseen THEN granted_at END AS granted_at,
    CASE WHEN NOT k.is_unseen THEN principal_count END AS address_principal_count, match_count AS address_match_count,
    holder_count AS candidate_count
  FROM unseen
  JOIN (VALUES (false), (true)) AS k (is_unseen) ON NOT k.is_unseen OR principal_rank = 1
)
SELECT s.account_id, s.ip_prefix, s.slot_at, e.slot, e.principal_id,
  CAST(row_number() OVER (PARTITION BY e.slot ORDER BY round(e.confidence, 12) DESC, e.principal_rank NULLS LAST) AS BIGINT)
    AS rank,
  e.principal_rank, e.confidence, e.score, e.prefix_score, e.entra_score, e.recency_score, e.deliberate_score,
  e.rotation_score, e.candidates_score, e.unseen_score, e.address, e.entra, e.recency, e.deliberation, e.rotation,
  e.granted_at, e.address_principal_count, e.address_match_count, e.candidate_count
FROM everyone AS e
JOIN slots AS s ON s.slot = e.slot
