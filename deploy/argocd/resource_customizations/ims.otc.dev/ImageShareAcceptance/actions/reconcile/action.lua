-- Any new value triggers a reconcile, which also retries failed images.
-- status.lastHandledReconcileAt is the latest value that a reconcile handled.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["ims.otc.dev/reconcile-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
