--- A program that stops in the middle of opening a file: forkmon has looked at it, and it is not open yet.
--
--     local project = support.project { ['main.lua'] = gate.source { opens = 'a.txt', options = "filter = '%.txt$'" }
--       .. 'print(io.open "a.txt":read())', ['a.txt'] = 'a' }
--     gate.shut(project)
--     local program = lua:start { 'main.lua', cwd = project.root }
--     gate.pass(project, function() project:write('a.txt', 'b') end)
--
-- It stops once: a resumed program goes through.

local posix = require 'posix'

local gate = {}

local source = [[
local open = io.open
io.open = function(name, ...)
  local closed = name == %q and open 'gate'
  if closed then
    closed:read()
    closed:close()
  end
  return open(name, ...)
end
io.stdout:setvbuf 'no'
require('forkmon').enable { %s }
]]

--- What such a program begins with: enables forkmon with these options (as they stand between braces).
function gate.source(arguments)
  return source:format(arguments.opens, arguments.options)
end

--- Makes the gate; before the program starts.
function gate.shut(project)
  assert(posix.mkfifo(project:path 'gate'))
end

--- Waits until the program stands there, does something, and lets it go on.
function gate.pass(project, deed)
  local opened = assert(io.open(project:path 'gate', 'w')) -- returns when it stands there
  project:remove 'gate'
  deed()
  opened:write 'go\n'
  opened:close()
end

return gate
