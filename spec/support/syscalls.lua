--- System calls that Lua lacks, for programs under test in any Lua.
--
-- `spec/programs/syscalls.c` is built once, and `require 'syscalls'` finds it by a small module that
-- is written into the project:
--
--     local project = syscalls.project { ['main.lua'] = "require('syscalls').umask(63)" }

local lfs = require 'lfs'
local posix = require 'posix'
local support = require 'spec.support'

local syscalls = {}

local source = posix.getcwd() .. '/spec/programs/syscalls.c'
local library = posix.getcwd() .. '/target/spec-syscalls.so'

--- Builds the library if it is not there or old. Several specs may do so at once.
local function build()
  local built = lfs.attributes(library, 'modification')
  if built and built >= lfs.attributes(source, 'modification') then return end
  local new = ('%s.%d'):format(library, posix.getpid 'pid')
  -- It must not be unloaded when Lua ends, as a thread may be at work in it.
  assert(os.execute(("cc -Wall -Werror -shared -fPIC -pthread -Wl,-z,nodelete -o '%s' '%s'"):format(new, source)))
  assert(os.rename(new, library))
end

local module = [[
local library = %q
return setmetatable({}, { __index = function(syscalls, name)
  syscalls[name] = assert(package.loadlib(library, 'sys_' .. name))
  return syscalls[name]
end })
]]

--- As `support.project`, with the module `syscalls`.
function syscalls.project(files)
  build()
  local project = support.project(files)
  project:write('syscalls.lua', module:format(library))
  return project
end

return syscalls
