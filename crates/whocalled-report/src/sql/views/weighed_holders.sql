-- name: weighed_holders
-- row: A holder that is weighed by itself for the calls of a slot, since it was seen at their address prefix.
-- columns:
--   slot: in `slots`
--   step: in `holder_steps`
--   address, prefix_score: when it was seen at the prefix, as evidence in `weights`, and what that adds
--   rarity, rarity_score: how many principals were seen there about that day
--   digits, digits_score: whether the masked octet has as many digits as where it was seen
--   entra, entra_score: whether it makes Entra calls of its own from there
--   hours, hours_score: whether it usually is active at this hour of the day
--   usage, deployment_score: whether its own calls are to a deployment that is called from there by key
--   habit, habit_score: whether it called the account by key from an address of its own about that day
--   score: the sum of these and of the base score
--   base_score: as in `holder_steps`
--   address_principal_count: how many principals were seen at the prefix about that day
-- how: Of `place_holders`, in the step that the slot begins in.
WITH named AS (
  SELECT s.slot, h.step, h.base_score, p.rarity, p.rarity_score, p.entra, p.entra_score, p.usage, p.deployment_score,
    p.habit, p.habit_score,
    p.principal_count,
    CASE WHEN o.hour IS NOT NULL THEN 'address_same_hour' ELSE p.address END AS address,
    CASE
      WHEN s.ip_hidden_digits = 0 OR NOT (p.has_1_digit OR p.has_2_digits OR p.has_3_digits) THEN 'digits_unknown'
      WHEN CASE s.ip_hidden_digits WHEN 1 THEN p.has_1_digit WHEN 2 THEN p.has_2_digits ELSE p.has_3_digits END
        THEN 'digits_same'
      ELSE 'digits_differ'
    END AS digits,
    CASE WHEN u.usual THEN 'hours_usual' WHEN NOT u.usual THEN 'hours_unusual' ELSE 'hours_unknown' END AS hours
  FROM slots AS s
  JOIN place_holders AS p ON p.place = s.place AND p.date = CAST(s.slot_at AS DATE)
  JOIN holder_steps AS h ON h.holder = p.holder AND h.step_from <= s.slot_at AND s.slot_at < h.step_to
  LEFT JOIN observed_hours AS o ON o.spot = p.spot AND o.hour = s.hour
  LEFT JOIN usual_hours AS u ON u.principal_id = p.principal_id
    AND u.hour_of_day = CAST(date_part('hour', s.hour) AS BIGINT)
)
SELECT n.slot, n.step, n.address, a.weight AS prefix_score, n.rarity, n.rarity_score, n.digits, b.weight AS digits_score,
  n.entra, n.entra_score, n.hours, c.weight AS hours_score, n.usage, n.deployment_score,
  n.habit, n.habit_score,
  n.base_score + a.weight + n.rarity_score + b.weight + n.entra_score + c.weight + n.deployment_score
    + n.habit_score AS score,
  n.base_score, n.principal_count AS address_principal_count
FROM named AS n
JOIN weights AS a ON a.name = n.address
JOIN weights AS b ON b.name = n.digits
JOIN weights AS c ON c.name = n.hours
