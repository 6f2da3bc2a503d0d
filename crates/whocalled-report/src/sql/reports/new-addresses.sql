-- name: new-addresses
-- question: From which address prefixes was an account called for the first time?
-- reads: everything
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   account: the account that was called
--   ip_prefix: the visible part of the callers' address
--   first_call, last_call: when, within the range
--   calls: how many
--   entra_calls: how many of them name their caller
--   refused_calls: how many were answered 401
--   known_principals: how many principals any log shows at this prefix, the callers among them
--   principal_name, principal_id: the one that was seen there last
--   first_account: whether no other account was called from there before, either
-- reading: New is what no record that the lake holds shows before `from`: on the first days of an archive
--   everything is. A prefix that principals of the tenant are known at is a new place of somebody known;
--   one at which nobody was ever seen, with calls that name nobody, is worth a look, and `leaked-key` has it
--   if no holder explains it. Calls without an address are left out.
WITH before AS (
  SELECT DISTINCT account_id, ip_prefix FROM sightings WHERE first_time < $from AND ip_prefix IS NOT NULL
),
anywhere AS (
  SELECT DISTINCT ip_prefix FROM before
),
called AS (
  SELECT resource_id AS account_id, max(account) AS account, ip_prefix, min(time) AS first_call, max(time) AS last_call,
    count(*) AS calls, count(object_id) AS entra_calls, sum(CASE WHEN status = 401 THEN 1 ELSE 0 END) AS refused_calls
  FROM calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE) AND ip_prefix IS NOT NULL
  GROUP BY resource_id, ip_prefix
),
known AS (
  SELECT ip_prefix, count(*) AS known_principals, first_value(principal_id ORDER BY hour DESC, principal_id) AS principal_id
  FROM (SELECT ip_prefix, principal_id, max(hour) AS hour FROM observed_hours GROUP BY ip_prefix, principal_id) AS seen
  GROUP BY ip_prefix
)
SELECT c.account, c.ip_prefix, c.first_call, c.last_call, c.calls, c.entra_calls, c.refused_calls,
  coalesce(k.known_principals, 0) AS known_principals, p.principal_name, k.principal_id,
  a.ip_prefix IS NULL AS first_account
FROM called AS c
LEFT JOIN before AS b ON b.account_id = c.account_id AND b.ip_prefix = c.ip_prefix
LEFT JOIN anywhere AS a ON a.ip_prefix = c.ip_prefix
LEFT JOIN known AS k ON k.ip_prefix = c.ip_prefix
LEFT JOIN principals AS p ON p.principal_id = k.principal_id
WHERE b.account_id IS NULL
ORDER BY known_principals, c.calls DESC, c.account, c.ip_prefix
