--- Starts what is measured, reads its lines and saves its files, with the time on one clock.
--
-- Of each program only standard output is read, a line at a time; standard error is thrown away,
-- so that a terminal's speed is not measured. Whatever was started is stopped in the end.

local posix = require 'posix'
local proc = require 'spec.support.proc'

local PATIENCE = 20 -- seconds until a line that does not come is an error

local runner = {}

--- Seconds on CLOCK_MONOTONIC.
function runner.now()
  local seconds, nanoseconds = posix.clock_gettime 'monotonic'
  return seconds + nanoseconds / 1e9
end

local now = runner.now

function runner.pause(milliseconds)
  posix.poll({}, milliseconds)
end

--- Saves a file as simple editors do: cut and written in place. Returns when the save began.
function runner.save(path, text)
  local began = now()
  local descriptor = assert(posix.open(path, posix.O_WRONLY | posix.O_TRUNC))
  assert(posix.write(descriptor, text))
  posix.close(descriptor)
  return began
end

----------------------------------------------------------------------------------------------

local Program = {}
Program.__index = Program

local started = {} -- pid -> program

--- In the forked child: becomes the program.
local function become(options, input, output)
  posix.setpid('p', 0, 0)
  posix.dup2(input, 0)
  posix.dup2(output, 1)
  posix.dup2(posix.open('/dev/null', posix.O_WRONLY), 2)
  for descriptor = 3, 255 do posix.close(descriptor) end
  for name in pairs(posix.getenv()) do
    if name:find '^LUA_' or name:find '^FORKMON_' then posix.setenv(name, nil) end
  end
  for name, value in pairs(options.env or {}) do posix.setenv(name, value) end
  assert(posix.chdir(options.cwd))
  posix.execp(options[1], table.move(options, 2, #options, 1, {}))
end

--- Starts a program. The list part of `options` is its command line; `cwd` is where, `env` are
-- additions to its environment, `stdin` is a file to read (otherwise a pipe, for `write`).
-- `began` of the result is the time just before.
function runner.start(options)
  local input, keyboard
  if options.stdin then
    input = assert(posix.open(options.stdin, posix.O_RDONLY))
  else
    input, keyboard = posix.pipe()
  end
  local output, inlet = posix.pipe()
  local began = now()
  local pid = assert(posix.fork())
  if pid == 0 then
    pcall(become, options, input, inlet)
    posix._exit(127)
  end
  posix.close(input)
  posix.close(inlet)
  local program = setmetatable({ pid = pid, began = began, name = options[1], keyboard = keyboard,
    output = output, buffer = '' }, Program)
  started[pid] = program
  return program
end

--- Waits for a line that matches a pattern, passing others over. Returns when its last byte was
-- read, and what the pattern captured.
function Program:line(pattern)
  local deadline = now() + PATIENCE
  local arrived = now()
  while true do
    while true do
      local line, rest = self.buffer:match '^([^\r\n]*)\r?\n(.*)'
      if not line then break end
      self.buffer = rest
      local found = line:match(pattern)
      if found then return arrived, found end
    end
    if posix.rpoll(self.output, math.ceil((deadline - now()) * 1000)) ~= 1 then
      error(("%s: no line '%s'"):format(self.name, pattern), 0)
    end
    local piece = posix.read(self.output, 65536)
    arrived = now()
    if not piece or piece == '' then error(("%s: ended before '%s'"):format(self.name, pattern), 0) end
    self.buffer = self.buffer .. piece
  end
end

--- Writes to its standard input; returns when that began.
function Program:write(text)
  local began = now()
  assert(posix.write(self.keyboard, text))
  return began
end

--- Megabytes of memory in the whole session: PSS, and what the page tables take beside it.
-- Two processes may share their memory altogether (not copy on write, which PSS divides): forkmon's
-- keeper does so with the program. It has no descriptors, and the very same figures.
function Program:memory()
  local kilobytes, tables, seen, keepers = 0, 0, {}, {}
  local function count(pid, figures)
    seen[figures] = true
    kilobytes = kilobytes + (tonumber(figures:match '\nPss:%s*(%d+)') or 0)
    tables = tables + tonumber((proc.status(pid, 'VmPTE') or '0'):match '%d+')
  end
  for _, pid in ipairs(proc.tree(self.pid)) do
    local file = io.open(('/proc/%d/smaps_rollup'):format(pid))
    local figures = file and file:read 'a' or ''
    if file then file:close() end
    if next(proc.descriptors(pid)) then count(pid, figures) else keepers[pid] = figures end
  end
  for pid, figures in pairs(keepers) do
    if not seen[figures] then count(pid, figures) end
  end
  return kilobytes / 1000, tables / 1000
end

local function ends(pid, patience)
  local deadline = now() + patience
  repeat
    if posix.wait(pid, posix.WNOHANG) == pid then return true end
    runner.pause(2)
  until now() > deadline
end

--- Stops it with all that descends from it, and waits for its end.
function Program:stop()
  local tree = proc.tree(self.pid)
  posix.kill(self.pid, posix.SIGTERM)
  if self.keyboard then posix.close(self.keyboard) end
  posix.close(self.output)
  local ended = ends(self.pid, 3)
  for index, pid in ipairs(tree) do
    if index > 1 or not ended then posix.kill(pid, posix.SIGKILL) end
  end
  if not ended then ends(self.pid, 3) end
  started[self.pid] = nil
end

--- Stops everything that still runs.
function runner.stop_all()
  for _, program in pairs(started) do program:stop() end
end

return runner
