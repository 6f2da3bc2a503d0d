-- name: usual_hours
-- row: A principal and an hour of the day, in UTC, and whether the principal is usually active then.
-- columns:
--   principal_id: who
--   hour_of_day: 0 to 23
--   usual: whether it was seen in this hour of any day, or in the one before or after
-- how: Of principals that the Activity Log, sign-ins or a gateway show in at least six different hours;
--   less tells no habit. Own calls are left out: a report of one day reads no others than those around it,
--   and its answer must not depend on that.
WITH seen AS (
  SELECT DISTINCT principal_id, hour FROM observed_hours WHERE by_log
),
known AS (
  SELECT principal_id FROM seen GROUP BY principal_id HAVING count(*) >= 6
),
spread AS (
  SELECT DISTINCT s.principal_id, (CAST(date_part('hour', s.hour) AS BIGINT) + d.distance + 24) % 24 AS hour_of_day
  FROM seen AS s
  CROSS JOIN (VALUES (-1), (0), (1)) AS d (distance)
)
SELECT k.principal_id, h.hour_of_day, s.hour_of_day IS NOT NULL AS usual
FROM known AS k
CROSS JOIN (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17),
  (18), (19), (20), (21), (22), (23)) AS h (hour_of_day)
LEFT JOIN spread AS s ON s.principal_id = k.principal_id AND s.hour_of_day = h.hour_of_day
