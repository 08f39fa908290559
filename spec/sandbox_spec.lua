--- Where the system refuses what newer kernels and plain machines allow, a session works all the same, or says no.
--
-- Old kernels do not know a system call (ENOSYS), the seccomp rules of containers forbid it (EPERM); /proc may be
-- missing, read-only, or show a user's own processes only; /dev/shm may be small; and process 1 may be forkmon. All of
-- that is made in namespaces of the sessions' own.

local posix = require 'posix'
local lines = require 'spec.support.lines'
local sandbox = require 'spec.support.sandbox'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local proc = support.proc

-- Two files with an effect between them, a child that stays, and files that the program has read and then writes,
-- replaces and removes itself.
local main = [[
io.stdout:setvbuf 'no'
local heap = ('x'):rep(tonumber(arg[1]))
print 'startup'
os.execute 'sleep 9111 </dev/null >/dev/null 2>&1 &'
print(dofile 'a.lua')
for _, name in ipairs { 'written', 'updated', 'replaced', 'removed' } do loadfile(name .. '.lua') end
local function write(name, mode)
  local file = io.open(name .. '.lua', mode) or io.open(name .. '.lua', 'w')
  file:write 'return 1'
  file:close()
end
write('written', 'w')
write('updated', 'r+')
write('new', 'w')
os.rename('new.lua', 'replaced.lua')
write('removed', 'r+')
os.remove 'removed.lua'
print(dofile 'b.lua')
print(#heap)
]]

-- Those that old kernels do not have, and some that containers forbid.
local calls = {
  'close_range', 'faccessat2', 'statx', 'memfd_create',
  'clone3,get_robust_list,membarrier,name_to_handle_at,openat2,pidfd_open,pidfd_send_signal,process_madvise,'
    .. 'process_vm_readv,rseq,setpriority,timerfd_create,userfaultfd',
}

support.one_lua(function(lua)
  local function program_of(size)
    return support.project { ['main.lua'] = main, ['a.lua'] = "return 'a0'", ['b.lua'] = "return 'b0'" },
      { '--quiet', 'main.lua', tostring(size), stdin = 'pipe' }
  end

  --- Edits from the end to the beginning, twice; then it must end with everything that it has started.
  local function expect_session(program, project, size)
    local rest = ('%d\n'):format(size)
    program:expect('startup\na0\nb0\n' .. rest) -- a warning may come before
    support.await_idle(program)
    for round = 1, 2 do
      local b = 'b' .. round
      project:write('b.lua', ("return '%s'"):format(b))
      program:expect_exactly(b .. '\n' .. rest)
      project:replace('a.lua', ("return 'a%d'"):format(round))
      program:expect_exactly(('a%d\n%s\n%s'):format(round, b, rest))
      posix.poll({}, 350) -- the program's own file would make itself known by then
      assert.equal('', program:unread())
    end
    project:append('main.lua', '-- saved')
    program:expect_exactly('startup\na2\nb2\n' .. rest)
    project:replace('b.lua', "return 'end'")
    program:expect_exactly('end\n' .. rest)
  end

  describe('where the kernel refuses', function()
    local refuse = syscalls.refuse()
    local lack = not sandbox.succeeds(("'%s' ENOSYS openat2 true"):format(refuse)) and 'seccomp is not allowed here'

    for _, answer in ipairs { 'ENOSYS', 'EPERM' } do
      for _, refused in ipairs(calls) do
        it(('%s with %s, edits are shown and nothing is left'):format(refused, answer), function()
          if lack then return pending(lack) end
          local project = program_of(3)
          local program = support.start { refuse, answer, refused, 'forkmon', '--quiet', 'main.lua', '3',
            cwd = project.root, stdin = 'pipe', env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
          expect_session(program, project, 3)
          assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
          assert.equal('', program:unread())
        end)
      end

      it('close_range with ' .. answer .. ', a large program does not start process after process', function()
        local none = lack or not sandbox.is_root and 'only root has namespaces without others'
          or sandbox.lack '--pid --fork --mount-proc'
        if none then return pending(none) end
        -- Process numbers of a namespace of its own tell how many there have been.
        local project = support.project { ['main.lua'] = [[
          io.stdout:setvbuf 'no'
          local heap = ('x'):rep(40000000)
          for i = 1, 20 do dofile('part' .. i .. '.lua') end
          os.execute 'echo number $$'
        ]] }
        for i = 1, 20 do project:write(('part%d.lua'):format(i), '') end
        local numbers = {}
        for i, refused in ipairs { 'openat2', 'close_range' } do
          local program = sandbox.start(lua, { '--quiet', '--exact', 'main.lua', cwd = project.root,
            namespaces = '--pid --fork --mount-proc', by = { refuse, answer, refused } })
          numbers[i] = tonumber(program:expect_match 'number (%d+)\n')
          posix.kill(proc.children(program.pid)[1], posix.SIGTERM)
          program:wait()
        end
        assert.is_true(numbers[1] > 20) -- there were checkpoints
        assert.is_true(numbers[2] <= numbers[1] + 1, ('%d processes, and %d'):format(numbers[1], numbers[2]))
      end)
    end
  end)

  -- What each of them does to a session, the specs see from outside, where there is a whole /proc.
  local worlds = {
    ['with a /proc that is read-only'] = 'mount -o remount,bind,ro /proc',
    ['with a /proc that shows processes only'] = 'mount -t proc -o subset=pid proc /proc',
    ['with 16 MB of /dev/shm'] = 'mount -t tmpfs -o size=16m tmpfs /dev/shm',
    ['with a full /dev/shm'] =
      'mount -t tmpfs -o size=64k tmpfs /dev/shm; head -c 65536 /dev/zero >/dev/shm/full || true',
    ['with a /dev/shm that is read-only'] = 'mount -t tmpfs -o ro tmpfs /dev/shm',
    ['without a temporary folder to write to'] =
      'mkdir $TMPDIR/ro; mount -t tmpfs -o ro tmpfs $TMPDIR/ro; TMPDIR=$TMPDIR/ro; export TMPDIR',
    ['without /sys'] = 'umount -l /sys || mount -t tmpfs tmpfs /sys',
  }
  local names = {}
  for name in pairs(worlds) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    for _, size in ipairs(name:find 'shm' and { 3, 40000000 } or { 3 }) do
      it(('%s, a program of %d bytes is resumed, and nothing is left'):format(name, size), function()
        local project, command = program_of(size)
        local lack = sandbox.lack('--mount', ('TMPDIR=%s; %s'):format(project.root, worlds[name]))
        project:remove_folder 'ro'
        if lack then return pending(lack) end
        command.cwd, command.prepare = project.root, worlds[name]
        command.env = { TMPDIR = project.root, XDG_RUNTIME_DIR = false }
        local program = sandbox.start(lua, command)
        expect_session(program, project, size)
        assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
        assert.equal('', program:unread())
      end)
    end
  end

  describe('without /proc', function()
    local without = 'umount -l /proc'
    local lack = sandbox.lack('--mount', without)
    local what = '/proc is not mounted, and forkmon needs it'

    it('the command says that it needs it', function()
      if lack then return pending(lack) end
      local project = program_of(3)
      local program = sandbox.start(lua, { 'main.lua', '3', cwd = project.root, prepare = without })
      local how, status = program:wait()
      assert.equal('exited', how)
      assert.is_true(status > 0)
      assert.equal(("forkmon: cannot run 'main.lua': %s\n"):format(what), program:unread())
    end)

    it('enable() says so, and the program goes on', function()
      if lack then return pending(lack) end
      local project = support.project { ['main.lua'] = [[
        print(require('forkmon').enable { filter = '%.lua$' })
        print(dofile 'a.lua')
      ]], ['a.lua'] = "return 'a0'" }
      local program = sandbox.start(lua, { 'main.lua', cwd = project.root, prepare = without, env = lua:paths(),
        command = lua.interpreter })
      assert.same({ 'exited', 0 }, { program:wait() })
      assert.equal(('nil\t%s\na0\n'):format(what), program:unread())
    end)
  end)

  it('with a /proc that hides other users\' processes, an unprivileged session is as elsewhere', function()
    if not sandbox.is_root then return pending 'only root can become another user' end
    local lack = sandbox.lack('--mount', 'mount -t proc -o hidepid=invisible proc /proc')
    if lack then return pending(lack) end
    local project, command = program_of(3)
    assert(os.execute(("chmod -R a+rwX '%s'"):format(project.root)))
    command.cwd, command.prepare = project.root, 'mount -t proc -o hidepid=invisible proc /proc'
    command.by = { 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups' }
    command.env = { TMPDIR = project.root, XDG_RUNTIME_DIR = false }
    local program = sandbox.start(lua, command)
    expect_session(program, project, 3)
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  describe('as process 1', function()
    local lack = not sandbox.is_root and 'only root can signal into the namespace'
      or sandbox.lack '--pid --fork --mount-proc'

    local function start(options)
      options.namespaces = '--pid --fork --mount-proc'
      local program = sandbox.start(lua, options)
      local first
      support.wait_until('process 1', function()
        first = proc.children(program.pid)[1]
        return first
      end)
      -- For what the toolbox knows of sessions, it is process 1 that counts.
      return setmetatable({ pid = first, outer = program }, { __index = program })
    end

    it('a session is as elsewhere', function()
      if lack then return pending(lack) end
      local project, command = program_of(3)
      command.cwd = project.root
      local program = start(command)
      expect_session(program, project, 3)
      posix.kill(program.pid, posix.SIGTERM)
      assert.same({ 'exited', 143 }, { program.outer:wait() })
    end)

    for signal, status in pairs { TERM = 143, HUP = 129, INT = 130, QUIT = 131 } do
      it(('it ends by SIG%s, with status %d'):format(signal, status), function()
        if lack then return pending(lack) end
        local project = support.project { ['main.lua'] = "print 'ready' io.stdout:flush() io.read()" }
        local program = start { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe' }
        program.outer:expect 'ready\n'
        posix.kill(program.pid, posix['SIG' .. signal])
        assert.same({ 'exited', status }, { program.outer:wait() })
      end)
    end

    it('a program that ends is waited with, and says its status', function()
      if lack then return pending(lack) end
      local project = support.project { ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = 'os.exit(3)' }
      local program = start { 'main.lua', cwd = project.root }
      program.outer:expect(lines.exited(3))
      project:write('a.lua', 'os.exit(4)')
      program.outer:expect(lines.exited(4))
      posix.kill(program.pid, posix.SIGTERM)
      program.outer:wait()
    end)
  end)
end)
