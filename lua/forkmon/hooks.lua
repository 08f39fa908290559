--- The hooks: which functions of Lua reach files, and which of their arguments are paths.
--
-- Each function gets a `before` that sees its arguments and reports the files that are about to be reached; then the
-- original runs. The native `hook` makes of both one C function in whose frame the original runs, so names, levels,
-- yields and errors stay those of the original. Where somebody has put a Lua function in its place, a closure does.
--
-- For require the searchers are replaced, each in its slot: a `require` captured earlier is caught too, and who counts
-- the searchers or inserts one among them finds what they expect.
-- Only `debug` shows that one has another table for `package`.
--
-- A `before` runs in a Lua thread of forkmon's, so that the program's debug hooks do not see it. What it returns first,
-- a function or nil, is then called in the program's thread: after a resume, the program's own functions are. A
-- `before` must never raise an error. Arguments that are no paths are passed over; the original raises its own.

local getinfo = debug.getinfo
local find, match, sub = string.find, string.match, string.sub
local getmetatable, ipairs, next, pairs = getmetatable, ipairs, next, pairs
local rawget, rawset, setmetatable, tostring, type = rawget, rawset, setmetatable, tostring, type

local modules = require 'forkmon.modules'

local hooks = {}

---@class forkmon.Report where the hooks report to; paths are as the program gives them
---@field read fun(path: string): fun()|nil a file is about to be read; what to call before that
---@field look_up fun(name: string, templates: string, dot: string?, slashes: string?): fun()|nil, integer|nil a module
--- is about to be looked for, as package.searchpath does, and read; what to call before that, and when there is nothing
--- at the first places, where in `templates` the next one stands
---@field write fun(path: string, empties: boolean?, appends: boolean?) a file is about to be written, or made;
--- `empties`: it is opened to be written from its beginning, and read; `appends`: to be written at its end
---@field change fun(path: string, moves: boolean): boolean a file that must be there is about to be written in
--- place or, with `moves`, removed or renamed; false when that is going to fail
---@field ask fun(path: string, question: string, field: string?): fun()|nil something is about to be asked of a path
--- without opening it: a field of its 'status' or 'link_status' (of a link itself), or 'all'; where a 'link' points to;
--- the 'names' in a folder; what to call before that
---@field act fun(from_now_on: boolean?, is_child: boolean?) something else is about to happen that others can observe,
--- or that cannot be done again; `from_now_on`: and may at any time after; `is_child`: a subprocess is started
---@field wait fun(begins: boolean) a subprocess is about to be started, which the program waits for; or has ended

--- A string as Lua's C functions take it: they take numbers too, and nothing from a zero byte on.
local function string_of(value)
  if type(value) == 'number' then value = tostring(value) end
  if type(value) == 'string' and not find(value, '\0', 1, true) then return value end
end

--- A path likewise. An empty one names no file.
local function path_of(value)
  value = string_of(value)
  if value ~= '' then return value end
end

--- What runs before the functions of each library. `is_alone`: C code is not observed, and os.execute is Lua's.
local function befores(report, io, package, is_alone)
  local function read(value)
    local path = path_of(value)
    if path then return report.read(path) end
  end

  local function write(value, empties, appends)
    local path = path_of(value)
    if path then report.write(path, empties, appends) end
  end

  local function change(value, moves)
    local path = path_of(value)
    return path and report.change(path, moves)
  end

  local function output(value)
    write(value)
  end

  local function open(value, mode)
    if mode == nil then mode = 'r' end
    -- Only the first letter and '+' matter; what else a mode may hold differs between versions of Lua.
    local kind = type(mode) == 'string' and match(mode, '^[rwa]')
    if not kind then return end
    local updates = find(mode, '+', 1, true) ~= nil
    local after
    if kind == 'r' or kind == 'a' and updates then after = read(value) end
    if kind ~= 'r' then
      write(value, kind == 'w' and updates, kind == 'a')
    elseif updates then
      change(value, false)
    end
    return after
  end

  local function remove(path)
    change(path, true)
    report.act()
  end

  local function rename(from, to)
    if change(from, true) then write(to) end
    report.act()
  end

  local function act()
    report.act()
  end

  local function run()
    report.act(false, true)
  end

  -- In C code the start and the end of what is waited for are seen by themselves.
  local waits = false

  local function execute(command)
    run()
    waits = is_alone and string_of(command) ~= nil
    if waits then report.wait(true) end
  end

  local function executed()
    if waits then report.wait(false) end
  end

  -- What is read from a terminal or a pipe is gone: a run from before it would read what comes next.
  local function load_file(value)
    if value ~= nil then return read(value) end
    report.act() -- it is standard input that is read
  end

  local stdin, current_input = io.stdin, io.input

  -- The iterator consumes later, and out of sight.
  local function consume_lines()
    report.act(true)
  end

  local function read_input()
    if current_input() == stdin then report.act() end
  end

  local function lines(value)
    if value ~= nil then return read(value) end
    if current_input() == stdin then report.act(true) end
  end

  local function load_library(path)
    -- The dynamic loader looks for a name without a slash in places of its own.
    if type(path) == 'string' and find(path, '/', 1, true) then return read(path) end
  end

  local function look_up(name, templates, dot, slashes)
    name = string_of(name)
    if name and type(templates) == 'string' and (dot == nil or type(dot) == 'string')
      and (slashes == nil or type(slashes) == 'string') then
      return report.look_up(name, templates, dot, slashes)
    end
  end

  local functions = {
    base = { dofile = load_file, loadfile = load_file },
    io = { open = open, lines = lines, input = read, output = output, popen = run, read = read_input },
    os = { remove = remove, rename = rename, execute = execute, tmpname = act },
    package = { searchpath = look_up, loadlib = load_library },
  }

  -- Where a look-up has shown that nothing is at the first places, the searcher need not try to open files there: it
  -- is told where the others begin. What it finds is the same, and it tells of places only when it finds nothing: then
  -- it has tried all.
  local function searcher(key, name_of)
    return function(name)
      local templates = package[key]
      name = name_of(name)
      if not name then return end
      local after, from = look_up(name, templates)
      return after, from and sub(templates, from)
    end
  end

  local function whole(name) return name end
  local function root(name) return type(name) == 'string' and match(name, '^(.-)%.') end

  -- In the order of the searchers: for Lua files, for C libraries, for C libraries that hold several modules.
  local searchers = { searcher('path', whole), searcher('cpath', whole), searcher('cpath', root) }

  return functions, searchers, { read = act, lines = consume_lines }, { execute = is_alone and executed or nil }
