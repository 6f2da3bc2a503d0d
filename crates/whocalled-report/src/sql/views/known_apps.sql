-- name: known_apps
-- row: A Microsoft portal or studio that lists keys as a side effect of showing a page.
-- columns:
--   app_id: the application's id, as the `appid` claim has it
--   app_name: what people call it
-- how: The ids are those that Datadog's published detection rule on AI keys listed outside of the
--   portals leaves out. A principal that lists keys through one of them may only have opened a page;
--   through any other application (Azure CLI, PowerShell, an SDK, a workload) it asked for them.
SELECT app_id, app_name
FROM (VALUES
  ('c44b4083-3bb0-49c1-b47d-974e53cbdf3c', 'Azure Portal'),
  ('cb2ff863-7f30-4ced-ab89-a00194bcf6d9', 'Azure AI Foundry portal'),
  ('dc807dec-d211-4b3f-bc8a-43b3443c4874', 'Azure OpenAI Studio'),
  ('d7304df8-741f-47d3-9bc2-df0e24e2071f', 'Azure Machine Learning studio'),
  ('4e09c6ac-4372-45b7-a977-e9f89e673e32', 'Azure Speech Studio')
) AS apps (app_id, app_name)
