--- A project's options in a file: `.forkmon`, Lua that returns a table of them, as `enable` takes it.
--
-- The file of a project is in the folder where one is, or above it, up to the folder that has `.git`. It is loaded as
-- Lua with what Lua has, and nothing that it assigns stays. Paths in it begin at its folder.

local loadfile, open, pairs, pcall, setmetatable, tostring, type =
  loadfile, io.open, pairs, pcall, setmetatable, tostring, type
local find, format, gmatch, match, sub = string.find, string.format, string.gmatch, string.match, string.sub
local setfenv = rawget(_G, 'setfenv')
local globals = _G

local config = {}

config.NAME = '.forkmon'

local function is_there(path)
  local file = open(path, 'rb')
  if file then file:close() end
  return file ~= nil
end

--- The file of the project that a folder is in, if there is one.
---@param directory string absolute
---@return string|nil path
function config.find(directory)
  local found
  local folder = directory == '/' and '' or directory
  local own = folder .. '/' .. config.NAME
  if is_there(own) then return own end
  -- Whose folder this is shows only at its top. Without one, the project is this folder alone.
  while not is_there(folder .. '/.git') do
    if folder == '' then return nil end
    folder = match(folder, '^(.*)/')
    if not found and is_there(folder .. '/' .. config.NAME) then found = folder .. '/' .. config.NAME end
  end
  return found
end

--- Has a relative path begin at a folder.
local function below(folder, path)
  if type(path) ~= 'string' or path == '' or sub(path, 1, 1) == '/' or find(path, '^fd:%d+$') then return path end
  return folder .. path
end

--- Reads a file of options, which are not checked.
---@param path string
---@return table|nil given
---@return string|nil message
function config.read(path)
  local environment = setmetatable({}, { __index = globals })
  local chunk, message = loadfile(path, 't', environment)
  if not chunk then return nil, message end
  if setfenv then setfenv(chunk, environment) end
  local done, given = pcall(chunk)
  if not done then return nil, tostring(given) end
  -- An empty file has no options.
  if given == nil then return {} end
  if type(given) ~= 'table' then
    return nil, format('%s: it must return a table of options, got %s', path, type(given))
  end
  local folder = match(path, '^(.*/)') or ''
  local changed = {}
  for name, value in pairs(given) do changed[name] = value end
  changed.events = below(folder, given.events)
  if type(given.watch) == 'string' then
    changed.watch = {}
    for item in gmatch(given.watch, '[^;]+') do changed.watch[#changed.watch + 1] = below(folder, item) end
  elseif type(given.watch) == 'table' then
    changed.watch = {}
    for key, item in pairs(given.watch) do changed.watch[key] = below(folder, item) end
  end
  return changed
end

return config
