-- name: principals
-- row: One Entra object that any log names, with the best that the logs say about it.
-- columns:
--   principal_id: its object id
--   principal_name: a user's principal name, an application's name, or the last part of a managed
--     identity's resource; NULL where no log gives one
--   principal_kind: `user`, `service_principal` or `managed_identity`; NULL where unknown
--   app_id: its application; NULL for users
--   principal_resource_id: the Azure resource of a managed identity
--   first_seen, last_seen: when any log names it
--   name_source: the log that gives the name
-- how: From the claims and role assignments of the Activity Log, from sign-ins, and from the object ids of
--   data-plane records, which give no names. Of several values the Activity Log's wins over a sign-in's, and
--   then the latest.
WITH seen AS (
  SELECT principal_id, principal_name, principal_kind, app_id, principal_resource_id, 'activity' AS source,
    1 AS priority, min(time) AS first_seen, max(time) AS last_seen
  FROM activity
  WHERE principal_id IS NOT NULL
  GROUP BY principal_id, principal_name, principal_kind, app_id, principal_resource_id
  UNION ALL
  SELECT object_id, coalesce(principal_name, display_name), principal_kind, app_id, NULL, 'sign_ins', 2, min(time),
    max(time)
  FROM sign_ins
  WHERE object_id IS NOT NULL
  GROUP BY object_id, coalesce(principal_name, display_name), principal_kind, app_id
  UNION ALL
  SELECT object_id, NULL, NULL, NULL, NULL, 'request_response', 3, min(first_time), max(last_time)
  FROM sightings
  WHERE object_id IS NOT NULL
  GROUP BY object_id
  UNION ALL
  SELECT object_id, NULL, NULL, NULL, NULL, 'audit', 3, min(time), max(time)
  FROM audit
  WHERE object_id IS NOT NULL
  GROUP BY object_id
),
best AS (
  SELECT principal_id,
    first_value(principal_name ORDER BY CASE WHEN principal_name IS NULL THEN 9 ELSE priority END, last_seen DESC)
      AS principal_name,
    first_value(source ORDER BY CASE WHEN principal_name IS NULL THEN 9 ELSE priority END, last_seen DESC)
      AS name_source,
    first_value(principal_kind ORDER BY CASE WHEN principal_kind IS NULL THEN 9 ELSE priority END, last_seen DESC)
      AS principal_kind,
    first_value(app_id ORDER BY CASE WHEN app_id IS NULL THEN 9 ELSE priority END, last_seen DESC) AS app_id,
    first_value(principal_resource_id
      ORDER BY CASE WHEN principal_resource_id IS NULL THEN 9 ELSE priority END, last_seen DESC)
      AS principal_resource_id,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
  FROM seen
  GROUP BY principal_id
)
SELECT principal_id,
  coalesce(principal_name, regexp_replace(principal_resource_id, '^.*/', '')) AS principal_name,
  principal_kind,
  -- A user's token names the client that it was issued to, which is nothing of the user's own.
  CASE WHEN principal_kind = 'user' THEN NULL ELSE app_id END AS app_id,
  principal_resource_id, first_seen, last_seen,
  CASE WHEN principal_name IS NOT NULL THEN name_source WHEN principal_resource_id IS NOT NULL THEN 'activity' END
    AS name_source
FROM best
