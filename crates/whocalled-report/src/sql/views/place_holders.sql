-- name: place_holders
-- row: A holder of an account's keys that was seen at an address prefix from which the account is called, on
--   or near a day.
-- columns:
--   place, date: the place, as in `places`, and the day
--   holder, principal_id: who, as in `holder_steps`
--   deliberate: whether it had asked for keys by then, rather than listed them by a portal page
--   spot: as in `observed_hours`
--   address: when it was seen there, as evidence in `weights`, the hour apart
--   rarity, rarity_score: how many principals were seen there about that day, and what that adds
--   entra, entra_score: whether it makes Entra calls of its own from there
--   usage, deployment_score: whether its own calls are to a deployment that is called from there by key
--   habit, habit_score: whether it called the account by key from an address of its own about that day
--   has_1_digit, has_2_digits, has_3_digits: as in `presence`
--   principal_count: how many principals were seen there
-- how: Found once a day for all slots of a place.
WITH days AS (
  SELECT DISTINCT place, account_number, CAST(slot_at AS DATE) AS date FROM slots
),
holders AS (
  SELECT holder, account_number, principal_id,
    min(CASE WHEN deliberation = 'grant_deliberate' THEN step_from END) AS deliberate_from
  FROM holder_steps
  GROUP BY holder, account_number, principal_id
),
present AS (
  SELECT d.place, d.date, x.account_id, x.ip_prefix, h.holder, h.principal_id, h.deliberate_from, p.spot, p.days_off, p.entra_call,
    p.principal_count, p.has_1_digit, p.has_2_digits, p.has_3_digits
  FROM days AS d
  JOIN places AS x ON x.place = d.place
  JOIN presence AS p ON p.ip_prefix = x.ip_prefix AND p.date = d.date
  JOIN holders AS h ON h.account_number = d.account_number AND h.principal_id = p.principal_id
),
own AS (
  -- A principal's own calls, and which deployments they are to, at most a day off.
  SELECT DISTINCT c.account_id, c.object_id AS principal_id, c.deployment, CAST(c.date + d.distance AS DATE) AS date
  FROM deployment_days AS c
  CROSS JOIN (VALUES (INTERVAL '-1 days'), (INTERVAL '0 days'), (INTERVAL '1 days')) AS d (distance)
  WHERE c.object_id IS NOT NULL
),
usages AS (
  SELECT p.place, p.date, p.holder, bool_or(k.deployment IS NOT NULL) AS shared
  FROM present AS p
  JOIN own AS o ON o.account_id = p.account_id AND o.principal_id = p.principal_id AND o.date = p.date
  LEFT JOIN deployment_days AS k ON k.account_id = p.account_id AND k.ip_prefix = p.ip_prefix AND k.date = p.date
    AND k.deployment = o.deployment AND k.object_id IS NULL
  GROUP BY p.place, p.date, p.holder
),
homes AS (
  -- Who is known to have an address of its own.
  SELECT DISTINCT principal_id, date FROM presence WHERE principal_count = 1
),
habits AS (
  -- Who called from there by key, at most a day off.
  SELECT DISTINCT p.holder, CAST(p.date + s.distance AS DATE) AS date
  FROM present AS p
  CROSS JOIN generate_series(-1, 1) AS s (distance)
  WHERE p.principal_count = 1
),
named AS (
  SELECT p.place, p.date, p.holder, p.principal_id, p.spot, p.principal_count, p.has_1_digit, p.has_2_digits, p.has_3_digits,
    CASE
      WHEN p.days_off = 0 THEN 'address_same_day'
      WHEN p.days_off = 1 THEN 'address_day_off'
      WHEN p.days_off <= 7 THEN 'address_same_week'
      ELSE 'address_same_month'
    END AS address,
    coalesce(CAST(p.deliberate_from AS DATE) <= p.date, false) AS deliberate,
    CASE
      WHEN p.principal_count = 1 THEN 'prefix_alone'
      WHEN p.principal_count <= 3 THEN 'prefix_few'
      WHEN p.principal_count <= 15 THEN 'prefix_office'
      ELSE 'prefix_crowd'
    END AS rarity,
    CASE WHEN p.entra_call THEN 'entra_call' ELSE 'entra_none' END AS entra,
    CASE WHEN u.shared THEN 'deployment_usual' WHEN NOT u.shared THEN 'deployment_other' ELSE 'deployment_unknown' END AS usage,
    CASE
      WHEN p.principal_count = 1 THEN 'habit_unknown'
      WHEN h.holder IS NOT NULL THEN 'habit_caller'
      WHEN o.principal_id IS NOT NULL THEN 'habit_none'
      ELSE 'habit_unknown'
    END AS habit
  FROM present AS p
  LEFT JOIN habits AS h ON h.holder = p.holder AND h.date = p.date
  LEFT JOIN homes AS o ON o.principal_id = p.principal_id AND o.date = p.date
  LEFT JOIN usages AS u ON u.place = p.place AND u.date = p.date AND u.holder = p.holder
)
SELECT n.place, n.date, n.holder, n.principal_id, n.deliberate, n.spot, n.address, n.rarity, a.weight AS rarity_score, n.entra,
  b.weight AS entra_score, n.usage, c.weight AS deployment_score, n.habit, d.weight AS habit_score, n.has_1_digit, n.has_2_digits, n.has_3_digits,
  n.principal_count
FROM named AS n
JOIN weights AS a ON a.name = n.rarity
JOIN weights AS b ON b.name = n.entra
JOIN weights AS c ON c.name = n.usage
JOIN weights AS d ON d.name = n.habit
