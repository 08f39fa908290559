--- forkmon: a program goes on from the middle when a file it has read changes.
--
-- `enable` collects what the program has loaded so far, starts the native core, which forks guard and supervisor, and
-- puts hooks on the functions that open files. From then on the hooks report here: whatever the filter takes is a stop
-- point of the core, which may freeze a copy of the process there. When that copy is woken, the call that made it
-- returns once more, in another process, with a table that tells why; the program's on_resume functions see it first.

local config = require 'forkmon.config'
local depfile = require 'forkmon.depfile'
local filter = require 'forkmon.filter'
local hooks = require 'forkmon.hooks'
local loaded = require 'forkmon.loaded'
local native = require 'forkmon.native'
local options = require 'forkmon.options'
local search = require 'forkmon.search'

local error, ipairs, pairs, pcall, select, tostring, type = error, ipairs, pairs, pcall, select, tostring, type
local find, format, sub = string.find, string.format, string.sub
local getenv, open = os.getenv, io.open

---@class forkmon
local forkmon = {
  _VERSION = 'forkmon ' .. native.VERSION,
}

---@alias forkmon.Filter string|string[]|fun(path: string): boolean Lua patterns for the absolute path (`;` between)

---@class forkmon.Options
---@field filter? forkmon.Filter which files to watch; required here or in FORKMON_FILTER
---@field ignore? forkmon.Filter which of them not to watch
---@field quiet? boolean print no [forkmon] lines but warnings
---@field watch_lines? boolean print lines about files that are watched (default true)
---@field verbose? boolean print such a line for every file, and not one for all when they are many
---@field colors? boolean color these lines; by default on a terminal, unless NO_COLOR is set
---@field restart_delay? integer ms without a change before resuming (5)
---@field ignore_delay? integer ms between two resumes; later changes are held (0)
---@field exact? boolean take a checkpoint before every watched file
---@field overhead? number share of the run time that checkpoints may cost, above 0 and at most 1 (0.05)
---@field max_checkpoints? integer (64)
---@field max_memory? integer MB that checkpoints may come to hold before those are thinned that only save time
---@field content? boolean ignore saves that change no byte
---@field poll? integer|false ms between two looks at the files, instead of inotify
---@field stop_signal? string|integer what stops the old run before a resume ('TERM')
---@field stop_timeout? integer ms the old run has for it before it is killed (2000)
---@field clear? boolean clear the screen before a resumed run
---@field native_hooks? boolean hear of what C code opens and asks for, where that is possible (true)
---@field no_integration? string|string[] names of integrations that are not wanted
---@field watch? string|string[] files and directories to watch from the start
---@field config? boolean|string take further options from this file; `true`: from .forkmon in the project, if any
---@field events? string a path or `fd:N` to write JSON lines to

---@class forkmon.Resume
---@field changed string[] the files that changed
---@field checkpoint? string label of the checkpoint, if it has one
---@field count integer how many resumes there have been

---@class forkmon.Status
---@field pid integer the process that the shell started
---@field version string
---@field directory string
---@field command string
---@field state 'running'|'waiting'|'resuming'|'ending'
---@field program? integer the process of the program, while there is one
---@field elapsed number seconds that the present run has taken
---@field resumes integer
---@field files integer how many are watched
---@field polled integer how many of them are polled
---@field memory? integer bytes that all processes of the session hold
---@field restart_files string[] files for which only a restart will do
---@field checkpoints forkmon.Checkpoint[]

---@class forkmon.Checkpoint
---@field number integer
---@field pid integer
---@field name string the file that it was taken for, or its label
---@field explicit boolean the program asked for it
---@field at number when in the run it was taken, in seconds: what a resume from it saves
---@field resumed integer how often it was
---@field memory? integer bytes, what it shares counted in parts
---@field count integer how many files resume from it
---@field files string[] these files
---@field asked string[] paths of which it asked something without opening them
---@field missing string[] places where it looked for a file in vain: one that appears there counts as a change

