-- With this script Orthanc sends every new radiograph to hilum, and sends it again while hilum is away.
--
-- Orthanc's configuration needs "LuaScripts": [".../route.lua"], "LuaHeartBeatPeriod": 30, and a modality "hilum".
-- Orthanc has the heart beat since 1.11.1. An older Orthanc sends failed instances again after the next success.

local DESTINATION = 'hilum'
local MODALITIES = { CR = true, DX = true }
local MOST_TRIES = 2880 -- one day, at one attempt every 30 s

local failed = {} -- instances to send again; Orthanc forgets them when it restarts, see docs/operations.md
local tries = {}

local function send(instance)
  -- Each instance is a job, because the script can see a job fail. SendToModality() would only write to the log.
  RestApiPost('/modalities/' .. DESTINATION .. '/store',
              DumpJson({ Resources = { instance }, Synchronous = false }, true))
end

local function send_again()
  local again = failed
  failed = {}
  for instance in pairs(again) do
    send(instance)
  end
end

local function instances_of(job)
  local description = ParseJson(RestApiGet('/jobs/' .. job))
  if description.Type ~= 'DicomModalityStore' then
    return {}
  end
  return description.Content.ParentResources or {}
end

function OnStoredInstance(instance, tags, metadata, origin)
  if MODALITIES[tags['Modality']] and tags['Manufacturer'] ~= 'hilum' then
    tries[instance] = 0
    send(instance)
  end
end

function OnJobFailure(job)
  for _, instance in ipairs(instances_of(job)) do
    if tries[instance] == nil then
      -- this script did not send it
    elseif tries[instance] < MOST_TRIES then
      tries[instance] = tries[instance] + 1
      failed[instance] = true
    else
      tries[instance] = nil
      print('hilum did not take instance ' .. instance .. ': send it by hand')
    end
  end
end

function OnJobSuccess(job)
  local ours = false
  for _, instance in ipairs(instances_of(job)) do
    ours = ours or tries[instance] ~= nil
    tries[instance] = nil
  end
  if ours then
    send_again()
  end
end

function OnHeartBeat()
  send_again()
end
