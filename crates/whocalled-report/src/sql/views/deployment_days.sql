-- name: deployment_days
-- row: A caller, or an address where no caller is named, and a deployment that it called on a day.
-- columns:
--   account_id, deployment: what was called
--   object_id: the caller; NULL where no record names one
--   ip_prefix: the visible part of the address; empty where it is not logged
--   date: the day of the records
-- how: What other views need to know of deployments. Of records, not calls.
SELECT DISTINCT resource_id AS account_id, deployment, object_id, coalesce(ip_prefix, '') AS ip_prefix, date
FROM request_response
WHERE deployment IS NOT NULL
