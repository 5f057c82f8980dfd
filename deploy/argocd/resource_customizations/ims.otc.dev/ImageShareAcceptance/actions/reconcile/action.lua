-- Any new value asks for a pass at once, also for what failed before.
-- status.lastHandledReconcileAt shows the value that was answered last.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["ims.otc.dev/reconcile-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
