-- name: leaders
-- row: One of the five likeliest holders of keys of an account at a time, before addresses are looked at.
-- columns:
--   account_number, slot_at: the account, and the time: the beginning of a slot
--   rank: its place, from 1
--   step, base_score: as in `holder_steps`
-- how: Steps are numbered by their scores. Of a day, only those can be among the five best at any time that
--   are no worse than the fifth of those that last all day: so few are left to be looked at.
WITH moments AS (
  SELECT DISTINCT account_number, slot_at, CAST(slot_at AS DATE) AS date FROM slots
),
days AS (
  SELECT DISTINCT account_number, date FROM moments
),
whole AS (
  SELECT d.account_number, d.date, h.step,
    row_number() OVER (PARTITION BY d.account_number, d.date ORDER BY h.step) AS place
  FROM days AS d
  JOIN holder_steps AS h ON h.account_number = d.account_number AND h.step_from <= CAST(d.date AS TIMESTAMP)
    AND h.step_to >= CAST(d.date AS TIMESTAMP) + INTERVAL '1 day'
),
near AS (
  SELECT d.account_number, d.date, h.step, h.step_from, h.step_to, h.base_score
  FROM days AS d
  LEFT JOIN whole AS w ON w.account_number = d.account_number AND w.date = d.date AND w.place = 5
  JOIN holder_steps AS h ON h.account_number = d.account_number
    AND h.step_from < CAST(d.date AS TIMESTAMP) + INTERVAL '1 day' AND h.step_to > CAST(d.date AS TIMESTAMP)
    AND (w.step IS NULL OR h.step <= w.step)
),
ranked AS (
  SELECT m.account_number, m.slot_at, n.step, n.base_score,
    CAST(row_number() OVER (PARTITION BY m.account_number, m.slot_at ORDER BY n.step) AS BIGINT) AS rank
  FROM moments AS m
  JOIN near AS n ON n.account_number = m.account_number AND n.date = m.date AND n.step_from <= m.slot_at
    AND m.slot_at < n.step_to
)
SELECT account_number, slot_at, rank, step, base_score
FROM ranked
WHERE rank <= 5
