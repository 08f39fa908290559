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
  local self = setmetatable({ project = project, missing = {}, program = lua:forkmon(command) }, Viewer)
  self.pid = self.program.pid
  return self
end

--- A path as forkmon's lines show it: no name may command the terminal.
local function shown(path)
  local escapes = { ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }
  return (path:gsub('%c', function(char) return escapes[char] or ('\\x%02x'):format(char:byte()) end))
end

--- What the supervisor says when it resumes from before a file; `what` has become of it, if it has not changed.
function Viewer:resuming(name, what)
  return lines.resuming(shown(self.project:path(name)), nil, what)
end

--- Whether a line says that the file is not there; remembered.
function Viewer:is_missing(name, line)
  self.missing[name] = line:find(name .. ': No such file or directory', 1, true) ~= nil
  return self.missing[name]
end

--- The first run of a viewer of one file.
function Viewer:expect_first(name, line)
  local watch = posix.access(self.project:path(name)) and
    lines.watch(shown(self.project:path(name))) or ''
  self:is_missing(name, line)
  self.program:expect_exactly('startup\n' .. watch .. line .. '\n')
end

--- Nothing but one resume must have been the next thing, and end in this line. `what` has become of the file, if that
--- does not follow from what was shown of it before.
function Viewer:expect_resume(name, line, what)
  local was_missing = self.missing[name]
  local is_missing = self:is_missing(name, line)
  if is_missing ~= (was_missing or false) then what = what or is_missing and 'was removed' or 'is there now' end
  self.program:expect_exactly(self:resuming(name, what) .. line .. '\n')
end

--- The last thing shown must come to be this line, whatever was shown on the way.
function Viewer:expect(line)
  if line:find '^shows ' then self.missing = {} end
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
