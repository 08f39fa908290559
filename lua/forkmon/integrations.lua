--- Integrations: what forkmon does for single programs beyond what it does for all.
--
-- Each is a file in the folder `integrations`, which docs/integrations.md tells how to write. It is loaded by `enable`,
-- and only in a program whose script has its name. It names modules, and gets each of them when that is loaded, before
-- the program does.

local ipairs, pcall, tostring = ipairs, pcall, tostring

local integrations = {}

---@class forkmon.Integration
---@field modules string[] what it adapts
---@field adapt fun(module: table, name: string, host: forkmon.Host) is called for each of them when it is loaded

---@class forkmon.Host what an integration can do
---@field before fun(path: string): boolean a file is about to be read, unless another one is now: true when this
--- returns because of a resume
---@field on_resume fun(callback: fun(resume: forkmon.Resume)) as forkmon.on_resume, but nothing is said of connections
---@field absolute fun(path: string): string
---@field is_edited fun(path: string): boolean whether an absolute path has been edited in this session

--- What is to be called with each module that the integration adapts, when it is loaded.
---@param name string of the integration
---@param integration forkmon.Integration
---@param host forkmon.Host
---@param warn fun(message: string)
---@return table<string, fun(module: table)>
function integrations.adapters(name, integration, host, warn)
  local adapters = {}
  for _, module in ipairs(integration.modules) do
    adapters[module] = function(loaded)
      local ok, message = pcall(integration.adapt, loaded, module, host)
      if not ok then
        warn("the integration for '" .. name .. "' does not fit this version of it, and is not used: "
          .. tostring(message))
      end
    end
  end
  return adapters
end

return integrations
