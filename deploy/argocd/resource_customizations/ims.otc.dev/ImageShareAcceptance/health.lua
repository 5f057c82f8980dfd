-- Health of an ImageShareAcceptance, which accepts or rejects image shares of Open Telekom Cloud.
-- Its status follows kstatus: observedGeneration, and the conditions Ready, Reconciling, Stalled.
--
--   being deleted                        Progressing  message: what delays the deletion
--   status of another generation         Progressing  the conditions are outdated
--   spec.suspend                         Suspended    the operator sends no requests
--   spec.dryRun, work to do              Suspended    the operator only reports what it would send
--   Stalled is True                      Degraded     a change by a user is required
--   Reconciling is True                  Progressing  the operator retries automatically
--   Ready is True                        Healthy      all images have the requested membership
--   otherwise                            Progressing

local generation = obj.metadata.generation
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  -- Ignore conditions that describe an older generation.
  if condition.observedGeneration == nil or condition.observedGeneration == generation then
    conditions[condition.type] = condition
  end
end

local function is_true(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function describe(condition)
  return condition.reason .. ": " .. condition.message
end

if obj.metadata.deletionTimestamp ~= nil then
  local message = "Being deleted"
  if conditions.Ready ~= nil and conditions.Ready.reason == "Rejecting" then
    message = conditions.Ready.message -- states what delays the deletion
  elseif obj.metadata.finalizers ~= nil and #obj.metadata.finalizers > 0 then
    message = message .. "; waiting for finalizers: "
      .. table.concat(obj.metadata.finalizers, ", ")
  end
  -- Argo CD 3.6 and later shows deletionMessage for an object that is being deleted.
  return { status = "Progressing", message = message, deletionMessage = message }
end

if status.observedGeneration == nil or status.observedGeneration < 0 then
  return {
    status = "Progressing",
    message = "Not reconciled yet. Check that the operator runs and watches this namespace.",
  }
end

if status.observedGeneration ~= generation then
  return {
    status = "Progressing",
    message = "Generation " .. generation
      .. " is not reconciled yet; the status is of generation " .. status.observedGeneration .. ".",
  }
end

if obj.spec.suspend == true then
  local known = ""
  if conditions.Ready ~= nil then
    known = " Last known state: " .. conditions.Ready.reason
      .. ", images " .. (status.summary or "unknown") .. "."
  end
  return {
    status = "Suspended",
    message = "The operator sends nothing to the cloud while spec.suspend is true." .. known,
  }
end

if conditions.Ready ~= nil and conditions.Ready.reason == "DryRun" then
  return { status = "Suspended", message = describe(conditions.Ready) }
end

if is_true("Stalled") then
  return { status = "Degraded", message = describe(conditions.Stalled) }
end

if is_true("Reconciling") then
  return { status = "Progressing", message = describe(conditions.Ready or conditions.Reconciling) }
end

if is_true("Ready") then
  return { status = "Healthy", message = describe(conditions.Ready) }
end

if conditions.Ready ~= nil then
  return { status = "Progressing", message = describe(conditions.Ready) }
end

return { status = "Progressing", message = "The status has no Ready condition yet." }
