--- A program under test, run as a child of the specs.
--
-- Its output is collected through a pipe (both streams in their true order) or a terminal,
-- and read whenever something is waited for. An output keeps a position: what `expect`
-- finds lies behind it, so the same line cannot satisfy two expectations, and what is left
-- behind it is what nobody expected.

local posix = require 'posix'
local clock = require 'spec.support.clock'

-- Writing to a program that has ended is an error to report, not the end of the specs.
posix.signal(posix.SIGPIPE, posix.SIG_IGN)

----------------------------------------------------------------------------------------------
-- Output

local Output = {}
Output.__index = Output

local function new_output(descriptor)
  return setmetatable({ descriptor = descriptor, text = '', position = 1 }, Output)
end

--- Reads a piece of what is there, waiting up to so many milliseconds for it; returns whether
-- there was any. A terminal ends with an error (EIO) instead of end-of-file; both close it.
function Output:collect(milliseconds)
  if not self.descriptor or posix.rpoll(self.descriptor, milliseconds) ~= 1 then return false end
  local piece = posix.read(self.descriptor, 65536)
  if not piece or piece == '' then
    self:close()
    return false
  end
  self.text = self.text .. piece
  return true
end

function Output:drain()
  repeat until not self:collect(0)
end

function Output:close()
  if self.descriptor then posix.close(self.descriptor) end
  self.descriptor = nil
end

--- What was written and not expected so far.
function Output:unread()
  self:drain()
  return self.text:sub(self.position)
end

function Output:fail(expectation)
  local seen, unread = self.text:sub(1, self.position - 1), self.text:sub(self.position)
  error(('%s%s\n--- output expected so far\n%s\n--- output after it\n%s\n---'):format(
    expectation, self.descriptor and '' or ' (the output has ended)', seen, unread), 3)
end

local function await(output, find)
  local deadline = clock.now() + clock.patience
  while true do
    local first, last = find(output.text, output.position)
    if first then return first, last end
    if not output.descriptor or clock.now() > deadline then return nil end
    output:collect(50)
  end
end

--- Waits until a text appears, as it stands.
function Output:expect(text)
  local _, last = await(self, function(all, position) return all:find(text, position, true) end)
  if not last then self:fail(('expected %q'):format(text)) end
  self.position = last + 1
end

--- Waits until a Lua pattern matches; returns its captures.
function Output:expect_match(pattern)
  local first, last = await(self, function(all, position) return all:find(pattern, position) end)
  if not first then self:fail(('expected a match of %q'):format(pattern)) end
  local from = self.position
  self.position = last + 1
  return self.text:match(pattern, from)
end