local core ---@type table|nil the native core, once it was needed
local settings ---@type table|nil
local remove_hooks ---@type fun()|nil there while forkmon is enabled
local disabled = false
local watched, is_ignored ---@type fun(path: string): boolean
local callbacks = {} ---@type (fun(resume: forkmon.Resume))[]
local reopens = false -- whether one of them is the program's
local resuming = false

--- Runs the on_resume functions, if this process has just been resumed.
local function resumed(resume)
  if not resume then return end
  resuming = true
  core.joins(true)
  for _, callback in ipairs(callbacks) do
    local ok, message = pcall(callback, resume)
    if not ok then core.warn('on_resume: ' .. tostring(message)) end
  end
  core.joins(false)
  resuming = false
end

-- What the program calls when it is resumed, in its own Lua thread; nil when it was not.
local function after(resume)
  return resume and function() resumed(resume) end
end

-- A file that an on_resume function reads is no stop point: to resume in the middle of these functions would be of no
-- use to them. It belongs to the checkpoint they follow, so that a change to it runs them all anew.
---@type forkmon.Report
local report = {
  read = function(path)
    return after(core.visit(path, resuming))
  end,

  look_up = function(name, templates, dot, slashes)
    name = search.spelled(name, dot, slashes)
    local resume, from = core.look_up(name, templates, resuming)
    return after(resume), from
  end,

  write = function(path, empties, appends)
    path = core.absolute(path)
    core.wrote(path, appends and 'append' or 'make')
    if empties then core.empties(path) end
  end,

  change = function(path, moves)
    return core.wrote(core.absolute(path), moves and 'move' or 'update')
  end,

  ask = function(path, question, field)
    return after(core.inquire(path, resuming, question, field and core.fields[field]))
  end,

  act = function(from_now_on, is_child)
    core.effect(from_now_on, is_child)
  end,

  wait = function(begins)
    core.wait(begins)
  end,
}

--- Has C code observed, too. Returns what has the hooks of modules say which fields of a status are asked for, where
--- that is possible.
local function observe()
  local observing, warning = core.observe()
  if warning then core.warn(warning) end
  if not observing then return nil end
  return function(original, names)
    local numbers = {}
    for name, field in pairs(names) do numbers[name] = core.fields[field] end
    return core.hint(original, numbers)
  end
end