end

--- The slots of the three searchers that reach files, and of the one for package.preload. Other searchers may have been
--- put among them, which are Lua functions as a rule; the four of Lua itself are C functions, the one for
--- package.preload first.
local function searcher_slots(searchers)
  local slots = {}
  for slot, searcher in ipairs(searchers) do
    if type(searcher) == 'function' and getinfo(searcher, 'S').what == 'C' then slots[#slots + 1] = slot end
  end
  if #slots ~= 4 then return { 2, 3, 4 }, 1 end
  return { slots[2], slots[3], slots[4] }, slots[1]
end

--- Puts the hooks in place.
---@param globals table _G, or the like of it
---@param hook fun(original: function, before: function, only: any, stand_in: table?, after: function?): function,
--- boolean the core's; with `only`, what comes before sees only the calls whose first argument is that; with
--- `stand_in`, a searcher takes its path from there, where what comes before returns one as its second value, and not
--- from `package`; what comes `after` sees the first result, and may return another; when the second result is false,
--- the first does not call the original
---@param report forkmon.Report
---@param clock fun(): number stands in for os.clock, which begins anew in every process
---@param adapters table<string, fun(module: table)> called with modules when they are loaded, by their names
---@param hint? fun(original: function, names: table): function|nil where C code is observed: stands in for a function
--- that asks for fields of a status
---@return fun() remove takes the hooks away wherever nobody has replaced them since
function hooks.install(globals, hook, report, clock, adapters, hint)
  local replaced, package = {}, globals.package

  local function put(place, key, ours)
    replaced[#replaced + 1] = { place = place, original = rawget(place, key), ours = ours }
    rawset(place, key, ours)
  end

  local function replace(place, key, before, only, stand_in, after)
    local original = rawget(place, key)
    if type(original) ~= 'function' then return end
    local ours, is_whole = hook(original, before, only, stand_in, after)
    put(place, key, is_whole and ours or function(...)
      ours(...)
      return original(...)
    end)
  end

  -- A module is hooked when its loader returns, before anybody can put one of its functions aside.
  local known, seen = modules.befores(report, path_of), hint and modules.seen or {}
  local waiting = {}
  for name in pairs(known) do waiting[name] = true end
  for name in pairs(seen) do waiting[name] = true end
  for name in pairs(adapters) do waiting[name] = true end

  local function adopt(name, module)
    if not waiting[name] or type(module) ~= 'table' then return end
    waiting[name] = nil
    if adapters[name] then adapters[name](module) end
    local told = seen[name] or {}
    for key, before in pairs(known[name] or {}) do
      if told[key] == nil then replace(module, key, before) end
    end
    for key, fields in pairs(told) do
      local original = rawget(module, key)
      if fields and type(original) == 'function' then put(module, key, hint(original, fields) or original) end
    end
  end

  -- Those that a searcher of somebody else's has found are hooked at the next search.
  local function adopt_loaded()
    for name in pairs(waiting) do adopt(name, rawget(package.loaded, name)) end
  end

  local searched ---@type any the name that a searcher is looking for
  local function wrap_loader(loader)
    local name = searched
    if not waiting[name] or type(loader) ~= 'function' then return end
    return function(...)
      local module = loader(...)
      adopt(name, module)
      return module
    end
  end

  -- Of a Lua function in its place, the end is not heard of.
  local execute = globals.os.execute
  local is_alone = not hint and type(execute) == 'function' and getinfo(execute, 'S').what == 'C'
  local functions, befores_of_searchers, befores_of_stdin, afters = befores(report, globals.io, package, is_alone)
  for library, names in pairs(functions) do
    local place = library == 'base' and globals or globals[library]
    for name, before in pairs(names) do replace(place, name, before, nil, nil, afters[name]) end
  end
  local searchers = package.searchers or package.loaders
  local slots, preload = searcher_slots(searchers)
  -- Of modules that the interpreter brings along, and of all others.
  replace(searchers, preload, function(name)
    searched = name
    adopt_loaded()
  end, nil, nil, wrap_loader)
  for index, slot in ipairs(slots) do
    local before = befores_of_searchers[index]
    replace(searchers, slot, function(name)
      searched = name
      return before(name)
    end, nil, setmetatable({}, { __index = package }), wrap_loader)
  end
  adopt_loaded()

  put(globals.os, 'clock', clock)
  local stdin = globals.io.stdin
  local methods = getmetatable(stdin)
  methods = type(methods) == 'table' and methods.__index
  if type(methods) == 'table' then
    for name, before in pairs(befores_of_stdin) do replace(methods, name, before, stdin) end
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
