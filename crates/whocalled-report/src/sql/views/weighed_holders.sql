-- name: weighed_holders
-- row: A holder that is weighed by itself for the calls of a slot: one that was seen at their address
--   prefix, or any, where no address is logged.
-- columns:
--   slot: in `slots`
--   step: in `holder_steps`
--   address, prefix_score: whether and when it was seen at the prefix, as evidence in `weights`, and what
--     that adds
--   rarity, rarity_score: how many principals were seen there about that day
--   digits, digits_score: whether the masked octet has as many digits as where it was seen
--   entra, entra_score: whether it makes Entra calls of its own from there
--   hours, hours_score: whether it usually is active at this hour of the day
--   usage, deployment_score: whether its own calls are to the same deployment
--   score: the sum of these and of the base score
--   absent_score: what the score would be if it had not been seen there
--   address_principal_count: how many principals were seen at the prefix about that day
-- how: Presence is found by prefix and day; the more principals share a prefix, the less it says.
WITH named AS (
  SELECT s.slot, h.step, h.base_score, p.principal_count,
    CASE
      WHEN o.hour IS NOT NULL THEN 'address_same_hour'
      WHEN p.days_off = 0 THEN 'address_same_day'
      WHEN p.days_off = 1 THEN 'address_day_off'
      ELSE 'address_same_week'
    END AS address,
    CASE
      WHEN p.principal_count = 1 THEN 'prefix_alone'
      WHEN p.principal_count <= 3 THEN 'prefix_few'
      WHEN p.principal_count <= 15 THEN 'prefix_office'
      ELSE 'prefix_crowd'
    END AS rarity,
    'address_colleagues' AS absence,
    CASE
      WHEN s.ip_hidden_digits = 0 OR NOT (p.has_1_digit OR p.has_2_digits OR p.has_3_digits) THEN 'digits_unknown'
      WHEN CASE s.ip_hidden_digits WHEN 1 THEN p.has_1_digit WHEN 2 THEN p.has_2_digits ELSE p.has_3_digits END
        THEN 'digits_same'
      ELSE 'digits_differ'
    END AS digits,
    CASE WHEN p.entra_call THEN 'entra_call' ELSE 'entra_none' END AS entra,
    h.account_id, h.principal_id, s.deployment, s.slot_at
  FROM slots AS s
  JOIN presence AS p ON p.ip_prefix = s.ip_prefix AND p.date = CAST(s.slot_at AS DATE)
  JOIN holder_steps AS h ON h.account_id = s.account_id AND h.principal_id = p.principal_id
    AND h.step_from <= s.slot_at AND s.slot_at < h.step_to
  LEFT JOIN observed_hours AS o ON o.principal_id = p.principal_id AND o.ip_prefix = p.ip_prefix AND o.hour = s.hour
  UNION ALL
  SELECT s.slot, h.step, h.base_score, NULL, 'address_hidden', 'prefix_alone', 'address_hidden', 'digits_unknown', 'entra_none',
    h.account_id, h.principal_id, s.deployment, s.slot_at
  FROM slots AS s
  JOIN holder_steps AS h ON h.account_id = s.account_id AND h.step_from <= s.slot_at AND s.slot_at < h.step_to
  WHERE s.ip_prefix = ''
),
joined AS (
  SELECT n.slot, n.step, n.base_score, n.principal_count, n.address, n.rarity, n.absence, n.digits, n.entra,
    CASE WHEN u.usual THEN 'hours_usual' WHEN NOT u.usual THEN 'hours_unusual' ELSE 'hours_unknown' END AS hours,
    CASE WHEN d.usual THEN 'deployment_usual' WHEN NOT d.usual THEN 'deployment_other' ELSE 'deployment_unknown' END AS usage
  FROM named AS n
  LEFT JOIN usual_hours AS u ON u.principal_id = n.principal_id
    AND u.hour_of_day = CAST(date_part('hour', n.slot_at) AS BIGINT)
  LEFT JOIN usual_deployments AS d ON d.principal_id = n.principal_id AND d.account_id = n.account_id
    AND d.deployment = n.deployment AND d.date = CAST(n.slot_at AS DATE)
),
scored AS (
  SELECT j.slot, j.step, j.base_score, j.address, j.rarity, j.digits, j.entra, j.hours, j.usage,
    a.weight AS prefix_score, f.weight AS rarity_score,
    b.weight AS digits_score, c.weight AS entra_score, d.weight AS hours_score, e.weight AS deployment_score,
    j.base_score + absent.weight AS absent_score, coalesce(j.principal_count, 0) AS address_principal_count
  FROM joined AS j
  JOIN weights AS a ON a.name = j.address
  JOIN weights AS absent ON absent.name = j.absence
  JOIN weights AS b ON b.name = j.digits
  JOIN weights AS c ON c.name = j.entra
  JOIN weights AS d ON d.name = j.hours
  JOIN weights AS e ON e.name = j.usage
  JOIN weights AS f ON f.name = j.rarity
)
SELECT slot, step, address, prefix_score, rarity, rarity_score, digits, digits_score, entra, entra_score, hours, hours_score, usage,
  deployment_score, base_score + prefix_score + rarity_score + digits_score + entra_score + hours_score + deployment_score AS score,
  absent_score, address_principal_count
FROM scored
