-- The operator does not reconcile a suspended resource. Suspending a resource that is being
-- deleted would block its deletion.
local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

local actions = {}
actions["reconcile"] = { ["disabled"] = suspended }
actions["suspend"] = { ["disabled"] = suspended or deleting }
actions["resume"] = { ["disabled"] = not suspended }
return actions
