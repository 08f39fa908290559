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

--- Builds what is not there or old. Several specs may do so at once.
local function build(from, flags, to)
  local built = lfs.attributes(to, 'modification')
  if built and built >= lfs.attributes(from, 'modification') then return end
  local new = ('%s.%d'):format(to, posix.getpid 'pid')
  assert(os.execute(("cc -Wall -Werror %s -o '%s' '%s'"):format(flags, new, from)))
  assert(os.rename(new, to))
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
  -- It must not be unloaded when Lua ends, as a thread may be at work in it.
  build(source, '-shared -fPIC -pthread -Wl,-z,nodelete', library)
  local project = support.project(files)
  project:write('syscalls.lua', module:format(library))
  return project
end

--- The path of `spec/programs/refuse.c`, built: it runs a command to which system calls are refused.
function syscalls.refuse()
  local path = posix.getcwd() .. '/target/spec-refuse'
  build(posix.getcwd() .. '/spec/programs/refuse.c', '', path)
  return path
end

return syscalls
