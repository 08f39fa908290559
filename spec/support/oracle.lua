--- The oracle: a session with a random program and random edits, held against cold runs.
--
-- After each edit (or burst of edits) the program is run plainly, in a copy of its folder. What
-- the session printed, put together over its resumes, must become line by line what that run
-- printed, its last line being a digest of the whole state. On the way:
--
-- - lines are numbered within a run, so the first one after a resume tells which lines the
--   session stands by; the cold run notes how many lines came before each file was reached, so
--   that no line from before the file that changed may come again;
-- - the file that a resume is put down to must be one that was edited.
--
-- Nothing sleeps until things have settled: an edit is waited for until the session agrees with
-- the cold run. A late change of mind shows at the next edit, and the last edit of a session is
-- one whose effect is sure to be seen.

local posix = require 'posix'
local clock = require 'spec.support.clock'
local Program = require 'spec.support.oracle_program'
local support = require 'spec.support'

local oracle = {}

----------------------------------------------------------------------------------------------
-- Cold runs

--- What a run prints (`lines`, without their numbers) and how many of its lines came before it
-- reached a path (`before`).
function oracle.parse_run(text, trace)
  local run = { lines = {}, asked = {}, before = { ['main.lua'] = 0, ['runtime.lua'] = 0 } }
  for number, line in text:gmatch 'out (%d+) ([^;\n]*);' do
    assert(tonumber(number) == #run.lines + 1, 'a cold run that does not count:\n' .. text)
    run.lines[#run.lines + 1] = line
  end
  for count, path in trace:gmatch '(%d+) ([^\n]*)\n' do
    path = path:gsub('^%./', '')
    local asked = path:match '^asked (.*)'
    if asked then run.asked[asked] = true end
    -- The program may come to one file under two names.
    run.before[path] = math.min(run.before[path] or math.huge, tonumber(count))
  end
  return run
end

--- A project for a program, which has a folder of its own in it, and one for what it writes:
-- that must not be there in a cold run.
local function new_project()
  local project = support.project()
  for _, folder in ipairs { 'program', 'own' } do project:mkdir(folder) end
  return setmetatable({ root = project:path 'program', parent = project }, { __index = project })
end

local function cold_run(lua, project)
  local copy = new_project()
  os.execute(("cp -a '%s/.' '%s'"):format(project.root, copy.root))
  local trace = copy:path '../trace'
  local process = lua:start { 'main.lua', cwd = copy.root,
    env = { FORKMON_DISABLE = '1', ORACLE_TRACE = trace } }
  process:wait()
  local text = process.stdout.text
  assert(posix.stat(trace), 'the cold run came to nothing:\n' .. text)
  local run = oracle.parse_run(text, copy:read '../trace')
  process:release()
  copy.parent:discard()
  return run
end

----------------------------------------------------------------------------------------------
-- What the session prints

local Transcript = {}
Transcript.__index = Transcript

--- `root` is the folder of the program, `edited` the set of paths that were edited.
function oracle.new_transcript(root, edited)
  return setmetatable({ root = root, edited = edited, lines = {}, taken = 0, resumes = 0 }, Transcript)
end

--- Takes in more of the output, of which all is given each time.
function Transcript:read(text)
  while true do
    local last = text:find('\n', self.taken + 1, true)
    if not last then return end
    local line = text:sub(self.taken + 1, last - 1)
    self.taken = last
    -- A run may be ended in the middle of a line.
    local ours = line:match '%[forkmon%] (.*)$'
    if ours then self:forkmon_says(ours) else self:program_says(line) end
  end
end

function Transcript:name(path)
  if path == self.root then return '.' end
  if path:sub(1, #self.root + 1) == self.root .. '/' then return path:sub(#self.root + 2) end
  local parent = self.root:match '^(.*/)[^/]*$'
  return parent and path:sub(1, #parent) == parent and '../' .. path:sub(#parent + 1) or path
end

--- Whether a file was edited, or one in a folder, be it under a name that the folder has for a moment.
function Transcript:is_edited(path)
  if self.edited[path] or path == '.' then return true end
  for edited in pairs(self.edited) do
    if edited:sub(1, #path + 1) == path .. '/' then return true end
  end
  return false
end

function Transcript:forkmon_says(line)
  local cause, what, action = line:gsub('^folder ', 'file '):match "^file '(.-)' (.-), (.*)%.%.$"
  what = what and what:gsub('^and %d+ more ', '')
  if what ~= 'changed' and what ~= 'was removed' and what ~= 'is there now' then cause = nil end
  if not cause then
    local known = line:match "^watch '" or line:match '^watching %d+ files$'
      or line:match '^exited with status 1, waiting' or line:match '^ended without enabling forkmon, waiting'
    return assert(known, 'unexpected: [forkmon] ' .. line)
  end
  cause = self:name(cause)
  assert(self:is_edited(cause), 'resumed for a file that nobody edited: ' .. cause)
  action = action:gsub(' %(shares its checkpoint%)$', ''):gsub(' %(none since: [^()]*%)$', '')
  local from = action == 'restarting' and 'the start' or self:name(action:match "^resuming from '?(.-)'?$")
  self.resumes = self.resumes + 1
  self.resume = { cause = cause, from = from == 'it' and cause or from }
  self.resume.in_part = action:match '^resuming from line %d'
  self.ended = false
end

function Transcript:program_says(line)
  if line == 'begun' then return end
  local number, text = line:match '^out (%d+) ([^;]*);$'
  if not number then
    -- What the interpreter says when the main script is away for a moment.
    return assert(line:match 'cannot open main.lua', 'unexpected: ' .. line)
  end
  number = tonumber(number)
  local resume = self.resume
  if resume and not resume.first then
    resume.first = number
    assert(number <= #self.lines + 1, ('lines are missing before %d %s'):format(number, text))
    for i = number, #self.lines do self.lines[i] = nil end
  end
  assert(number == #self.lines + 1, ('%d lines were printed, and then: %s'):format(#self.lines, line))
  self.lines[number] = text
  self.ended = text:match '^END ' ~= nil
end

--- What is wrong with the last resume, of a run that came to its end; nil when it is right.
-- `cost`: the program may have been resumed from earlier than necessary.
local function fault_of_resume(resume, run, cost)
  if not resume or resume.first == nil then return nil end
  -- What was asked about may have changed for who asked, or for who opened it.
  if run.asked[resume.cause] or run.asked[resume.from] then return nil end
  -- How far a file was used, nobody tells the oracle: that a resume from the middle of it is right shows at the end.
  if resume.in_part then return nil end
  local from = resume.from == 'the start' and 0 or run.before[resume.from]
  if from and resume.first ~= from + 1 then
    return ('resumed from %s, with line %d instead of %d'):format(resume.from, resume.first, from + 1)
  end
  local cause = run.before[resume.cause]
  if cause and not cost and resume.first ~= cause + 1 then
    return ('%s changed, which is reached after line %d, but line %d came again')
      :format(resume.cause, cause, resume.first)
  end
end

--- Nil when the session has come to what the cold run came to; otherwise what is different.
function Transcript:difference(run, cost)
  if not self.ended then return 'the program has not come to its end' end
  for i = 1, math.max(#run.lines, #self.lines) do
    if run.lines[i] ~= self.lines[i] then
      return ('line %d is\n  %s\nand should be\n  %s'):format(i, self.lines[i], run.lines[i])
    end
  end
  local fault = fault_of_resume(self.resume, run, cost)
  if fault then error(fault, 0) end
end

----------------------------------------------------------------------------------------------
-- Sessions

local Session = {}
Session.__index = Session

local function start(lua, program)
  local project = new_project()
  program:write(project)
  local how = { 'main.lua', cwd = project.root, stdin = 'pipe', env = {} }
  local process
  if program.entry == 'command' then
    for name, value in pairs(program.options) do how.env['FORKMON_' .. name:upper()] = tostring(value) end
    process = lua:forkmon(how)
  else
    process = lua:start(how)
  end
  local session = setmetatable({
    lua = lua, program = program, project = project, process = process, log = {}, began = clock.now(),
    transcript = oracle.new_transcript(project.root, program.edited),
  }, Session)
  function program.await_script() session:await_script() end
  return session
end

-- The kernel tells when a process started in ticks of 10 ms, and when a file changed in ticks, too.
local TICKS = 0.03

--- Waits until an edit of the main script is forkmon's to notice. One that comes before that makes
-- a cold run fail, too, and there is nobody yet to run it again. Other files may be edited at any time.
function Session:await_script()
  support.wait_until('the main script to be read', function()
    if self.program.entry == 'enable' then
      -- It must have been read, and what comes now must be later than the start, as the kernel tells it.
      self:listen(0)
      return self.process.stdout.text:find('begun\n', 1, true) and clock.now() - self.began > TICKS
    end
    -- The command must have found it, and become the interpreter.
    local environment = support.proc.environ(self.process.pid)
    return environment and environment.FORKMON_COMMAND
  end)
end

function Session:note(text)
  self.log[#self.log + 1] = ('%8.3f s, output %d: %s'):format(clock.now() - self.began,
    #self.process.stdout.text, text)
end

function Session:listen(milliseconds)
  self.process.stdout:collect(milliseconds)
  self.transcript:read(self.process.stdout.text)
end

--- Whether a resume may go further back than the file that changed: checkpoints are given up
-- beyond a limit, and what is watched by name belongs to the checkpoint before.
function Session:may_go_further_back()
  local resume = self.transcript.resume
  return not self.program:keeps_checkpoints() or resume and resume.cause:match '%.conf$'
end

--- Waits until the session agrees with a cold run.
function Session:settle(patience)
  local run = cold_run(self.lua, self.project)
  local deadline = clock.now() + patience
  while true do
    self:listen(0)
    local difference = self.transcript:difference(run, self:may_go_further_back())
    if not difference then break end
    if clock.now() > deadline then error('the session disagrees with a cold run: ' .. difference, 0) end
    if not self.process.stdout.descriptor then error('the session is over: ' .. difference, 0) end
    self:listen(50)
  end
  self:note('agreed: ' .. run.lines[#run.lines])
  return run
end

function Session:burst()
  local random = self.program.random
  for _ = 1, random:chance(60) and 1 or random:number(2, 6) do
    self:note(self.program:edit())
    local pause = random:weighted { none = 3, short = 3, long = 3, longer = 1 }
    local longest = ({ none = 0, short = 5, long = 60, longer = 300 })[pause]
    posix.poll({}, random:number(0, longest))
    self:listen(0)
  end
end

function Session:play(bursts, patience)
  if self.program.random:chance(80) then self:settle(patience) end
  for _ = 1, bursts do
    self:burst()
    if self.program.random:chance(85) then self:settle(patience) end
  end
  repeat
    local done = self.program:repair()
    if done then self:note(done) end
  until not done
  self:settle(patience)
  self:note(self.program:edit_sentinel())
  local run = self:settle(patience)
  assert(run.lines[#run.lines]:match '^END %d+$', 'the last cold run failed: ' .. run.lines[#run.lines])
  self.process:stop 'TERM'
  self.transcript:read(self.process.stdout.text)
  assert(not self.transcript.ended or not self.transcript:difference(run, true), 'it changed its mind')
end

--- Plays one session; returns how many edits it survived. An error tells the seed, and where
-- the folder of the program was kept.
-- @param options added to the random ones of the program
function oracle.play(lua, seed, bursts, options, patience)
  local program = Program.new(seed, options)
  local session = start(lua, program)
  local ok, message = xpcall(session.play, function(message)
    return type(message) == 'string' and message or debug.traceback(tostring(message))
  end, session, bursts, patience or clock.patience)
  if ok then return program.edits end
  session.process.stdout:drain()
  local root = session.project.parent.root
  local kept = root .. '.kept'
  os.execute(("cp -a '%s' '%s'"):format(root, kept))
  session.process:stop 'KILL'
  error(('%s\n--- %s, FORKMON_SEED=%d, %s, kept in %s\n%s\n--- output\n%s---'):format(message, lua.name, seed,
    program:describe_options(), kept, table.concat(session.log, '\n'), session.process.stdout.text), 0)
end

--- The seed to begin with: FORKMON_SEED, or one from the time.
function oracle.seed()
  local seed = tonumber(os.getenv 'FORKMON_SEED') or os.time() % 1000000 * 10
  return math.floor(seed)
end

return oracle
