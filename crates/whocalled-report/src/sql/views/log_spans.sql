-- name: log_spans
-- row: A subscription, and since when its Activity Log is known.
-- columns:
--   subscription_id: the subscription
--   first_time: its earliest record
-- how: Keys that were obtained before that show in no log, so that soon after it somebody unseen is likelier.
SELECT subscription_id, min(time) AS first_time
FROM activity
WHERE subscription_id IS NOT NULL
GROUP BY subscription_id
