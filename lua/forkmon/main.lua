--- The main script, once it has been edited: run so that the next edit goes on from the changed statement.
--
-- Its interpreter is about to load it. It is run before that, in the place of what LUA_INIT runs, by a tail call: so it
-- is called from where the interpreter would call it, with the same handler for errors, and what comes after it is the
-- same, too. The interpreter then finds an empty script.

local loaded = require 'forkmon.loaded'
local script = require 'forkmon.script'

local find, match, sub = string.find, string.match, string.sub
local exit, open, stderr = os.exit, io.open, io.stderr
local pairs, rawset = pairs, rawset
local unpack = rawget(table, 'unpack') or rawget(_G, 'unpack')
local globals = _G

local main = {}

local function read(path)
  local file = open(path, 'rb')
  local content = file and file:read '*a'
  if file then file:close() end
  return content
end

--- Whether the program is that of Lua's distribution, or of LuaJIT's: only of these it is known what they do next. They
--- tell of it in the text that explains their command line.
local function is_known()
  local program = read '/proc/self/exe'
  return program ~= nil and find(program, '[script [args]', 1, true) ~= nil
end

--- The command line, where it is that of a plain interpreter, without options, and a script.
local function plain(arguments)
  local interpreter = match(arguments[1] or '', '[^/]*$')
  local is_plain = find(interpreter, '^lua[jit%d%.%-]*$') and arguments[2] and sub(arguments[2], 1, 1) ~= '-'
  return is_plain and arguments or nil
end

--- What is to be known of the script when it has been edited; before forkmon is enabled.
---@param arguments string[] the command line
---@return string|nil content
function main.content(arguments)
  return plain(arguments) and loaded.script(arguments) and read(arguments[2])
end

--- Whether the script is to be run here.
---@param core table
---@param arguments string[] the command line
---@return boolean
function main.is_edited(core, arguments)
  -- Without `debug.upvaluejoin`, what functions have of the script's locals could not be kept; see docs/fidelity.md.
  return debug.upvaluejoin ~= nil and plain(arguments) ~= nil and core.is_edited(core.absolute(arguments[2]))
end

--- The main script as a function, if it is to be run here; with its arguments.
---@param core table
---@param forkmon forkmon
---@param arguments string[] the command line
---@param former string|nil its content when the session began
---@return function|nil chunk
---@return any ...
function main.chunk(core, forkmon, arguments, former)
  if not main.is_edited(core, arguments) or not is_known() then return nil end
  local name = arguments[2]
  local path = core.absolute(name)
  local content = read(name)
  if not content then return nil end

  local host = {
    cut = core.cut,
    boundary = function(boundary)
      if forkmon.consumed(path, boundary.used, boundary.is_fence) then return read(path) or '' end
    end,
    refuse = function() core.refuse(path, true) end,
    stale = function() core.refuse(path, false) end,
    -- As the interpreter tells of it.
    fail = function(message)
      stderr:write(arguments[1], ': ', message, '\n')
      exit(1, true)
    end,
  }
  local chunk, reason = script.load(host, content, '@' .. name, nil, former)
  if not chunk or reason or not core.hide_script() then return nil end
  if not globals.arg then
    -- Lua 5.2 makes it later than this.
    local arg = {}
    for index, argument in pairs(arguments) do arg[index - 2] = argument end
    rawset(globals, 'arg', arg)
  end
  return chunk, unpack(arguments, 3)
end

return main
