-- name: weights
-- row: A piece of evidence for or against a candidate, and what it adds to the candidate's score.
-- columns:
--   name: the evidence
--   kind: the column of `attribution` that it is added into
--   weight: the natural logarithm of how much likelier the evidence is if this candidate made the
--     call than if anybody else did; of `candidates`, a factor
--   sentence: what it says, for a reader
--   why: the reasoning that the figure began with, before it was fitted
-- how: The rows are those of the parameters file `model.toml`, and what `[attribution.weights]` of the
--   settings file puts in their place. A candidate's score is the sum of its weights; its probability is
--   its share of the exponentials of all scores.
SELECT name, kind, weight, sentence, why
FROM (VALUES
  -- The parameters file stands here.
) AS weights (name, kind, weight, sentence, why)
