-- Health of an ImageShareAcceptance: one Open Telekom Cloud project's answer to shared images.
-- Its status follows kstatus: observedGeneration, and the conditions Ready, Reconciling, Stalled.
--
--   being deleted                        Progressing  the status says what it waits for
--   the status is of another generation  Progressing  whatever the conditions still say
--   spec.suspend                         Suspended    nothing is sent to the cloud
--   Stalled is True                      Degraded     spec, Secret or cloud must be changed
--   Reconciling is True                  Progressing  the operator goes on by itself
--   Ready is True                        Healthy      every image has the wanted answer
--   all else                             Progressing

local generation = obj.metadata.generation
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  -- A condition of an older spec says nothing of this one.
  if condition.observedGeneration == nil or condition.observedGeneration == generation then
    conditions[condition.type] = condition
  end
end

local function is_true(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function words(condition)
  return condition.reason .. ": " .. condition.message
end

if obj.metadata.deletionTimestamp ~= nil then
  local message = "Being deleted"
  if conditions.Ready ~= nil and conditions.Ready.reason == "Rejecting" then
    message = conditions.Ready.message -- it says what is in the way
  elseif obj.metadata.finalizers ~= nil and #obj.metadata.finalizers > 0 then
    message = message .. "; waits for finalizers: " .. table.concat(obj.metadata.finalizers, ", ")
  end
  -- From 3.6 on Argo CD takes the words for an object that goes from deletionMessage.
  return { status = "Progressing", message = message, deletionMessage = message }
end

if status.observedGeneration == nil or status.observedGeneration < 0 then
  return {
    status = "Progressing",
    message = "The operator has not looked at it yet: does it run, and does it watch this namespace?",
  }
end

if status.observedGeneration ~= generation then
  return {
    status = "Progressing",
    message = "The operator has not looked at generation " .. generation
      .. " yet; its status is of generation " .. status.observedGeneration .. ".",
  }
end

if obj.spec.suspend == true then
  local known = ""
  if conditions.Ready ~= nil then
    known = " Last known: " .. conditions.Ready.reason .. ", images " .. (status.summary or "unknown")
      .. "."
  end
  return {
    status = "Suspended",
    message = "Nothing is sent to the cloud while spec.suspend is true." .. known,
  }
end

if is_true("Stalled") then
  return { status = "Degraded", message = words(conditions.Stalled) }
end

if is_true("Reconciling") then
  return { status = "Progressing", message = words(conditions.Ready or conditions.Reconciling) }
end

if is_true("Ready") then
  return { status = "Healthy", message = words(conditions.Ready) }
end

if conditions.Ready ~= nil then
  return { status = "Progressing", message = words(conditions.Ready) }
end

return { status = "Progressing", message = "The operator has not said yet whether it is ready." }
