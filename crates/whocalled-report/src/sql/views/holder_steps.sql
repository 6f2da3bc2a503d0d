-- name: holder_steps
-- row: A principal that may hold a key of an account, over a time in which its grants weigh the same.
-- columns:
--   step: a number; the lower, the likelier the holder before addresses are looked at
--   holder: a number for account and principal, which means nothing beyond one answer
--   account_number, principal_id: the account, as in `accounts`, and the holder
--   step_from, step_to: from when until when, half-open
--   granted_at: its last grant
--   grant_count: how many grants it had by then
--   recency, recency_score: how long ago the last one was, as evidence in `weights`, and what it adds
--   repetition, repeated_score: how often it obtained keys
--   deliberation, deliberate_score: whether keys were asked for
--   rotation, rotation_score: whether a key was regenerated since
--   base_score: the sum of these
--   base_weight: its exponential
-- how: A grant speaks until the next one of the same principal, or until both keys were regenerated. What
--   it says fades in steps, so that the holders at any time are found by comparing with the ends of steps.
WITH marked AS (
  SELECT account_id, principal_id, granted_at, valid_from, weak_from, valid_to,
    max(CASE WHEN deliberate THEN 2 WHEN NOT deliberate THEN 1 ELSE 0 END) AS deliberate,
    count(*) AS grant_count
  FROM grants
  GROUP BY account_id, principal_id, granted_at, valid_from, weak_from, valid_to
),
counted AS (
  SELECT account_id, principal_id, granted_at, valid_from, weak_from, valid_to, deliberate, grant_count,
    lead(valid_from) OVER holder AS next_at,
    lag(granted_at) OVER holder AS last_at,
    sum(grant_count) OVER (
      PARTITION BY account_id, principal_id ORDER BY granted_at RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW
    ) AS day_count
  FROM marked
  WINDOW holder AS (PARTITION BY account_id, principal_id ORDER BY granted_at)
),
segments AS (
  SELECT account_id, principal_id, granted_at, valid_from,
    -- What has no end ends in a hundred years, so that ends can be compared.
    least(coalesce(next_at, valid_from + INTERVAL '36500 days'), coalesce(valid_to, valid_from + INTERVAL '36500 days'))
      AS segment_to,
    coalesce(weak_from, valid_from + INTERVAL '36500 days') AS weak_from,
    max(deliberate) OVER so_far AS deliberate,
    max(day_count) OVER so_far AS day_count_max,
    sum(grant_count) OVER so_far AS grant_count,
    -- Grants of one day are one: a page may list keys several times.
    sum(CASE WHEN last_at IS NULL OR CAST(last_at AS DATE) < CAST(granted_at AS DATE) THEN 1 ELSE 0 END) OVER so_far
      AS day_number
  FROM counted
  WINDOW so_far AS (
    PARTITION BY account_id, principal_id ORDER BY granted_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  )
),
ages AS (
  SELECT name, age_from, age_to
  FROM (VALUES
    ('grant_last_hour', NULL, INTERVAL '1 hour'),
    ('grant_last_day', INTERVAL '1 hour', INTERVAL '24 hours'),
    ('grant_last_week', INTERVAL '24 hours', INTERVAL '168 hours'),
    ('grant_last_month', INTERVAL '168 hours', INTERVAL '720 hours'),
    ('grant_older', INTERVAL '720 hours', NULL)
  ) AS ages (name, age_from, age_to)
),
aged AS (
  SELECT s.account_id, s.principal_id, s.granted_at, s.weak_from, s.deliberate, s.day_count_max, s.grant_count,
    s.day_number, a.name AS recency, coalesce(s.granted_at + a.age_from, s.valid_from) AS aged_from,
    least(s.segment_to, coalesce(s.granted_at + a.age_to, s.segment_to)) AS aged_to
  FROM segments AS s
  CROSS JOIN ages AS a
  WHERE coalesce(s.granted_at + a.age_from, s.valid_from) < s.segment_to
),
steps AS (
  SELECT account_id, principal_id, granted_at, grant_count, deliberate, day_count_max, day_number, recency,
    'not_rotated' AS rotation, aged_from AS step_from, least(aged_to, weak_from) AS step_to
  FROM aged
  WHERE aged_from < weak_from
  UNION ALL
  SELECT account_id, principal_id, granted_at, grant_count, deliberate, day_count_max, day_number, recency,
    'rotated_once', greatest(aged_from, weak_from), aged_to
  FROM aged
  WHERE weak_from < aged_to
),
named AS (
  SELECT account_id, principal_id, step_from, step_to, granted_at, grant_count, recency, rotation,
    CASE
      WHEN day_count_max > 12 THEN 'grants_automated'
      WHEN day_number > 1 THEN 'grants_repeated'
      ELSE 'grants_once'
    END AS repetition,
    CASE deliberate WHEN 2 THEN 'grant_deliberate' WHEN 1 THEN 'grant_portal' ELSE 'grant_unknown_app' END AS deliberation
  FROM steps
),
scored AS (
  SELECT n.account_id, n.principal_id, n.step_from, n.step_to, n.granted_at, n.grant_count, n.recency,
    a.weight AS recency_score, n.repetition, b.weight AS repeated_score, n.deliberation, c.weight AS deliberate_score,
    n.rotation, d.weight AS rotation_score, a.weight + b.weight + c.weight + d.weight AS base_score
  FROM named AS n
  JOIN weights AS a ON a.name = n.recency
  JOIN weights AS b ON b.name = n.repetition
  JOIN weights AS c ON c.name = n.deliberation
  JOIN weights AS d ON d.name = n.rotation
)
SELECT CAST(row_number() OVER (
    ORDER BY round(s.base_score, 9) DESC, s.granted_at DESC, s.principal_id, a.account_number, s.step_from
  ) AS BIGINT) AS step,
  CAST(dense_rank() OVER (ORDER BY a.account_number, s.principal_id) AS BIGINT) AS holder,
  a.account_number, s.principal_id, s.step_from, s.step_to, s.granted_at, s.grant_count, s.recency, s.recency_score,
  s.repetition, s.repeated_score, s.deliberation, s.deliberate_score, s.rotation, s.rotation_score, s.base_score,
  exp(s.base_score) AS base_weight
FROM scored AS s
JOIN accounts AS a ON a.account_id = s.account_id
