-- name: sightings
-- row: An account, what its calls have in common, and an hour in which there were such calls.
-- columns:
--   account_id: the account
--   object_id: the caller; NULL where no record names one
--   ip_prefix, ip_hidden_digits: the visible part of the address, and how many digits of it are masked;
--     NULL where it is not logged
--   hour: the hour of the request, or of the record where that is not logged
--   refused: whether the service answered 401
--   request_timed: whether the records say when the request was made
--   first_time, last_time: when the first and the last were logged
-- how: What other views need to know of records, read once. Of records, not calls.
SELECT resource_id AS account_id, object_id, ip_prefix, ip_hidden_digits,
  date_trunc('hour', coalesce(request_time, time)) AS hour, coalesce(status = 401, false) AS refused,
  request_time IS NOT NULL AS request_timed, min(time) AS first_time, max(time) AS last_time
FROM request_response
GROUP BY resource_id, object_id, ip_prefix, ip_hidden_digits,
  date_trunc('hour', coalesce(request_time, time)), coalesce(status = 401, false), request_time IS NOT NULL
