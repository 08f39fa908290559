--- The specs' toolbox: whole programs, run as subprocesses in folders of their own.
--
--     local support = require 'spec.support'
--
--     support.each_lua(function(lua)
--       it('runs again', function()
--         local project = support.project { ['main.lua'] = "print 'ready'" }
--         local program = lua:forkmon { 'main.lua', cwd = project.root }
--         program:expect 'ready\n'
--         project:write('main.lua', "print 'again'")
--         program:expect 'again\n'
--         assert.same({ 'killed', 2 }, { program:stop 'INT' })
--       end)
--     end)
--
-- `spec/support/process.lua` says what `program` can do, `project.lua` what `project` can.
--
-- After each spec, no process that it started may be left, wherever it fled to: all carry a
-- token in their environment, by which they are found. What is left is killed and reported.

local busted = require 'busted'
local posix = require 'posix'
local clock = require 'spec.support.clock'
local proc = require 'spec.support.proc'
local Process = require 'spec.support.process'
local Project = require 'spec.support.project'

local TOKEN = 'FORKMON_TEST_TOKEN'

local support = { wait_until = clock.wait_until, proc = proc }

local processes, projects = {}, {}
local spec_number = 0

local function token()
  return ('%d.%d'):format(posix.getpid 'pid', spec_number)
end

--- The environment of the one who runs the specs must not change their outcome.
local function clean_environment()
  local changes = {}
  for name in pairs(posix.getenv()) do
    if name:find '^LUA_' or name:find '^FORKMON_' or name == 'NO_COLOR' then changes[name] = false end
  end
  return changes
end

--- Starts a program: see `Process.start` for the options.
function support.start(options)
  local env = clean_environment()
  for name, value in pairs(options.env or {}) do env[name] = value end
  env[TOKEN] = token()
  options.env = env
  local process = Process.start(options)
  processes[#processes + 1] = process
  return process
end

--- A project folder that lasts as long as the spec: see `Project.new`.
function support.project(source)
  local project = Project.new(source)
  projects[#projects + 1] = project
  return project
end

--- All processes that this spec started and that live, whoever their parent is by now.
function support.living()
  for _, process in ipairs(processes) do process:has_ended() end
  return proc.carrying(TOKEN, token())
end

--- How often a text has a part, as it stands.
function support.count(text, part)
  local found, from = 0, 1
  while true do
    local _, last = text:find(part, from, true)
    if not last then return found end
    found, from = found + 1, last + 1
  end
end

--- Waits until the supervisor of a session sleeps: it is through with whatever woke it before.
function support.await_idle(program)
  local supervisor = proc.supervisor(program.pid)
  clock.wait_until('the supervisor to sleep', function() return proc.state(supervisor) == 'S' end)
end

--- Waits until nothing that this spec started is left.
function support.assert_nothing_left(patience)
  clock.wait_until(function()
    return 'these processes are left:\n' .. proc.describe(support.living())
  end, function() return #support.living() == 0 end, patience)
end

--- Ends a spec. A program that it did not stop is a fault at once; what descends from one
-- that has ended is given time to go.
function support.finish()
  local unstopped = {}
  for _, process in ipairs(processes) do
    if not process:has_ended() then unstopped[#unstopped + 1] = process.pid end
  end
  local ok, message = #unstopped == 0, 'the spec left running:\n' .. proc.describe(unstopped)
  if ok then ok, message = pcall(support.assert_nothing_left) end
  support.wait_until('the end of what was killed', function()
    local living = support.living() -- again and again: they may fork meanwhile
    for _, pid in ipairs(living) do posix.kill(pid, posix.SIGKILL) end
    return #living == 0
  end)
  for _, process in ipairs(processes) do
    process:wait()
    process:release()
  end
  for _, project in ipairs(projects) do project:discard() end
  processes, projects = {}, {}
  spec_number = spec_number + 1
  if not ok then error(message, 0) end
end

--- busted's `describe` for specs that run programs.
function support.describe(name, body)
  busted.describe(name, function()
    busted.after_each(support.finish)
    body()
  end)
end

----------------------------------------------------------------------------------------------
-- The Luas

local Lua = {}
Lua.__index = Lua

local root = posix.getcwd()

--- `name` is that of the interpreter; the rock is in `target/rocks/<name>`. Only Lua 5.5 is
-- not on the PATH but built with the specs.
local function new_lua(name)
  local built = root .. '/target/host/bin/' .. name
  local self = setmetatable({
    name = name,
    interpreter = posix.access(built, 'x') and built or name,
    version = name:match '%d%.%d$' or '5.1',
    tree = root .. '/target/rocks/' .. name,
  }, Lua)
  assert(posix.access(self.tree, 'x'), 'no rock installed for ' .. name .. ': run `make test`')
  return self
end

local function with_environment(options, additions)
  for name, value in pairs(options.env or {}) do additions[name] = value end
  options.env = additions
  return options
end

--- The environment in which `require 'forkmon'` finds the rock.
function Lua:paths()
  local lua_files = self.tree .. '/share/lua/' .. self.version
  return {
    PATH = self.tree .. '/bin:' .. os.getenv 'PATH',
    LUA_PATH = lua_files .. '/?.lua;' .. lua_files .. '/?/init.lua;;',
    LUA_CPATH = self.tree .. '/lib/lua/' .. self.version .. '/?.so;;',
  }
end

--- Starts the interpreter with these arguments, in this environment.
function Lua:start(options)
  table.insert(options, 1, self.interpreter)
  return support.start(with_environment(options, self:paths()))
end

--- Starts the command `forkmon` of this Lua's rock. No path leads to the rock but the PATH:
-- the command must find its modules itself.
function Lua:forkmon(options)
  table.insert(options, 1, 'forkmon')
  return support.start(with_environment(options, {
    PATH = self.tree .. '/bin:' .. os.getenv 'PATH',
  }))
end

--- The Luas in FORKMON_TEST_LUAS ("lua5.1 luajit"): `make test` sets it; without it, all that
-- have a rock.
function support.luas()
  local names = os.getenv 'FORKMON_TEST_LUAS'
  if not names then
    local rocks = posix.glob(root .. '/target/rocks/*') or error 'no rock installed: run `make test`'
    for i, path in ipairs(rocks) do rocks[i] = path:match '[^/]+$' end
    names = table.concat(rocks, ' ')
  end
  local luas = {}
  for name in names:gmatch '%S+' do luas[#luas + 1] = new_lua(name) end
  return luas
end

--- Defines specs for each of the Luas.
function support.each_lua(body)
  for _, lua in ipairs(support.luas()) do
    support.describe(lua.name, function() body(lua) end)
  end
end

--- Defines specs that are about the system and not about Lua: for one of the Luas, 5.4 if it is
-- among them. A file has these or those for each Lua: `spec/run.sh` tells files apart by it.
function support.one_lua(body)
  local luas = support.luas()
  local chosen = luas[1]
  for _, lua in ipairs(luas) do
    if lua.name == 'lua5.4' then chosen = lua end
  end
  support.describe(chosen.name, function() body(chosen) end)
end

return support
