--- A session for specs about saving: forkmon runs a program that shows files.
--
-- The program (spec/programs/viewer.lua) writes 'startup' and then one line for each file, so its
-- output tells all there is to know: what it shows, how often it ran, and from where.

local assert = require 'luassert'
local lines = require 'spec.support.lines'
local posix = require 'posix'

local Viewer = {}
Viewer.__index = Viewer

local script = posix.getcwd() .. '/spec/programs/viewer.lua'

--- Starts the program in a project. Fields of `options`, all optional:
--   files  what it shows: a list of names in the project (default value.txt)
--   flags  further options of the command
--   stay   it does not end by itself
--   cwd    folder to start in (default the project's root)
--   stderr, stdout, env, tty: as for `support.start`
function Viewer.start(lua, project, options)
  options = options or {}
  local files = options.files or { 'value.txt' }
  local command = { '--filter', '%.txt$', '--exact' }
  table.move(options.flags or {}, 1, #(options.flags or {}), #command + 1, command)
  command[#command + 1] = script
  table.move(files, 1, #files, #command + 1, command)
  if options.stay then command[#command + 1] = 'stay' end
  command.cwd = options.cwd or project.root
  command.stdin = options.stay and not options.tty and 'pipe' or nil
  command.stdout, command.stderr, command.tty, command.env =
    options.stdout, options.stderr, options.tty, options.env
  local self = setmetatable({ project = project, program = lua:forkmon(command) }, Viewer)
  self.pid = self.program.pid
  return self
end

--- A path as forkmon's lines show it: no name may command the terminal.
local function shown(path)
  local escapes = { ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }
  return (path:gsub('%c', function(char) return escapes[char] or ('\\x%02x'):format(char:byte()) end))
end

--- What the supervisor says when it resumes from before a file.
function Viewer:resuming(name)
  return lines.resuming(shown(self.project:path(name)))
end

--- The first run of a viewer of one file.
function Viewer:expect_first(name, line)
  local watch = posix.access(self.project:path(name)) and
    lines.watch(shown(self.project:path(name))) or ''
  self.program:expect_exactly('startup\n' .. watch .. line .. '\n')
end

--- Nothing but one resume must have been the next thing, and end in this line.
function Viewer:expect_resume(name, line)
  self.program:expect_exactly(self:resuming(name) .. line .. '\n')
end

--- The last thing shown must come to be this line, whatever was shown on the way.
function Viewer:expect(line)
  self.program:expect(line .. '\n')
end

--- Shows that nothing else is to come: an edit is the next thing that happens.
function Viewer:expect_quiet(name)
  self.project:write(name, 'the end')
  self:expect_resume(name, 'shows the end')
end

function Viewer:stop()
  assert.same({ 'killed', posix.SIGTERM }, { self.program:stop() })
end

return Viewer
