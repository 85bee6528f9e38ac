-- Stops the build that goes on: the annotation has its number. It means nothing to any other build.
local build = obj.status ~= nil and obj.status.build or nil
if build == nil or build.completionTime ~= nil then
  return obj
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["transship.dev/cancel"] = tostring(build.number)
return obj
