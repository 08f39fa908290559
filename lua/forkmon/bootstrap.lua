--- What the command has LUA_INIT run, in whichever Lua the program starts.
--
-- forkmon may be installed where that Lua does not look. This file knows where the rest of forkmon's Lua files are,
-- which suit every Lua; FORKMON_CPATH tells where the core for the Lua of the command is, and that of another version
-- is in the folder beside it.
--
-- The program shall not see any of this. package.path, package.cpath and the environment are put back as they were, and
-- the user's own LUA_INIT is run as the interpreter would have run it. But only after `enable`: the supervisor, which
-- `enable` leaves behind, needs the environment of now when it has to start the program anew.

local version = _VERSION:match('%d+%.%d+')
local home = debug.getinfo(1, 'S').source:match('^@(.*)forkmon/bootstrap%.lua$')
local path, cpath = package.path, package.cpath

package.path = home .. '?.lua;' .. path
local library = os.getenv('FORKMON_CPATH')
if library then package.cpath = library:gsub('^(.*/)5%.%d+/', '%1' .. version .. '/') .. ';' .. cpath end
-- Called by pcall, enable adds no position to its error message.
local enable, main = require('forkmon').enable, require 'forkmon.main'
local arguments = require('forkmon.native').load() and require('forkmon.core').cmdline() or {}
local former = main.content(arguments)
local enabled, forkmon, message = pcall(enable)
package.path, package.cpath = path, cpath

if not enabled then
  io.stderr:write(forkmon, '\n')
  os.exit(1)
end

local core = require 'forkmon.core'
if not forkmon then core.warn(message .. ', going on without forkmon') end

for name in os.getenv('FORKMON_COMMAND'):gmatch('%S+') do
  core.setenv(name, os.getenv('FORKMON_SAVED_' .. name))
  core.setenv('FORKMON_SAVED_' .. name, nil)
end

local name = 'LUA_INIT_' .. version:gsub('%.', '_')
local init = version ~= '5.1' and os.getenv(name)
if not init then
  name = 'LUA_INIT'
  init = os.getenv(name)
end
if init then
  local chunk, failure
  if init:sub(1, 1) == '@' then
    chunk, failure = loadfile(init:sub(2))
  else
    chunk, failure = (loadstring or load)(init, '=' .. name)
  end
  if not chunk then error(failure, 0) end
  if not (forkmon and main.is_edited(core, arguments)) then return chunk() end
  chunk()
end

local function run(chunk, ...)
  -- A tail call, so that a traceback does not lead here.
  if chunk then return chunk(...) end
end
if forkmon then return run(main.chunk(core, forkmon, arguments, former)) end
