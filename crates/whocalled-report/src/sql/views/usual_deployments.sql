-- name: usual_deployments
-- row: A principal, an account that it calls with Entra authentication about a day, and a deployment.
-- columns:
--   principal_id, account_id, deployment: who, and what of whom
--   date: the day in question
--   usual: whether the principal's own calls, at most a day off, are to this deployment
-- how: Every deployment that is called about that day, for every principal whose own calls to the account
--   name one.
WITH called AS (
  SELECT DISTINCT s.object_id AS principal_id, s.account_id, s.deployment, CAST(CAST(s.hour AS DATE) + d.distance AS DATE) AS date
  FROM sightings AS s
  CROSS JOIN (VALUES (INTERVAL '-1 days'), (INTERVAL '0 days'), (INTERVAL '1 days')) AS d (distance)
  WHERE s.deployment IS NOT NULL
),
callers AS (
  SELECT DISTINCT principal_id, account_id, date FROM called WHERE principal_id IS NOT NULL
),
deployments AS (
  SELECT DISTINCT account_id, deployment, date FROM called
),
own AS (
  SELECT principal_id, account_id, deployment, date FROM called WHERE principal_id IS NOT NULL
)
SELECT c.principal_id, c.account_id, d.deployment, c.date, o.deployment IS NOT NULL AS usual
FROM callers AS c
JOIN deployments AS d ON d.account_id = c.account_id AND d.date = c.date
LEFT JOIN own AS o ON o.principal_id = c.principal_id AND o.account_id = c.account_id AND o.deployment = d.deployment
  AND o.date = c.date
