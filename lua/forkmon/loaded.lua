--- What Lua has loaded before forkmon is enabled.
--
-- No checkpoint can be older than enable, so a change to any of these files has to restart the program. They are found
-- in four places: the modules in package.loaded, the functions on the stack, those that can be reached, as what
-- dofile has loaded, and the command line for the main script, which has left the stack when enable is called in a
-- coroutine. What has left no function behind, such as a file that returns a table of numbers, is not found.

local search = require 'forkmon.search'

local find, match, sub = string.find, string.match, string.sub
local getenv, getinfo, getlocal, getupvalue = os.getenv, debug.getinfo, debug.getlocal, debug.getupvalue
local getmetatable, getregistry = debug.getmetatable, debug.getregistry
local ipairs, next, pairs, type = ipairs, next, pairs, type
local package = package

local loaded = {}

-- The libraries that a Lua brings along.
local own_libraries = {
  _G = true, bit = true, bit32 = true, coroutine = true, debug = true, io = true, jit = true, ['jit.opt'] = true,
  math = true, os = true, package = true, string = true, table = true, utf8 = true,
}

-- To look for a module that comes from no file takes the longest: those of the interpreter itself, and ours.
local function is_looked_for(name)
  return type(name) == 'string' and not own_libraries[name] and name ~= 'forkmon' and sub(name, 1, 8) ~= 'forkmon.'
end

--- Adds the places where a search for a module looks to a list, up to the one where it is.
local function add_places(files, name)
  for _, templates in ipairs { package.path, package.cpath } do
    local paths, found = search.tried(name, templates)
    for _, path in ipairs(paths) do files[#files + 1] = path end
    if found then return end
  end
end

--- The files that the loaded modules come from, forkmon's aside, and the places before them: a file that appears there
--- is loaded by the next run. One that is away just now, as some editors do it, may come back at any place. A name may
--- lead to places that the module was not loaded from; these are watched in vain, which does no harm.
---@return string[]
function loaded.modules()
  local files = {}
  for name in pairs(package.loaded) do
    if is_looked_for(name) then add_places(files, name) end
  end
  return files
end

-- So many tables and functions are looked at: a program may have built up anything before.
local MOST_REACHED = 4000

--- The files that the functions come from which the program can reach, from its locals too, as far as they are looked
--- at.
---@return string[]
function loaded.reachable()
  local files, named = {}, {}
  local seen, queue, last = {}, { package.loaded, getregistry() }, 2
  -- Ours are no part of the program, and those of the interpreter are many.
  for name, value in pairs(package.loaded) do
    if type(name) == 'string' and not is_looked_for(name) and name ~= '_G' then seen[value] = true end
  end
  local function reach(value)
    local kind = type(value)
    if (kind == 'table' or kind == 'function') and not seen[value] and last < MOST_REACHED then
      seen[value] = true
      last = last + 1
      queue[last] = value
    end
  end
  local level, index = 2, 1
  while getinfo(level, 'l') do
    local name, value = getlocal(level, index)
    if name then reach(value) end
    level, index = name and level or level + 1, name and index + 1 or 1
  end
  local at = 0
  while at < last do
    at = at + 1
    local value = queue[at]
    if type(value) == 'table' then
      for key, field in next, value do
        reach(key)
        reach(field)
      end
      reach(getmetatable(value))
    else
      local source = getinfo(value, 'S').source
      if sub(source, 1, 1) == '@' and not named[source] then
        named[source] = true
        files[#files + 1] = sub(source, 2)
      end
      local number = 1
      local name, upvalue = getupvalue(value, number)
      while name do
        reach(upvalue)
        number = number + 1
        name, upvalue = getupvalue(value, number)
      end
    end
  end
  return files
end

--- The files that the running functions come from, innermost first.
---@return string[]
function loaded.running()
  local files, level = {}, 2
  local info = getinfo(level, 'S')
  while info do
    if sub(info.source, 1, 1) == '@' then files[#files + 1] = sub(info.source, 2) end
    level = level + 1
    info = getinfo(level, 'S')
  end
  return files
end

--- Whether the interpreter still runs its LUA_INIT, so that the main script is yet to be loaded.
---@return boolean
function loaded.initialising()
  local outermost, level = nil, 2
  local info = getinfo(level, 'S')
  while info do
    if info.what ~= 'C' then outermost = info end
    level = level + 1
    info = getinfo(level, 'S')
  end
  if not outermost or outermost.what ~= 'main' then return false end
  -- The variable holds either code, then the chunk is named after the variable, or '@file', as does the chunk's name.
  local versioned = 'LUA_INIT_' .. match(_VERSION, '%d+%.%d+'):gsub('%.', '_')
  local source = outermost.source
  return find(source, '^=LUA_INIT') ~= nil or source == getenv(versioned) or source == getenv('LUA_INIT')
end

-- Options of lua and luajit whose value may be an argument of its own.
local with_value = { ['-e'] = true, ['-l'] = true, ['-j'] = true }

--- The script that an interpreter's command line names.
---@param arguments string[] the first is the interpreter
---@return string|nil script
function loaded.script(arguments)
  local index = 2
  while arguments[index] and sub(arguments[index], 1, 1) == '-' do
    local argument = arguments[index]
    if argument == '--' then return arguments[index + 1] end
    -- `-` reads the script from the standard input, and luajit's -b compiles what follows instead of running it.
    if argument == '-' or sub(argument, 1, 2) == '-b' then return nil end
    index = index + (with_value[argument] and 2 or 1)
  end
  return arguments[index]
end

return loaded
