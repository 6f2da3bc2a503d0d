-- name: weights
-- row: A piece of evidence for or against a candidate, and what it adds to the candidate's score.
-- columns:
--   name: the evidence
--   kind: the column of `attribution` that it is added into
--   weight: the natural logarithm of how much likelier the evidence is if this candidate made the
--     call than if anybody else did
--   sentence: what it says, for a reader
--   why: where the figure comes from
-- how: The one place where the weights of the model are set: by reasoning, and held against simulated
--   tenants with known truth. A candidate's score is the sum of its
--   weights and of `-ln` of the number of candidates, so that all candidates together weigh about 1
--   before any evidence; its probability is its share of the exponentials of all scores.
SELECT name, kind, weight, sentence, why
FROM (VALUES
  ('address_same_hour', 'prefix_score', 4.6, 'was seen at the caller''s address prefix in the same hour',
   'a caller known to be at a prefix calls from it about 4 times in 10; a random prefix of a tenant has 1 in 250; ln(0.4 * 250)'),
  ('address_same_day', 'prefix_score', 4.2, 'was seen at the caller''s address prefix on the same day',
   'people move within a day: two thirds of that'),
  ('address_day_off', 'prefix_score', 3.8, 'was seen at the caller''s address prefix a day before or after',
   'two thirds again'),
  ('address_same_week', 'prefix_score', 3.2, 'was seen at the caller''s address prefix within a week',
   'a good half of that'),
  ('address_elsewhere', 'prefix_score', -3.0, 'was not seen at the caller''s address prefix within a week',
   'about 1 call in 20 comes from where its principal is never seen otherwise; ln(0.05)'),
  ('address_colleagues', 'prefix_score', -1.5, 'was not seen at the caller''s address prefix within a week, but others were',
   'a place of the organisation, such as an office: about 1 call in 5 comes from one where its principal is never seen otherwise; ln(0.2)'),
  ('address_hidden', 'prefix_score', 0.0, 'the call has no address to compare',
   'no address, no evidence'),
  ('entra_call', 'entra_score', 0.4, 'made Entra calls of its own from that prefix within a day',
   'who is at a prefix and also calls the service is half as likely again to be the one who calls it with a key'),
  ('entra_none', 'entra_score', 0.0, 'made no Entra calls of its own from that prefix within a day',
   'most callers use one way of authenticating: its absence says nothing'),
  ('grant_last_hour', 'recency_score', 1.0, 'obtained keys within the hour before',
   'keys are mostly fetched to be used: nearly three times as likely'),
  ('grant_last_day', 'recency_score', 0.7, 'obtained keys within the day before',
   'twice as likely'),
  ('grant_last_week', 'recency_score', 0.4, 'obtained keys within the week before',
   'one and a half times as likely'),
  ('grant_last_month', 'recency_score', 0.0, 'obtained keys within the month before',
   'the point of reference'),
  ('grant_older', 'recency_score', -0.5, 'obtained keys more than a month before',
   'interest fades: three fifths as likely'),
  ('grant_deliberate', 'deliberate_score', 0.4, 'asked for the keys through a tool or workload',
   'who asks for a key wants it: one and a half times as likely'),
  ('grant_portal', 'deliberate_score', -0.4, 'listed keys only by opening portal pages',
   'pages list keys unasked: two thirds as likely'),
  ('grant_unknown_app', 'deliberate_score', 0.0, 'obtained keys through an application that is not logged',
   'nothing known, nothing said'),
  ('rotated_once', 'rotation_score', -0.7, 'one of the two keys was regenerated since',
   'the logs rarely say which key: the one it holds still works in one case of two; ln(0.5)'),
  ('not_rotated', 'rotation_score', 0.0, 'no key was regenerated since',
   'the point of reference'),
  ('unseen_prior', 'unseen_score', -3.0, 'keys leak to callers whom no log names',
   'before any evidence, one key call in 20 is made by someone who never obtained the key where it is logged; ln(0.05)'),
  ('unseen_address', 'unseen_score', 1.0, 'no principal at all was seen at this address prefix within a week',
   'a stranger has a strange address nearly always, a holder seldom: about three times as likely'),
  ('unseen_colleague', 'unseen_score', 0.0, 'only principals that could not hold a key were seen at this address prefix',
   'one of them may have been given the key; a holder may just as well be there'),
  ('unseen_neighbour', 'unseen_score', 2.5, 'a principal that could hold a key was seen at this address prefix',
   'a key that is passed on goes to somebody at the same place more often than not: never out of question there')
) AS weights (name, kind, weight, sentence, why)
