-- name: trace
-- question: What is in the category Trace, of which nobody has published the content?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   operation: as logged; empty where there is none
--   field: a field of the records' properties, or of what is below them; empty in the row that is about the
--     operation as a whole
--   records: how many records of the operation have it
--   share: the same as a share of the operation's records
--   accounts: of how many accounts
--   values: how many different values it has
--   example: one of them, as logged, at most 200 characters; of the operation as a whole, properties
--   first_time, last_time: when
-- reading: A profile, to see whether the category tells anything that others do not: a field whose values are
--   as many as its records is an id, one with few is a kind. Fields are found by their names in the text of
--   the properties, so that those of an object within are listed without its name, and text that looks
--   like a field counts as one.
WITH records AS (
  SELECT operation, account, time, properties,
    -- Without white space around names, so that each is found by what stands before and after it.
    regexp_replace(regexp_replace(coalesce(properties, ''), '[{,]\s*"', ',"', 'g'), '"\s*:\s*', '":', 'g') AS plain
  FROM trace
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
pieces AS (
  SELECT operation, account, time, unnest(string_to_array(plain, ',"')) AS piece
  FROM records
),
fields AS (
  SELECT operation, account, time, split_part(piece, '":', 1) AS field,
    rtrim(substr(piece, character_length(split_part(piece, '":', 1)) + 3), ' }') AS logged
  FROM pieces
  WHERE piece LIKE '%":%'
),
profiles AS (
  SELECT operation, NULL AS field, count(*) AS records, count(DISTINCT account) AS accounts,
    count(DISTINCT properties) AS "values", min(properties) AS example, min(time) AS first_time, max(time) AS last_time
  FROM records
  GROUP BY operation
  UNION ALL
  SELECT operation, field, count(*), count(DISTINCT account), count(DISTINCT logged), min(logged), min(time), max(time)
  FROM fields
  GROUP BY operation, field
)
SELECT operation, field, records,
  CAST(records AS DOUBLE) / max(CASE WHEN field IS NULL THEN records END) OVER (PARTITION BY operation) AS share,
  accounts, "values", substr(example, 1, 200) AS example, first_time, last_time
FROM profiles
ORDER BY operation, field NULLS FIRST
