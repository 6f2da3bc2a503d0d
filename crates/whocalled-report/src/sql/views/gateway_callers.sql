-- name: gateway_callers
-- row: A request through a gateway whose log names the principal that made it.
-- columns:
--   correlation_id: that of the call behind the gateway, which is the header `apim-request-id` of the
--     service's answer
--   principal_id: who made the request, as the gateway found out
--   caller_ip, ip_prefix: from where; the whole address
--   time: when the gateway began with the request
-- how: API Management validates a caller's token and then calls the service as itself. It logs the
--   caller's object id only if a policy puts it into a header that the gateway is set to log. Looked at
--   are `x-caller-oid` and `x-ms-client-principal-id`, which App Service's authentication sets too, of the
--   request as it came and as it was sent on. The call is found only if the gateway also logs the header
--   `apim-request-id` of the answer. Of a request that the gateway repeated, each call is one of its own.
SELECT backend_correlation_id AS correlation_id, max(caller_object_id) AS principal_id, max(caller_ip) AS caller_ip,
  max(ip_prefix) AS ip_prefix, min(time) AS time
FROM gateway
WHERE backend_correlation_id IS NOT NULL AND caller_object_id IS NOT NULL
GROUP BY backend_correlation_id
-- Where two records of one call name different principals, neither is taken for certain.
HAVING count(DISTINCT caller_object_id) = 1
