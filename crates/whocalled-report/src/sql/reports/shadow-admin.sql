-- name: shadow-admin
-- question: Who changed files, fine-tunes, deployments, assistants and the like through the data plane?
-- parameters:
--   from (timestamp): the beginning of the range, included
--   to (timestamp): the end of the range, excluded
-- columns:
--   time: when
--   account: where
--   area: `files`, `fine-tunes`, `deployments`, `assistants`, `vector stores`, `batches`, `containers`
--     or `evaluations`
--   operation: as logged
--   status: the HTTP status of the answer
--   tier: how the caller was found
--   principal_name, principal_id: who; empty where the tier is `none`
--   confidence: the probability that it was this principal
--   caller_ip: the masked address
--   evidence, reason: why that is said, and why nothing better
--   correlation_id: for `whocalled explain`
-- reading: These operations change the account's state without passing Azure's control plane, so that
--   no role assignment or Activity Log record shows them. Operations are recognised by their names, in
--   the older form (`Files_Delete`) and in that of the v1 API (`deleteFile`). Answers of 400 and above
--   changed nothing, and still show who tried. Threads, messages and runs of assistants are use, not
--   administration, and are left out.
WITH named AS (
  SELECT time, account, operation, lower(replace(operation, '_', '')) AS plain, status, tier, principal_name,
    principal_id, confidence, caller_ip, evidence, reason, correlation_id
  FROM attributed_calls
  WHERE time >= $from AND time < $to AND date BETWEEN CAST($from AS DATE) AND CAST($to AS DATE)
),
placed AS (
  SELECT time, account, operation, plain, status, tier, principal_name, principal_id, confidence, caller_ip, evidence,
    reason, correlation_id,
    CASE
      WHEN plain LIKE '%vectorstore%' THEN 'vector stores'
      WHEN plain LIKE '%finetun%' THEN 'fine-tunes'
      WHEN plain LIKE '%container%' THEN 'containers'
      WHEN plain LIKE '%file%' OR plain LIKE '%upload%' THEN 'files'
      WHEN plain LIKE '%deployment%' THEN 'deployments'
      WHEN plain LIKE '%assistant%' THEN 'assistants'
      WHEN plain LIKE '%batch%' THEN 'batches'
      WHEN plain LIKE '%eval%' OR plain LIKE '%grader%' THEN 'evaluations'
    END AS area
  FROM named
)
SELECT time, account, area, operation, status, tier, principal_name, principal_id, confidence, caller_ip, evidence,
  reason, correlation_id
FROM placed
WHERE area IS NOT NULL
  AND (plain LIKE '%create%' OR plain LIKE '%upload%' OR plain LIKE '%import%' OR plain LIKE '%delete%'
    OR plain LIKE '%update%' OR plain LIKE '%modify%' OR plain LIKE '%cancel%' OR plain LIKE '%submit%'
    OR plain LIKE '%copy%' OR plain LIKE '%pause%' OR plain LIKE '%resume%' OR plain LIKE '%rungrader%')
ORDER BY time, account, correlation_id
