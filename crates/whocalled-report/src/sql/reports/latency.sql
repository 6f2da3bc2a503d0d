-- name: latency
-- question: How long do calls take, by deployment?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   account: the account that was called
--   deployment, model: what was called; empty where the operation has none
--   streaming: whether answers were streamed; empty where it is not logged
--   calls: how many calls say when they began and ended, and succeeded
--   p50_ms, p90_ms, p95_ms, p99_ms: so many milliseconds or less took 50, 90, 95, 99 % of them
--   max_ms: the longest
-- reading: From the service's own clock, between the ticks `requestTime` and `responseTime`: the way to the
--   service is not in it, and of a streaming call the end is that of the whole answer. Only answers below
--   400 count, since refusals are quick. Each percentile is a duration that occurred: with few calls the
--   high ones are the longest of them.
WITH timed AS (
  SELECT account, deployment, model, streaming,
    round((date_part('epoch', response_time) - date_part('epoch', request_time)) * 1000, 3) AS took_ms
  FROM calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
    AND request_time IS NOT NULL AND response_time >= request_time AND coalesce(status, 200) < 400
),
placed AS (
  SELECT account, deployment, model, streaming, took_ms,
    row_number() OVER (PARTITION BY account, deployment, model, streaming ORDER BY took_ms) AS place,
    count(*) OVER (PARTITION BY account, deployment, model, streaming) AS calls
  FROM timed
)
SELECT account, deployment, model, streaming, count(*) AS calls,
  max(CASE WHEN place <= ceil(0.50 * calls) THEN took_ms END) AS p50_ms,
  max(CASE WHEN place <= ceil(0.90 * calls) THEN took_ms END) AS p90_ms,
  max(CASE WHEN place <= ceil(0.95 * calls) THEN took_ms END) AS p95_ms,
  max(CASE WHEN place <= ceil(0.99 * calls) THEN took_ms END) AS p99_ms, max(took_ms) AS max_ms
FROM placed
GROUP BY account, deployment, model, streaming
ORDER BY account, deployment, model, streaming
