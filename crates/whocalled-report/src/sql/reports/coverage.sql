-- name: coverage
-- question: Where are the logs incomplete, late, or silent?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
--   gap_hours (integer, default 6): how many silent hours between two active ones are a gap
--   late_minutes (integer, default 15): how far outside of its blob's hour a record is late
-- columns:
--   finding: `no_data_plane_log`, `no_activity_log`, `late_records`, `gap`, `reopened`, `gone` or
--     `recreated`
--   account: the account; empty for a blob that names none
--   container: the container of the blobs; empty for a finding that is not about blobs
--   hour: the first hour of the day that it concerns; of a gap, the first silent one
--   hours: how many hours of that day it concerns; of a gap, how long it lasts
--   records: how many records it concerns: those that were seen although others were not, those that
--     came late, those that a blob got when it grew late or was read anew, or those of a blob that is gone
--   blobs: how many blobs it concerns; empty for a finding that is not about blobs
--   grew_at: of `reopened`, when the last of them grew
--   detail: the finding in words
-- reading: `no_data_plane_log`: the Activity Log shows the account being managed in an hour in which it
--   logged no call; quiet accounts do that, and so do accounts without a diagnostic setting.
--   `no_activity_log`: calls on a day on which the subscription has no Activity Log record at all:
--   grants of that day cannot be seen, and attribution suffers. `late_records`: the own time of
--   records lies well outside of the hour of their blob, so that a run right after the hour misses
--   them. `gap`: silence between two active hours: a quiet night, or a diagnostic setting
--   that was off. `reopened`: blobs that grew after they had been quiet for so long that they were taken
--   to be complete; what they got is in the lake, and a report that was made before `grew_at` lacks it.
--   `gone`: blobs that the archive does not have any more, as a lifecycle rule may see to; their rows
--   stay in the lake, and nothing can be read again. `recreated`: blobs that were created again, cut or
--   rewritten, which an archive does not do by itself: somebody did. No rows at all is the good case.
WITH logged AS (
  SELECT resource_id AS account_id, subscription_id, account, date_trunc('hour', time) AS hour, blob,
    count(*) AS records, min(time) AS first_time, max(time) AS last_time
  FROM request_response
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
  GROUP BY resource_id, subscription_id, account, date_trunc('hour', time), blob
),
hours AS (
  SELECT account_id, max(subscription_id) AS subscription_id, max(account) AS account, hour, sum(records) AS records
  FROM logged
  GROUP BY account_id, hour
),
activity_hours AS (
  SELECT concat('/subscriptions/', split_part(resource_id, '/', 3), '/resourcegroups/', split_part(resource_id, '/', 5),
      '/providers/microsoft.cognitiveservices/accounts/', split_part(resource_id, '/', 9)) AS account_id,
    max(account) AS account, date_trunc('hour', time) AS hour, count(*) AS records
  FROM activity
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
    AND resource_id LIKE '%/providers/microsoft.cognitiveservices/accounts/%'
  GROUP BY split_part(resource_id, '/', 3), split_part(resource_id, '/', 5), split_part(resource_id, '/', 9),
    date_trunc('hour', time)
),
activity_days AS (
  SELECT DISTINCT subscription_id, date
  FROM activity
  WHERE subscription_id IS NOT NULL AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
no_calls AS (
  SELECT a.account, min(a.hour) AS hour, count(*) AS hours, sum(a.records) AS records
  FROM activity_hours AS a
  WHERE NOT EXISTS (SELECT 1 FROM hours AS h WHERE h.account_id = a.account_id AND h.hour = a.hour)
  GROUP BY a.account, CAST(a.hour AS DATE)
),
no_activity AS (
  SELECT h.account, min(h.hour) AS hour, count(*) AS hours, sum(h.records) AS records
  FROM hours AS h
  WHERE NOT EXISTS (
    SELECT 1 FROM activity_days AS d WHERE d.subscription_id = h.subscription_id AND d.date = CAST(h.hour AS DATE)
  )
  GROUP BY h.account, CAST(h.hour AS DATE)
),
placed AS (
  SELECT account, hour, records, date_part('epoch', first_time) AS first_time, date_part('epoch', last_time) AS last_time,
    date_part('epoch', TRY_CAST(
      regexp_replace(blob, '^.*/y=(\d+)/m=(\d+)/d=(\d+)/h=(\d+)/.*$', '\1-\2-\3T\4:00:00Z') AS TIMESTAMP
    )) AS blob_hour
  FROM logged
),
late AS (
  SELECT account, min(hour) AS hour, count(DISTINCT hour) AS hours, sum(records) AS records
  FROM placed
  WHERE first_time < blob_hour - $late_minutes * 60 OR last_time >= blob_hour + 3600 + $late_minutes * 60
  GROUP BY account, CAST(hour AS DATE)
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
),
-- A blob is named container/resourceId=/SUBSCRIPTIONS/s/RESOURCEGROUPS/g/PROVIDERS/p/ACCOUNTS/a/y=...
ranges AS (
  SELECT blob, finding, record_count, split_part(blob, '/', 1) AS container,
    CASE WHEN lower(split_part(blob, '/', 7)) = 'providers' THEN lower(split_part(blob, '/', 10)) END AS account,
    coalesce(
      TRY_CAST(
        regexp_replace(blob, '^.*/y=(\d+)/m=(\d+)/d=(\d+)/h=(\d+)/.*$', '\1-\2-\3T\4:00:00Z')
        AS TIMESTAMP(6) WITH TIME ZONE
      ),
      date_trunc('hour', committed_at)
    ) AS hour,
    coalesce(modified_at, committed_at) AS modified_at,
    sum(record_count) OVER (PARTITION BY blob, generation) AS blob_records,
    batch = max(batch) OVER (PARTITION BY blob) AS is_last
  FROM ledger
  WHERE kind = 'range'
),
blob_findings AS (
  SELECT CASE WHEN finding IN ('reopened', 'gone') THEN finding ELSE 'recreated' END AS finding,
    account, container, hour, blob, modified_at,
    CASE WHEN finding = 'gone' THEN blob_records ELSE record_count END AS records
  FROM ranges
  -- What was gone may have come back.
  WHERE finding IS NOT NULL AND (finding <> 'gone' OR is_last) AND hour >= $from AND hour < $to
),
blobs_found AS (
  SELECT finding, account, container, min(hour) AS hour, count(DISTINCT hour) AS hours, sum(records) AS records,
    count(DISTINCT blob) AS blobs, max(CASE WHEN finding = 'reopened' THEN modified_at END) AS grew_at
  FROM blob_findings
  GROUP BY finding, account, container, CAST(hour AS DATE)
),
findings AS (
  SELECT 'no_data_plane_log' AS finding, account, hour, hours, records,
    'the Activity Log is active, and no call was logged' AS detail
  FROM no_calls
  UNION ALL
  SELECT 'no_activity_log', account, hour, hours, records, 'calls on a day without any Activity Log of the subscription'
  FROM no_activity
  UNION ALL
  SELECT 'late_records', account, hour, hours, records, 'records in the blob of a much later or earlier hour'
  FROM late
  UNION ALL
  SELECT 'gap', account, hour, hours, CAST(0 AS BIGINT), 'no call between two active hours'
  FROM gaps
  WHERE hours >= $gap_hours
)
SELECT finding, account, CAST(NULL AS VARCHAR) AS container, hour, hours, records, CAST(NULL AS BIGINT) AS blobs,
  CAST(NULL AS TIMESTAMP(6) WITH TIME ZONE) AS grew_at, detail
FROM findings
UNION ALL
SELECT finding, account, container, hour, hours, records, blobs, grew_at,
  CASE finding
    WHEN 'reopened' THEN 'blobs grew after they had been quiet for long'
    WHEN 'gone' THEN 'blobs are not in the archive any more; their rows stay'
    ELSE 'blobs were created again, cut or rewritten, and read anew'
  END
FROM blobs_found
ORDER BY hour, finding, account, container
