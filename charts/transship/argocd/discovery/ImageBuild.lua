-- What can be done with an ImageBuild. One that is suspended begins nothing, whoever asks; what goes on can be
-- stopped all the same.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
local build = obj.status ~= nil and obj.status.build or nil
local building = build ~= nil and build.completionTime == nil
return {
  build = { disabled = suspended, displayName = "Build now", iconClass = "fa fa-fw fa-hammer" },
  cancel = { disabled = not building, displayName = "Cancel", iconClass = "fa fa-fw fa-stop" },
  suspend = { disabled = suspended, displayName = "Suspend", iconClass = "fa fa-fw fa-pause" },
  resume = { disabled = not suspended, displayName = "Resume", iconClass = "fa fa-fw fa-play" },
}
