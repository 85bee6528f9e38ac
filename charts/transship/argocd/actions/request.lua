-- Asks for a scan or a build at once: any new value of the annotation does.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["reconcile.transship.dev/requestedAt"] = os.date("!%Y-%m-%dT%XZ")
return obj
