--- Sessions in namespaces of their own: mounts, process numbers and limits of which the machine sees nothing.
--
--     local lack = sandbox.lack '--mount'
--     if lack then return pending(lack) end
--     local program = sandbox.start(lua, { 'main.lua', cwd = project.root,
--       namespaces = '--mount', prepare = 'mount --bind host.lua main.lua' })
--     project:write(sandbox.inside(program, project:path 'main.lua'), "print 'new'")

local posix = require 'posix'
local support = require 'spec.support'

local sandbox = { is_root = posix.geteuid() == 0 }

--- Whether a shell command succeeds; its output is of no interest.
function sandbox.succeeds(command)
  return (os.execute('{ ' .. command .. '\n} >/dev/null 2>&1'))
end

--- Who is not root has a namespace in which they are.
local function unshare(namespaces)
  return 'unshare ' .. (sandbox.is_root and '' or '--user --map-root-user ') .. namespaces
end

--- Why there can be no such namespaces, or why `command` cannot be done in them; nil where it can.
function sandbox.lack(namespaces, command)
  if sandbox.succeeds(("%s sh -ec '%s'"):format(unshare(namespaces), command or 'true')) then return nil end
  return ('`unshare %s%s` is not allowed here'):format(namespaces, command and ': ' .. command or '')
end

--- Starts forkmon as `lua:forkmon` does. Further fields of `options`:
--   namespaces  options of `unshare`, '--mount' unless given
--   prepare     shell commands for the folder `cwd`, before; each must succeed
--   command     instead of `forkmon`
--   by          words before it: what becomes it
function sandbox.start(lua, options)
  local command = {}
  for word in unshare(options.namespaces or '--mount'):gmatch '%S+' do command[#command + 1] = word end
  -- From another folder than the one it began in, as that may have been hidden by a mount.
  local go = options.cwd and ('cd %q\n'):format(options.cwd) or ''
  for _, word in ipairs { 'sh', '-ec', (options.prepare or '') .. '\n' .. go .. 'exec "$@"', 'sh' } do
    command[#command + 1] = word
  end
  for _, word in ipairs(options.by or {}) do command[#command + 1] = word end
  command[#command + 1] = options.command or 'forkmon'
  table.move(options, 1, #options, #command + 1, command)
  local env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' }
  for name, value in pairs(options.env or {}) do env[name] = value end
  command.env = env
  for _, name in ipairs { 'cwd', 'stdin', 'stdout', 'stderr', 'tty' } do command[name] = options[name] end
  return support.start(command)
end

--- The path by which the specs reach what a program has at `path`.
function sandbox.inside(program, path)
  return ('/proc/%d/root%s'):format(program.pid, path)
end

--- Runs a shell command among the mounts of a program; it must succeed.
function sandbox.run(program, command)
  local options = sandbox.is_root and '--mount' or '--user --mount'
  assert(os.execute(("nsenter %s --target %d sh -ec '%s'"):format(options, program.pid, command)))
end

return sandbox
