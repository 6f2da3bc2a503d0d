-- name: slot_sums
-- row: A slot for which somebody could hold a key, and what all candidates weigh together.
-- columns:
--   slot: in `slots`
--   holder_count: how many holders there are
--   match_count: how many of them are weighed by themselves, in `weighed_holders`
--   candidates_score: what is taken off each holder's score for their number
--   absence, absence_score: what being unseen at the prefix adds to the score of the other holders, and its
--     name in `weights`
--   unseen, logs, others, unseen_score: what speaks for a caller whom no log names, by name and in all
--   first_step, first_score, second_step, second_score: the likeliest of those weighed by themselves
--   total_weight: the sum of the exponentials of all scores, by which probabilities are shares
-- how: Those that were seen at the prefix by their own scores, and the others, who are unseen there alike,
--   by what is left of the sum of all.
WITH ranked AS (
  SELECT slot, step, score, base_score,
    row_number() OVER (PARTITION BY slot ORDER BY round(score, 9) DESC, step) AS rank
  FROM weighed_holders
),
weighed AS (
  SELECT slot, count(*) AS match_count, sum(exp(score)) AS weight, sum(exp(base_score)) AS base_weight,
    max(CASE WHEN rank = 1 THEN step END) AS first_step, max(CASE WHEN rank = 1 THEN score END) AS first_score,
    max(CASE WHEN rank = 2 THEN step END) AS second_step, max(CASE WHEN rank = 2 THEN score END) AS second_score
  FROM ranked
  GROUP BY slot
),
known AS (
  SELECT DISTINCT ip_prefix, date FROM presence
),
-- Where else an account is called from on a day, and whether anybody was seen there who asked for a key: where
-- keys come from a vault, hardly any caller did.
called AS (
  SELECT DISTINCT s.account_number, s.place, CAST(s.slot_at AS DATE) AS date
  FROM slots AS s
  JOIN places AS p ON p.place = s.place
  WHERE p.ip_prefix <> ''
),
held AS (
  SELECT DISTINCT place, date FROM place_holders WHERE deliberate
),
days AS (
  SELECT c.account_number, c.date, count(*) AS place_count, count(h.place) AS held_count
  FROM called AS c
  LEFT JOIN held AS h ON h.place = c.place AND h.date = c.date
  GROUP BY c.account_number, c.date
),
surroundings AS (
  SELECT c.account_number, c.place, c.date, d.place_count - 1 AS other_count,
    d.held_count - CASE WHEN h.place IS NULL THEN 0 ELSE 1 END AS other_held_count
  FROM called AS c
  JOIN days AS d ON d.account_number = c.account_number AND d.date = c.date
  LEFT JOIN held AS h ON h.place = c.place AND h.date = c.date
),
named AS (
  SELECT s.slot, t.holder_count, t.holders_weight, coalesce(w.match_count, 0) AS match_count,
    coalesce(w.weight, 0.0) AS weight, coalesce(w.base_weight, 0.0) AS base_weight, w.first_step,
    w.first_score, w.second_step, w.second_score,
    CASE
      WHEN p.ip_prefix = '' THEN 'address_hidden'
      WHEN k.date IS NOT NULL THEN 'address_colleagues'
      ELSE 'address_elsewhere'
    END AS absence,
    CASE
      WHEN p.ip_prefix = '' THEN 'unseen_hidden'
      WHEN w.match_count IS NOT NULL THEN 'unseen_neighbour'
      WHEN k.date IS NOT NULL THEN 'unseen_colleague'
      ELSE 'unseen_address'
    END AS unseen,
    CASE
      WHEN g.first_time IS NULL OR s.slot_at < g.first_time + INTERVAL '1 day' THEN 'logs_first_day'
      WHEN s.slot_at < g.first_time + INTERVAL '7 days' THEN 'logs_first_week'
      ELSE 'logs_older'
    END AS logs,
    CASE
      WHEN coalesce(o.other_count, 0) < 4 THEN 'others_unclear'
      WHEN o.other_held_count >= 0.35 * o.other_count THEN 'others_known'
      WHEN o.other_held_count < 0.2 * o.other_count THEN 'others_unknown'
      ELSE 'others_unclear'
    END AS others
  FROM slots AS s
  JOIN places AS p ON p.place = s.place
  JOIN account_sums AS t ON t.account_number = s.account_number AND t.slot_at = s.slot_at
  LEFT JOIN weighed AS w ON w.slot = s.slot
  LEFT JOIN known AS k ON k.ip_prefix = p.ip_prefix AND k.date = CAST(s.slot_at AS DATE)
  LEFT JOIN surroundings AS o ON o.place = s.place AND o.date = CAST(s.slot_at AS DATE)
  LEFT JOIN log_spans AS g ON g.subscription_id = split_part(p.account_id, '/', 3)
),
scored AS (
  SELECT n.slot, n.holder_count, n.holders_weight, n.match_count, n.weight, n.base_weight, n.first_step, n.first_score, n.second_step,
    n.second_score, n.absence, a.weight AS absence_score, n.unseen, n.logs,
    n.others, p.weight + u.weight + g.weight + o.weight AS unseen_score, -(c.weight * ln(CAST(n.holder_count AS DOUBLE))) AS candidates_score
  FROM named AS n
  JOIN weights AS a ON a.name = n.absence
  JOIN weights AS u ON u.name = n.unseen
  JOIN weights AS g ON g.name = n.logs
  JOIN weights AS o ON o.name = n.others
  CROSS JOIN (SELECT weight FROM weights WHERE name = 'unseen_prior') AS p
  CROSS JOIN (SELECT weight FROM weights WHERE name = 'candidates') AS c
)
SELECT slot, holder_count, match_count, candidates_score, absence, absence_score, unseen, logs, others, unseen_score, first_step,
  first_score + candidates_score AS first_score, second_step, second_score + candidates_score AS second_score,
  -- What is left of a difference when all holders are weighed by themselves is rounding.
  exp(candidates_score) * (
    CASE WHEN match_count < holder_count THEN (holders_weight - base_weight) * exp(absence_score) ELSE 0.0 END + weight
  ) + exp(unseen_score) AS total_weight
FROM scored
