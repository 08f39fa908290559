-- What the kernel says of this process, one "name: value" a line.
local syscalls = require 'syscalls'

local function read(name)
  local file = assert(io.open('/proc/self/' .. name))
  local text = file:read '*a'
  file:close()
  return text
end




local status = { 'Name', 'Umask', 'PPid', 'Uid', 'Gid', 'Groups', 'Threads', 'SigPnd', 'ShdPnd', 'SigBlk',
  'SigIgn', 'SigCgt', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Cpus_allowed',
  'Mems_allowed', 'CoreDumping', 'THP_enabled' }

-- Fields of /proc/<pid>/stat, counted from the third.
local stat = { group = 3, session = 4, terminal = 5, foreground = 6, priority = 16, nice = 17, threads = 18,
  exit_signal = 36, realtime_priority = 38, policy = 39 }

return function(title)
  local state = {}
  local lines = read 'status'
  for _, name in ipairs(status) do state[name] = lines:match('\n?' .. name .. ':[ \t]*([^\n]*)') end
  local fields = {}
  for field in read('stat'):match('.*%) (.*)'):gmatch '%S+' do fields[#fields + 1] = field end
  for name, index in pairs(stat) do state[name] = fields[index] end
  for name, soft, hard in read('limits'):gmatch '\n(Max [%l ]-)  +(%S+) +(%S+)' do
    state[name] = soft .. ' ' .. hard
  end
  for _, name in ipairs { 'oom_score_adj', 'timerslack_ns', 'personality', 'cgroup', 'loginuid', 'coredump_filter' } do
    local ok, text = pcall(read, name)
    state[name] = ok and text:gsub('\n', ' ') or nil
  end
  for _, name in ipairs { 'cwd', 'root', 'exe', 'ns/mnt', 'ns/net', 'ns/pid', 'ns/user', 'ns/ipc', 'ns/uts' } do
    state[name] = syscalls.readlink('/proc/self/' .. name)
  end
  state.environment = syscalls.environment():gsub('\n', '|')
  state.timer = syscalls.timer_state()
  state.modes = syscalls.terminal_modes()
  for descriptor = 0, 40 do
    local target = syscalls.readlink('/proc/self/fd/' .. descriptor)
    if target ~= '' then
      state[('descriptor %02d'):format(descriptor)] = target .. ' ' .. syscalls.descriptor(descriptor)
    end
  end
  print('begin ' .. title)
  local names = {}
  for name in pairs(state) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do print(name .. ': ' .. state[name]) end
  print('end pid ' .. syscalls.pid())
end
