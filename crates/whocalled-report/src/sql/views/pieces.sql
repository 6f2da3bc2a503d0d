-- name: pieces
-- row: A part of an hour during which the holders of an account's keys stay the same.
-- columns:
--   account_number: the account, as in `accounts`
--   hour: the hour
--   piece_from, piece_to: the part of it, half-open
-- how: Hours are cut at `valid_from`, `weak_from` and `valid_to` of `grants`, so that a grant speaks for the
--   calls from the one to the other, and for no others. Hours without such a time have no rows: they are
--   one piece.
WITH events AS (
  SELECT account_id, min(valid_from) AS at
  FROM grants
  GROUP BY account_id, principal_id, valid_to, date_trunc('hour', valid_from)
  UNION ALL
  SELECT account_id, weak_from FROM grants WHERE weak_from IS NOT NULL
  UNION ALL
  SELECT account_id, valid_to FROM grants WHERE valid_to IS NOT NULL
),
cuts AS (
  SELECT account_id, at FROM events
  UNION
  SELECT account_id, date_trunc('hour', at) FROM events
)
SELECT a.account_number, date_trunc('hour', c.at) AS hour, c.at AS piece_from,
  coalesce(
    lead(c.at) OVER (PARTITION BY a.account_number, date_trunc('hour', c.at) ORDER BY c.at),
    date_trunc('hour', c.at) + INTERVAL '1 hour'
  ) AS piece_to
FROM cuts AS c
JOIN accounts AS a ON a.account_id = c.account_id
