-- name: accounts
-- row: An account that was called, or whose keys were obtained.
-- columns:
--   account_number: a number, which means nothing beyond one answer
--   account_id: its resource id
-- how: Numbers are shorter keys than resource ids.
SELECT CAST(row_number() OVER (ORDER BY account_id) AS BIGINT) AS account_number, account_id
FROM (
  SELECT account_id FROM sightings WHERE account_id IS NOT NULL
  UNION
  SELECT account_id FROM grants
) AS known
