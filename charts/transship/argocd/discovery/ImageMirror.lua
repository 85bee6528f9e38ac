-- What can be done with an ImageMirror. One that is suspended scans nothing, whoever asks.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
return {
  sync = { disabled = suspended, displayName = "Sync now", iconClass = "fa fa-fw fa-sync-alt" },
  suspend = { disabled = suspended, displayName = "Suspend", iconClass = "fa fa-fw fa-pause" },
  resume = { disabled = not suspended, displayName = "Resume", iconClass = "fa fa-fw fa-play" },
}
