-- Sets everything that a process has, shows it, changes it all, and shows it again. The stop
-- point lies between setting and showing; with the argument 'enable' it is enable() itself.
local syscalls = require 'syscalls'
local report = require 'report'

local root = syscalls.readlink '/proc/self/cwd'
local function enable()
  require('forkmon').enable { filter = '/part%.lua$', watch = root .. '/extra', quiet = true }
end

local SIGHUP, SIGQUIT, SIGUSR2, SIGPIPE, SIGURG, SIGWINCH = 1, 3, 12, 13, 23, 28

if arg[1] ~= 'enable' then enable() end

package.path = root .. '/?.lua;' .. package.path
syscalls.chdir 'sub'
syscalls.umask(tonumber('027', 8))
syscalls.nice(3)
syscalls.name 'as set'
syscalls.limit(200)
syscalls.setenv('COLOUR', 'green')
syscalls.setenv('HOME', '/nowhere')
syscalls.block(SIGUSR2, 1)
syscalls.block(SIGURG, 1)
syscalls.signal(SIGWINCH, 'handle')
syscalls.signal(SIGPIPE, 'ignore')
syscalls.timer(5000, 60)
syscalls.echo(1)
local reader = assert(io.open(root .. '/data'))
reader:setvbuf 'no'
reader:read(7)
local closed_later = assert(io.open(root .. '/data'))

if arg[1] == 'enable' then enable() else require 'part' end

report 'here'
syscalls.chdir '/'
syscalls.umask(0)
syscalls.nice(1)
syscalls.name 'changed'
syscalls.limit(100)
syscalls.setenv('COLOUR', 'red')
syscalls.block(SIGUSR2, 0)
syscalls.block(SIGHUP, 1)
syscalls.signal(SIGWINCH, 'default')
syscalls.signal(SIGPIPE, 'handle')
syscalls.signal(SIGQUIT, 'ignore')
syscalls.timer(0, 0)
syscalls.echo(0)
reader:read(5)
closed_later:close()
syscalls.open(root .. '/data', 0)
syscalls.open(root .. '/data', 0)
report 'later'
print 'ready'
