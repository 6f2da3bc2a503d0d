-- name: pieces
-- row: A part of an hour during which the holders of an account's keys stay the same.
-- columns:
--   account_number: the account, as in `accounts`
--   hour: the hour
--   piece_from, piece_to: the part of it, half-open
-- how: Hours in which a principal obtains keys or a key is regenerated are cut at these times, so that
--   a grant never speaks for a call before it, and always for one at the same instant. Hours without
--   such an event have no rows: they are one piece.
WITH events AS (
  SELECT account_id, min(granted_at) AS at
  FROM grants
  GROUP BY account_id, principal_id, ends_at, date_trunc('hour', granted_at)
  UNION ALL
  SELECT account_id, time FROM key_access WHERE succeeded AND access = 'regenerate'
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