-- What integrations get.
---@type forkmon.Host
local host = {
  absolute = function(path) return core.absolute(path) end,

  is_edited = function(path) return core.is_edited(path) end,

  before = function(path)
    if resuming or not remove_hooks then return false end
    path = core.absolute(path)
    core.visit(path, true)
    -- Where the filter does not take it, it is not watched, and there is nothing to stop for.
    local _, resume = core.consumed(path, 0, false)
    resumed(resume)
    return resume ~= nil
  end,

  on_resume = function(callback) callbacks[#callbacks + 1] = callback end,
}

--- What has to be called with which modules when they are loaded.
local function adapters()
  local name = options.integration(loaded.script(core.cmdline()), settings.no_integration)
  if not name then return {} end
  local integration = require('forkmon.integrations.' .. name)
  return require('forkmon.integrations').adapters(name, integration, host, core.warn)
end

--- Completes the settings by what the core needs to know of the program at its start.
local function survey()
  local own = search.home and core.absolute(search.home .. 'forkmon')
  local files, seen = {}, {}
  -- forkmon's own files are no part of the program, and may be installed anew while it runs.
  local function is_own(path)
    return own and sub(path, 1, #own) == own and (sub(path, #own + 1) == '.lua' or sub(path, #own + 1, #own + 1) == '/')
  end
  local function add(path)
    if not seen[path] and not is_own(path) then
      seen[path] = true
      files[#files + 1] = path
    end
  end

  for _, file in ipairs(loaded.modules()) do
    local path = core.absolute(file)
    if watched(path) then add(path) end
  end
  if not loaded.initialising() then
    for _, file in ipairs(loaded.reachable()) do
      local path = core.absolute(file)
      if watched(path) then add(path) end
    end
  end
  -- Scripts count whatever the filter says: who edits a program under forkmon wants to see it run.
  for _, file in ipairs(loaded.running()) do
    local path = core.absolute(file)
    if not is_ignored(path) then add(path) end
  end
  local script = loaded.script(core.cmdline())
  -- Before the script is loaded nobody has gone anywhere; where it is missing, the interpreter says so, or, as `nelua`
  -- does, brings its own.
  if script and sub(script, 1, 1) ~= '/' and not loaded.initialising() then
    local file = open(script, 'rb')
    if file then
      file:close()
    else
      core.warn(format("the script '%s' is not found from the folder that the program has gone to: enable forkmon "
        .. 'before that, or name the script by its absolute path; its changes are not noticed', script))
    end
  end
  script = script and core.absolute(script)
  if script and not is_ignored(script) then
    if loaded.initialising() then settings.main = script else add(script) end
  end
  -- It was read before, whatever the filter says of it.
  if type(settings.config) == 'string' then add(core.absolute(settings.config)) end
  settings.before = files
  settings.inherited = getenv('FORKMON_COMMAND') ~= nil
end

--- Makes the given settings the present ones.
local function adopt(new)
  if new.colors == nil then
    local no_color = getenv('NO_COLOR')
    new.colors = core.isatty(2) and (no_color == nil or no_color == '')
  end
  for index, path in ipairs(new.watch) do new.watch[index] = core.absolute(path) end
  local wanted, ignored
  watched, is_ignored, wanted, ignored = filter.compile(new.filter, new.ignore, core.warn)
  core.filter(watched, wanted, ignored, { new.filter, new.ignore })
  settings = new
end

--- Raises an error in the name of the API function's caller when an argument is of the wrong type.
local function expect(name, argument, wanted, value)
  if type(value) ~= wanted then
    error(format("forkmon.%s: argument '%s' must be a %s, got %s", name, argument, wanted, type(value)), 3)
  end
end

--- Reads the file of options that is wanted, as `options.resolve` asks for it.
local function read_config(wanted)
  local path = wanted
  if wanted == true then path = config.find(core.getcwd()) end
  if not path then return nil end
  local given, message = config.read(path)
  if not given then return nil, message end
  return given, path
end

local function depend(paths)
  for _, path in ipairs(paths) do
    if not core.depends(path) then return nil, format("'%s' cannot be watched", path) end
  end
  return true
end

--- Starts forkmon; a second call only changes the options that it gives.
---
--- Raises an error for wrong options, on another system than Linux and in a process with threads. Does nothing when
--- FORKMON_DISABLE is set.
---@param given? forkmon.Options
---@return forkmon|nil self nil when the system refuses what it takes
---@return string|nil message
function forkmon.enable(given)
  if options.truthy(getenv('FORKMON_DISABLE')) then return forkmon end
  if given ~= nil and type(given) ~= 'table' then
    error('forkmon.enable: options must be a table, got ' .. type(given), 2)
  end
  if disabled then return nil, 'forkmon was disabled, which cannot be undone' end
  local found, message = native.load()
  if not found then error(message, 2) end
  core = found
  local new
  new, message = options.resolve(given or {}, remove_hooks and settings, getenv, read_config)
  if not new then error('forkmon.enable: ' .. message, 2) end
  adopt(new)
  if remove_hooks then
    core.configure(settings)
    if given and given.watch then
      for _, path in ipairs(settings.watch) do core.watch(path) end
    end
    return forkmon
  end

  survey()
  local adapts = adapters()
  local started, outcome = core.start(settings)
  if not started then
    if find(outcome, '^threads:') then error('forkmon.enable: ' .. outcome, 2) end
    return nil, outcome
  end
  remove_hooks = hooks.install(_G, core.hook, report, core.clock, adapts, settings.native_hooks and observe())
  core.reopens(reopens)
  resumed(outcome)
  return forkmon
end

--- Removes the hooks. No further checkpoint is taken; those there are stay.
function forkmon.disable()
  if not remove_hooks then return end
  remove_hooks()
  remove_hooks = nil
  disabled = true
  core.disable()
end

--- Whether forkmon is at work in this process.
---@return boolean
function forkmon.enabled()
  return remove_hooks ~= nil and core.active()
end

--- Takes a checkpoint here.
---@param label? string on_resume functions see it
---@return boolean|nil resumed true when it returns because of a resume; nil when none can be taken
---@return string|nil message
function forkmon.checkpoint(label)
  if label ~= nil then expect('checkpoint', 'label', 'string', label) end
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  if resuming then return nil, 'no checkpoint can be taken in an on_resume function' end
  local taken, message, resume = core.checkpoint(label)
  if not taken then return nil, message or 'there is no memory left' end
  resumed(resume)
  return resume ~= nil
end

--- Makes a file or directory, which may not exist yet, a dependency of the last checkpoint.
---@param path string
---@return boolean|nil watched
---@return string|nil message
function forkmon.watch(path)
  expect('watch', 'path', 'string', path)
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  if core.watch(core.absolute(path)) then return true end
  return nil, 'the path cannot be watched'
end

--- Says what the last subprocess (`os.execute`, `io.popen`) has read: a change of one of these files resumes from
--- before it was started. To be called when it has ended. A file that was saved while it ran counts as changed, once.
---@param path string
---@param ... string more of them
---@return boolean|nil depends
---@return string|nil message
function forkmon.depends(path, ...)
  local paths = { path, ... }
  for index = 1, select('#', ...) + 1 do expect('depends', 'path', 'string', paths[index]) end
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  return depend(paths)
end

--- As `depends`, with the files that a compiler has named in a file of its own (`cc -MMD`), as rules for make.
---@param path string
---@return boolean|nil depends
---@return string|nil message
function forkmon.depfile(path)
  expect('depfile', 'path', 'string', path)
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  local file, message = open(path, 'rb')
  if not file then return nil, message end
  local text = file:read '*a'
  file:close()
  if not text then return nil, format("'%s' cannot be read", path) end
  return depend(depfile.paths(text))
end

--- Says that all the program has done so far depends on no more than the first bytes of a file. A change of what comes
--- behind them resumes here, or from an earlier call, and not from before the file was opened. A checkpoint is taken
--- where enough time went by since the last one.
---@param path string a file that the program has opened
---@param offset integer how many bytes
---@param fence? boolean the next edit is likely to be right behind: take one in any case
---@return boolean|nil resumed true when it returns because of a resume: read on from `offset` of the file as it is now
---@return string|nil message
function forkmon.consumed(path, offset, fence)
  expect('consumed', 'path', 'string', path)
  expect('consumed', 'offset', 'number', offset)
  if offset < 0 or offset % 1 ~= 0 or offset > 2 ^ 53 then
    error(format("forkmon.consumed: argument 'offset' must be a number of bytes, got %s", tostring(offset)), 2)
  end
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  if resuming then return nil, 'no checkpoint can be taken in an on_resume function' end
  local is_watched, resume = core.consumed(core.absolute(path), offset, fence == true)
  if not is_watched then return nil, 'the file is not watched' end
  resumed(resume)
  return resume ~= nil
end

--- What the session is and which checkpoints it has, as `forkmon status --json` prints it.
---@return forkmon.Status|nil status
---@return string|nil message
function forkmon.status()
  if not forkmon.enabled() then return nil, 'forkmon is not enabled' end
  return core.ask(core.session(), 'status')
end

--- Has `callback` called in every resumed process, before the program goes on. What it reads belongs to the checkpoint
--- that was resumed. It is taken to open anew what a checkpoint cannot carry, such as connections.
---@param callback fun(resume: forkmon.Resume)
function forkmon.on_resume(callback)
  expect('on_resume', 'callback', 'function', callback)
  callbacks[#callbacks + 1] = callback
  reopens = true
  if forkmon.enabled() then core.reopens(true) end
end

return forkmon
