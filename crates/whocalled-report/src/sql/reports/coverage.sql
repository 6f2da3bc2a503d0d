-- name: coverage
-- question: Where are the logs incomplete, late, or silent?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
--   gap_hours (integer, default 6): how many silent hours between two active ones are a gap
-- columns:
--   finding: `no_data_plane_log`, `no_activity_log`, `late_records` or `gap`
--   account: the account; empty for a blob that names none
--   hour: the hour in question; of a gap, the first silent one
--   hours: how many hours it lasts
--   records: how many records it concerns: those that were seen although others were not, or those
--     that came late
--   detail: the finding in words
-- reading: `no_data_plane_log`: the Activity Log shows keys being obtained in an hour in which the
--   account logged no call; quiet accounts do that, and so do accounts without a diagnostic setting.
--   `no_activity_log`: calls on a day on which the subscription has no Activity Log record at all:
--   grants of that day cannot be seen, and attribution suffers. `late_records`: their own time lies
--   outside of the hour of their blob: a few minutes are normal, more means that a run right after the
--   hour misses them. `gap`: silence between two active hours: a quiet night, or a diagnostic setting
--   that was off. No rows at all is the good case.
WITH logged AS (
  SELECT resource_id AS account_id, subscription_id, account, date_trunc('hour', time) AS hour, blob,
    count(*) AS records
  FROM request_response
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
  GROUP BY resource_id, subscription_id, account, date_trunc('hour', time), blob
),
hours AS (
  SELECT account_id, max(subscription_id) AS subscription_id, max(account) AS account, hour, sum(records) AS records
  FROM logged
  GROUP BY account_id, hour
),
access_hours AS (
  SELECT account_id, max(account) AS account, date_trunc('hour', time) AS hour, count(*) AS records
  FROM key_access
  WHERE time >= $from AND time < $to
  GROUP BY account_id, date_trunc('hour', time)
),
activity_days AS (
  SELECT DISTINCT subscription_id, date
  FROM activity
  WHERE subscription_id IS NOT NULL AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
no_calls AS (
  SELECT a.account, a.hour, a.records
  FROM access_hours AS a
  WHERE NOT EXISTS (SELECT 1 FROM hours AS h WHERE h.account_id = a.account_id AND h.hour = a.hour)
),
no_activity AS (
  SELECT h.account, CAST(h.hour AS DATE) AS date, min(h.hour) AS hour, count(*) AS hours, sum(h.records) AS records
  FROM hours AS h
  WHERE NOT EXISTS (
    SELECT 1 FROM activity_days AS d WHERE d.subscription_id = h.subscription_id AND d.date = CAST(h.hour AS DATE)
  )
  GROUP BY h.account, CAST(h.hour AS DATE)
),
placed AS (
  SELECT account, hour, records,
    TRY_CAST(regexp_replace(blob, '^.*/y=(\d+)/m=(\d+)/d=(\d+)/h=(\d+)/.*$', '\1-\2-\3T\4:00:00Z') AS TIMESTAMP)
      AS blob_hour
  FROM logged
),
late AS (
  SELECT account, hour, sum(records) AS records
  FROM placed
  WHERE blob_hour IS NOT NULL AND CAST(blob_hour AS TIMESTAMP) <> CAST(hour AS TIMESTAMP)
  GROUP BY account, hour
),
steps AS (
  SELECT account, hour, records,
    lag(hour) OVER (PARTITION BY account_id ORDER BY hour) AS hour_before
  FROM hours
),
gaps AS (
  SELECT account, hour_before + INTERVAL '1 hour' AS hour,
    CAST((date_part('epoch', hour) - date_part('epoch', hour_before)) / 3600 - 1 AS BIGINT) AS hours
  FROM steps
)
SELECT 'no_data_plane_log' AS finding, account, hour, CAST(1 AS BIGINT) AS hours, records,
  'keys were obtained, and no call was logged' AS detail
FROM no_calls
UNION ALL
SELECT 'no_activity_log', account, hour, hours, records, 'calls on a day without any Activity Log of the subscription'
FROM no_activity
UNION ALL
SELECT 'late_records', account, hour, CAST(1 AS BIGINT), records, 'records in a blob of another hour'
FROM late
UNION ALL
SELECT 'gap', account, hour, hours, CAST(0 AS BIGINT), 'no call between two active hours'
FROM gaps
WHERE hours >= $gap_hours
ORDER BY hour, finding, account
