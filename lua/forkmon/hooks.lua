--- The hooks: which functions of Lua reach files, and which of their arguments are paths.
--
-- Each function gets a `before` that sees its arguments and reports the files that are about to be reached; then the
-- original runs. The native `hook` makes of both one C function in whose frame the original runs, so names, levels,
-- yields and errors stay those of the original. Where somebody has put a Lua function in its place, a closure does.
--
-- For require the searchers are replaced, each in its slot: a `require` captured earlier is caught too, and who counts
-- the searchers or inserts one among them finds what they expect.
--
-- A `before` must never raise an error. Arguments that are no paths are passed over; the original raises its own.

local search = require 'forkmon.search'

local getinfo = debug.getinfo
local find, match = string.find, string.match
local ipairs, next, pairs, rawget, rawset, tostring, type = ipairs, next, pairs, rawget, rawset, tostring, type

local hooks = {}

---@class forkmon.Report where the hooks report to; paths are as the program gives them
---@field read fun(path: string) a file is about to be read
---@field look_up fun(paths: string[]) the first of these that exists is about to be read
---@field write fun(path: string) a file is about to be written, removed or renamed
---@field act fun() something else is about to happen that others can observe

--- A path as Lua's C functions take it: they take numbers too. Neither an empty string nor one with a zero byte in it
--- names a file.
local function path_of(value)
  if type(value) == 'number' then value = tostring(value) end
  if type(value) == 'string' and value ~= '' and not find(value, '\0', 1, true) then return value end
end

--- What runs before the functions of each library.
local function befores(report, package)
  local function read(value)
    local path = path_of(value)
    if path then report.read(path) end
  end

  local function write(value)
    local path = path_of(value)
    if path then report.write(path) end
  end

  local function open(value, mode)
    if mode == nil then mode = 'r' end
    -- Only the first letter and '+' matter; what else a mode may hold differs between versions of Lua.
    local kind = type(mode) == 'string' and match(mode, '^[rwa]')
    if not kind then return end
    if kind == 'r' then read(value) end
    if kind ~= 'r' or find(mode, '+', 1, true) then write(value) end
  end

  local function remove(path)
    write(path)
    report.act()
  end

  local function rename(from, to)
    write(from)
    write(to)
    report.act()
  end

  local function act()
    report.act()
  end

  local function load_library(path)
    -- The dynamic loader looks for a name without a slash in places of its own.
    if type(path) == 'string' and find(path, '/', 1, true) then read(path) end
  end

  local function look_up(name, templates, dot, slashes)
    name = path_of(name)
    if name and type(templates) == 'string' and (dot == nil or type(dot) == 'string')
      and (slashes == nil or type(slashes) == 'string') then
      report.look_up(search.candidates(name, templates, dot, slashes))
    end
  end

  local functions = {
    base = { dofile = read, loadfile = read },
    io = { open = open, lines = read, input = read, output = write, popen = act },
    os = { remove = remove, rename = rename, execute = act, tmpname = act },
    package = { searchpath = look_up, loadlib = load_library },
  }

  -- In the order of the searchers: for Lua files, for C libraries, for C libraries that hold several modules.
  local searchers = {
    function(name) look_up(name, package.path) end,
    function(name) look_up(name, package.cpath) end,
    function(name)
      local root = type(name) == 'string' and match(name, '^(.-)%.')
      if root then look_up(root, package.cpath) end
    end,
  }

  return functions, searchers
end

--- The slots of the three searchers that reach files. Other searchers may have been put among them, which are Lua
--- functions as a rule; the four of Lua itself are C functions, the one for package.preload first.
local function file_searchers(searchers)
  local slots = {}
  for slot, searcher in ipairs(searchers) do
    if type(searcher) == 'function' and getinfo(searcher, 'S').what == 'C' then slots[#slots + 1] = slot end
  end
  if #slots ~= 4 then return { 2, 3, 4 } end
  return { slots[2], slots[3], slots[4] }
end

--- Puts the hooks in place.
---@param globals table _G, or the like of it
---@param hook fun(original: function, before: function): function|nil the core's
---@param report forkmon.Report
---@return fun() remove takes the hooks away wherever nobody has replaced them since
function hooks.install(globals, hook, report)
  local replaced = {}

  local function replace(place, key, before)
    local original = rawget(place, key)
    if type(original) ~= 'function' then return end
    local ours = hook(original, before) or function(...)
      before(...)
      return original(...)
    end
    rawset(place, key, ours)
    replaced[#replaced + 1] = { place = place, original = original, ours = ours }
  end

  local functions, befores_of_searchers = befores(report, globals.package)
  for library, names in pairs(functions) do
    local place = library == 'base' and globals or globals[library]
    for name, before in pairs(names) do replace(place, name, before) end
  end
  local searchers = globals.package.searchers or globals.package.loaders
  for index, slot in ipairs(file_searchers(searchers)) do
    replace(searchers, slot, befores_of_searchers[index])
  end

  return function()
    for _, hooked in ipairs(replaced) do
      -- Looked for by value: a searcher changes its slot when another is inserted before it.
      for key, value in next, hooked.place do
        if value == hooked.ours then rawset(hooked.place, key, hooked.original) end
      end
    end
  end
end

return hooks
