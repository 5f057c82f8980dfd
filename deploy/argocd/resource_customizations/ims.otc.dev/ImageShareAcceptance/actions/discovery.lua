-- A suspended object sends nothing, so there is nothing to reconcile. One that is being deleted
-- would wait for ever if it were suspended.
local suspended = obj.spec.suspend == true
local leaving = obj.metadata.deletionTimestamp ~= nil

local actions = {}
actions["reconcile"] = { ["disabled"] = suspended }
actions["suspend"] = { ["disabled"] = suspended or leaving }
actions["resume"] = { ["disabled"] = not suspended }
return actions