--- Waits for as much output as the text is long: it must be the text, with nothing before it.
function Output:expect_exactly(text)
  await(self, function(all, position)
    return #all >= position + #text - 1 or all:sub(position) ~= text:sub(1, #all - position + 1)
  end)
  if self.text:sub(self.position, self.position + #text - 1) ~= text then
    self:fail(('expected next %q'):format(text))
  end
  self.position = self.position + #text
end

----------------------------------------------------------------------------------------------
-- Starting

--- Both ends of a new terminal, without echo and newline translation: output arrives as the
-- program wrote it. Ctrl+C and Ctrl+Z stay what they are.
local function open_terminal()
  local master = assert(posix.openpt(posix.O_RDWR | posix.O_NOCTTY))
  assert(posix.grantpt(master))
  assert(posix.unlockpt(master))
  local name = posix.ptsname(master)
  local slave = assert(posix.open(name, posix.O_RDWR | posix.O_NOCTTY))
  local mode = posix.tcgetattr(slave)
  mode.lflag = mode.lflag & ~posix.ECHO
  mode.oflag = mode.oflag & ~posix.OPOST
  posix.tcsetattr(slave, posix.TCSANOW, mode)
  return master, slave, name
end

--- What becomes of descriptors 0, 1 and 2, and this side's ends of pipes and terminal.
local function plan_streams(options)
  if options.tty then
    local master, slave, name = open_terminal()
    return { stdin = slave, stdout = slave, stderr = slave, terminal = name,
      input = posix.dup(master), output = master }
  end
  local streams = {}
  if options.stdin == 'pipe' then
    streams.stdin, streams.input = posix.pipe()
  else
    streams.stdin = assert(posix.open(options.stdin or '/dev/null', posix.O_RDONLY))
  end
  streams.output, streams.stdout = posix.pipe()
  if options.stderr == 'separate' then
    streams.errors, streams.stderr = posix.pipe()
  else
    streams.stderr = streams.stdout
  end
  if options.stdout then
    streams.stdout = assert(posix.open(options.stdout, posix.O_WRONLY))
  end
  return streams
end

--- In the forked child: becomes the program, or raises. `report` closes when it has.
local function become(options, streams, report)
  if options.tty then
    posix.setpid 's'
    posix.open(streams.terminal, posix.O_RDWR) -- the first a session leader opens controls it
  else
    posix.setpid('p', 0, 0)
  end
  for number, name in ipairs { 'stdin', 'stdout', 'stderr' } do
    posix.dup2(streams[name], number - 1)
  end
  -- A pipe of another program, held open here, would never end.
  for descriptor = 3, 255 do
    if descriptor ~= report then posix.close(descriptor) end
  end
  posix.fcntl(report, posix.F_SETFD, posix.FD_CLOEXEC)
  -- Whoever started the specs may ignore signals (a shell does so for background jobs).
  for _, name in ipairs { 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP' } do
    posix.signal(posix[name], posix.SIG_DFL)
  end
  for name, value in pairs(options.env or {}) do posix.setenv(name, value or nil) end
  if options.cwd then assert(posix.chdir(options.cwd)) end
  local arguments = table.move(options, 2, #options, 1, {})
  local _, message = posix.execp(options[1], arguments)
  error(message, 0)
end

----------------------------------------------------------------------------------------------
-- Process

local Process = {}
Process.__index = Process

--- Starts a program, and returns once it runs.
-- The list part of `options` is its command line; it is looked up on PATH. Fields:
--   env     changes to the environment: name -> value, or false to remove it
--   cwd     folder to start in
--   stdin   'pipe' for `write` and `close_stdin`, or a file to read (default /dev/null)
--   stdout  a file to write to instead of the output, e.g. '/dev/full'
--   stderr  'separate' collects it in `process.stderr` instead of the output
--   tty     true gives it a terminal and a session of its own, for `write '\3'` (Ctrl+C)
-- Without a terminal it leads a process group of its own.
function Process.start(options)
  local streams = plan_streams(options)
  io.stdout:flush()
  local outcome, report = posix.pipe()
  local pid = assert(posix.fork())
  if pid == 0 then
    local _, message = pcall(become, options, streams, report)
    posix.write(report, message)
    posix._exit(127)
  end
  posix.close(report)
  for _, descriptor in pairs { streams.stdin, streams.stdout,
    streams.stderr ~= streams.stdout and streams.stderr or nil } do
    posix.close(descriptor)
  end
  local failure = posix.read(outcome, 1000)
  posix.close(outcome)
  if failure ~= '' then
    posix.wait(pid)
    error('cannot run ' .. failure, 2)
  end
  return setmetatable({
    pid = pid,
    input = streams.input,
    stdout = new_output(streams.output),
    stderr = streams.errors and new_output(streams.errors),
  }, Process)
end

function Process:expect(text) return self.stdout:expect(text) end
function Process:expect_match(pattern) return self.stdout:expect_match(pattern) end
function Process:expect_exactly(text) return self.stdout:expect_exactly(text) end
function Process:unread() return self.stdout:unread() end

--- Writes to the program's standard input, or types on its terminal.
function Process:write(text)
  assert(posix.write(self.input, text))
end

--- Ends its standard input; hangs up its terminal once `close_output` was called too.
function Process:close_stdin()
  posix.close(self.input)
  self.input = nil
end

--- Closes the reading end: the program's next write meets a closed pipe, or no terminal.
function Process:close_output()
  self.stdout:close()
end

--- Sends a signal, by its short name ('INT'), to the program alone.
function Process:signal(name)
  assert(posix.kill(self.pid, posix['SIG' .. name]))
end

--- Sends a signal to its process group, as Ctrl+C on a terminal does.
function Process:signal_group(name)
  assert(posix.killpg(self.pid, posix['SIG' .. name]))
end

--- Whether it has ended; reaps it then.
function Process:has_ended()
  if not self.how then
    local pid, how, code = posix.wait(self.pid, posix.WNOHANG)
    if pid == self.pid then self.how, self.code = how, code end
  end
  return self.how ~= nil
end

--- Waits for its end: returns 'exited' and its status, or 'killed' and the signal's number.
function Process:wait()
  local deadline = clock.now() + clock.patience
  while not self:has_ended() do
    if clock.now() > deadline then self.stdout:fail('expected the program to end') end
    self.stdout:collect(5)
    if self.stderr then self.stderr:collect(0) end
    if not self.stdout.descriptor then posix.poll({}, 5) end
  end
  self.stdout:drain()
  if self.stderr then self.stderr:drain() end
  return self.how, self.code
end

--- Sends a signal ('TERM' unless named) and waits for the end.
function Process:stop(name)
  self:signal(name or 'TERM')
  return self:wait()
end

--- Closes this side's ends of its pipes.
function Process:release()
  if self.input then self:close_stdin() end
  self.stdout:close()
  if self.stderr then self.stderr:close() end
end

return Process
