-- Health of an ImageMirror or an ImageBuild, by the rules of kstatus and in their order: a spec that the
-- operator has not seen yet, Reconciling, Stalled, Ready. The string library is not there, and not needed.
local health = { status = "Progressing", message = "Waiting for the operator" }
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "Deletion in progress"
  return health
end
if obj.spec ~= nil and obj.spec.suspend == true then
  health.status = "Suspended"
  health.message = obj.kind .. " is suspended"
  return health
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "The operator has not seen the newest spec yet"
  return health
end
local ready, reconciling, stalled
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" then ready = condition end
  if condition.type == "Reconciling" and condition.status == "True" then reconciling = condition end
  if condition.type == "Stalled" and condition.status == "True" then stalled = condition end
end
if reconciling ~= nil then
  health.message = reconciling.message
elseif stalled ~= nil then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. stalled.message
elseif ready ~= nil and ready.status == "True" then
  health.status = "Healthy"
  health.message = ready.message
elseif ready ~= nil then
  health.message = ready.message
end
return health
