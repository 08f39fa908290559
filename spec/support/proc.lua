--- What the kernel says about processes, read from /proc.
--
-- A process may end at any moment, so every reader returns nil (or nothing more) for one
-- that is gone instead of raising.

local lfs = require 'lfs'
local posix = require 'posix'

local proc = {}

local function read(pid, name)
  local file = io.open(('/proc/%d/%s'):format(pid, name))
  if not file then return nil end
  local text = file:read('*a') -- nil when the process ends in between
  file:close()
  return text
end

local function entries(folder)
  local ok, names = pcall(posix.dir, folder) -- it raises when there is no such folder
  return ok and names or {}
end

-- (posix.readlink believes the size of a link, which /proc makes up.)
local function link_target(path)
  return (lfs.symlinkattributes(path, 'target'))
end

--- A field of /proc/<pid>/status, such as 'State', 'SigBlk', 'SigIgn', 'SigCgt', 'PPid', 'Umask'.
function proc.status(pid, field)
  local text = read(pid, 'status')
  return text and ('\n' .. text):match('\n' .. field .. ':%s*([^\n]*)')
end

--- One letter: R running, S sleeping, T stopped, Z zombie.
function proc.state(pid)
  local state = proc.status(pid, 'State')
  return state and state:sub(1, 1)
end

--- The signals in a mask of /proc/<pid>/status, by number: `signals(pid, 'SigBlk')[posix.SIGINT]`.
-- Without 32 and 33, which are the C library's own: what it spawns starts with them ignored.
function proc.signals(pid, mask)
  local bits = proc.status(pid, mask)
  if not bits then return nil end
  local set = {}
  for digit = 1, #bits do
    local value = tonumber(bits:sub(-digit, -digit), 16)
    for bit = 0, 3 do
      if value // 2 ^ bit % 2 == 1 then set[4 * (digit - 1) + bit + 1] = true end
    end
  end
  set[32], set[33] = nil, nil
  return set
end

function proc.command(pid)
  local text = read(pid, 'cmdline')
  return text and (text:gsub('%z', ' '):gsub(' $', ''))
end

function proc.cwd(pid)
  return link_target(('/proc/%d/cwd'):format(pid))
end

--- The environment a process was started with (later setenv calls do not show).
function proc.environ(pid)
  local text = read(pid, 'environ')
  if not text then return nil end
  local environ = {}
  for name, value in text:gmatch('([^=%z]+)=(%Z*)') do environ[name] = value end
  return environ
end

--- Open descriptors: number -> what it is (a path, 'pipe:[123]', 'socket:[123]', ...).
function proc.descriptors(pid)
  local folder = ('/proc/%d/fd/'):format(pid)
  local found = {}
  for _, name in ipairs(entries(folder)) do
    local target = link_target(folder .. name)
    if target then found[tonumber(name)] = target end
  end
  return found
end

--- The file offset of a descriptor.
function proc.offset(pid, descriptor)
  local text = read(pid, 'fdinfo/' .. descriptor)
  return text and tonumber(text:match('pos:%s*(%d+)'))
end

--- The pids of the children, zombies included.
function proc.children(pid)
  local found = {}
  for _, thread in ipairs(entries(('/proc/%d/task'):format(pid))) do
    local text = thread:match('^%d+$') and read(pid, 'task/' .. thread .. '/children')
    for child in (text or ''):gmatch('%d+') do found[#found + 1] = tonumber(child) end
  end
  return found
end

--- The supervisor of a session: the guard, which is what was started, has no other child unless
-- the program had one before it enabled forkmon.
function proc.supervisor(session)
  return proc.children(session)[1]
end

--- A process and all that descend from it, parents first.
function proc.tree(pid)
  local found = { pid }
  for _, child in ipairs(proc.children(pid)) do
    for _, descendant in ipairs(proc.tree(child)) do found[#found + 1] = descendant end
  end
  return found
end

-- In the middle of an exec, a process has no environment for a moment. (A zombie or a thread of
-- the kernel never has one, nor a program.)
local function settled_environment(pid)
  for _ = 1, 20 do
    local text = read(pid, 'environ')
    if text ~= '' or not link_target(('/proc/%d/exe'):format(pid)) then return text end
    posix.poll({}, 1)
  end
end

--- Every process that was started with this variable in its environment, wherever in the tree
-- it is now. (Zombies have none any more: look for those among the children.)
function proc.carrying(name, value)
  local found = {}
  for _, entry in ipairs(entries('/proc')) do
    local pid = tonumber(entry)
    local text = pid and settled_environment(pid)
    if text and ('\0' .. text):find('\0' .. name .. '=' .. value .. '\0', 1, true) then
      found[#found + 1] = pid
    end
  end
  return found
end

--- One line a process, for messages.
function proc.describe(pids)
  local lines = {}
  for i, pid in ipairs(pids) do
    lines[i] = ('  %d %s (child of %s): %s'):format(pid, proc.state(pid) or 'gone',
      proc.status(pid, 'PPid') or '?', proc.command(pid) or '?')
  end
  return table.concat(lines, '\n')
end

return proc
