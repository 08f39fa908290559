--- What forkmon does when the system gives it less than it wants: it says so once, and stays right.
--
-- Limits are lowered for the session alone: those on inotify in a user namespace of its own, that
-- on processes for a user id that nobody else has. A file system without events is mounted in a
-- namespace, too. Where the machine does not allow that, the specs are pending. Programs whose
-- output goes nowhere keep a log by which they are watched.

local posix = require 'posix'
local lines = require 'spec.support.lines'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'
local Viewer = require 'spec.support.viewer'

local proc = support.proc

local function succeeds(command)
  return (os.execute(command .. ' >/dev/null 2>&1'))
end

local has_namespaces = succeeds "unshare --user --map-root-user sh -c 'echo 9 >/proc/sys/user/max_inotify_watches'"
local is_root = posix.geteuid() == 0

-- Mounts in namespaces of their own show the folder `source` as `shown`, by way of FUSE and not.
local by_fuse = 'unshare --user --map-root-user --mount sh -c "bindfs source shown && exec \\"\\$@\\"" x %s'
local by_kernel = by_fuse:gsub('bindfs', 'mount --bind')

--- Why there can be no FUSE here; nil where there can.
local function lack_of_fuse()
  if not succeeds 'command -v bindfs' then return 'bindfs is not installed' end
  local project = support.project { ['source/file'] = '' }
  project:mkdir 'shown'
  local probe = by_fuse:format "sh -c 'test -e shown/file && umount shown'"
  local shows = succeeds(("cd '%s' && %s"):format(project.root, probe))
  project:discard()
  return not shows and 'FUSE cannot be mounted here' or nil
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local count = support.count

local function inotify_instances(pid)
  local found = 0
  for _, target in pairs(proc.descriptors(pid)) do
    if target == 'anon_inode:inotify' then found = found + 1 end
  end
  return found
end

support.each_lua(function(lua)
  local environment = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' }

  --- Starts the viewer by a shell command, `%s` standing for forkmon and its arguments.
  local function start_by(shell, project, files, more)
    local words = { 'forkmon', '--exact', '--filter', '%.txt$', posix.getcwd() .. '/spec/programs/viewer.lua' }
    for _, name in ipairs(files) do words[#words + 1] = name end
    for i, word in ipairs(words) do words[i] = quote(word) end
    local options = { 'sh', '-c', (shell:gsub('%%s', function() return table.concat(words, ' ') end)),
      cwd = project.root, env = environment, stdin = 'pipe' }
    for name, value in pairs(more or {}) do options[name] = value end
    return support.start(options)
  end

  it('looks at every file after an overflow of the queue', function()
    local limit = tonumber(io.open('/proc/sys/fs/inotify/max_queued_events'):read '*a')
    local project = support.project {
      ['a.txt'] = 'a1', ['b.txt'] = 'b1', ['c.txt'] = 'c1', ['folder/d.txt'] = 'd1',
    }
    -- Old files: what was saved just now is looked at once more anyhow.
    assert(os.execute(("touch -d '1 hour ago' '%s'/*.txt '%s'/*/*.txt"):format(project.root, project.root)))
    local viewer = Viewer.start(lua, project, { files = { 'a.txt', 'b.txt', 'c.txt', 'folder/d.txt' }, stay = true })
    viewer:expect 'shows d1'
    support.await_idle(viewer.program)
    local supervisor = proc.supervisor(viewer.pid)
    posix.kill(supervisor, posix.SIGSTOP)
    support.wait_until('the stop', function() return proc.state(supervisor) == 'T' end)
    -- One event each at least, and as no two alike follow each other, the kernel merges none.
    for i = 1, limit + 1 do project:write('filler' .. i % 2, '') end
    project:write('b.txt', 'b2')
    project:replace('c.txt', 'c2')
    assert(os.execute(("rm -r '%s'"):format(project:path 'folder')))
    project:write('folder/d.txt', 'd2')
    posix.kill(supervisor, posix.SIGCONT)
    viewer:expect 'shows b2'
    viewer:expect 'shows c2'
    viewer:expect 'shows d2'
    -- The folder is another now.
    project:write('folder/d.txt', 'd3')
    viewer:expect 'shows d3'
    viewer:expect_quiet 'a.txt'
    viewer:stop()
  end)

  local limits = {
    { name = 'watches', what = 'no inotify watches left', sysctl = 'fs.inotify.max_user_watches' },
    { name = 'instances', what = 'no inotify instance could be had', sysctl = 'fs.inotify.max_user_instances' },
  }
  for _, limit in ipairs(limits) do
    for _, left in ipairs(limit.name == 'watches' and { 0, 2 } or { 0 }) do
      it(('polls when there are %d inotify %s left, and says so once'):format(left, limit.name), function()
        if not has_namespaces then return pending 'user namespaces are not allowed here' end
        local project = support.project { ['a.txt'] = 'a1', ['deep/er/b.txt'] = 'b1', ['folder/c.txt'] = 'c1' }
        local program = start_by(
          ('exec unshare --user --map-root-user sh -c "echo %d >/proc/sys/user/max_inotify_%s; exec \\"\\$@\\"" x %%s')
            :format(left, limit.name), project, { 'a.txt', 'deep/er/b.txt', 'folder/c.txt', 'missing.txt' })
        program:expect 'startup'
        for _, name in ipairs { 'folder/c.txt', 'deep/er/b.txt', 'a.txt', 'missing.txt' } do
          project:write(name, 'new ' .. name)
          program:expect('shows new ' .. name)
        end
        project:replace('a.txt', 'newer')
        program:expect 'shows newer\n'
        local seen = program.stdout.text
        assert.equal(1, count(seen, limit.what))
        assert.equal(1, count(seen, ('sysctl %s='):format(limit.sysctl)))
        assert.equal(1, count(seen, 'startup'))
        program:stop()
      end)
    end
  end

  it('uses one inotify instance, and with poll none', function()
    for _, flags in ipairs { {}, { '--poll', '30' } } do
      local project = support.project { ['value.txt'] = 'first' }
      local viewer = Viewer.start(lua, project, { flags = flags })
      viewer:expect_first('value.txt', 'shows first')
      project:write('value.txt', 'second')
      viewer:expect_resume('value.txt', 'shows second')
      assert.equal(#flags == 0 and 1 or 0, inotify_instances(proc.supervisor(viewer.pid)))
      project:replace('value.txt', 'third')
      viewer:expect_resume('value.txt', 'shows third')
      project:remove 'value.txt'
      viewer:expect_resume('value.txt', 'value.txt: No such file or directory')
      project:write('value.txt', 'fourth')
      viewer:expect_resume('value.txt', 'shows fourth')
      viewer:expect_quiet 'value.txt'
      viewer:stop()
    end
  end)

  describe('on a file system that may not tell of changes', function()
    -- Its files are edited where they come from, as somebody at the server of a network would.
    local function start(shell)
      local project = support.project { ['source/a.txt'] = 'a1', ['source/deep/b.txt'] = 'b1', ['here.txt'] = 'h1' }
      project:mkdir 'shown'
      local program = start_by('exec ' .. shell, project,
        { 'shown/a.txt', 'shown/deep/b.txt', 'shown/missing.txt', 'here.txt' })
      program:expect 'shows h1\n'
      return program, project
    end

    local function expect_edits(program, project)
      for _, name in ipairs { 'here.txt', 'source/missing.txt', 'source/deep/b.txt', 'source/a.txt' } do
        project:write(name, 'new ' .. name)
        local what = name == 'source/missing.txt' and 'is there now' or nil
        program:expect(lines.resuming(project:path((name:gsub('source', 'shown'))), nil, what))
        program:expect('shows new ' .. name .. '\n')
      end
      project:replace('source/a.txt', 'replaced')
      program:expect 'shows replaced\n'
      project:remove 'source/a.txt'
      program:expect 'shown/a.txt: No such file or directory\n'
    end

    it('polls, and says so once', function()
      local lack = lack_of_fuse()
      if lack then return pending(lack) end
      local program, project = start(by_fuse)
      expect_edits(program, project)
      assert.equal(1, count(program.stdout.text, 'polling'))
      assert.equal(1, count(program.stdout.text, ("[forkmon] '%s' is on a file system that does not report "
        .. 'changes made elsewhere: polling the files\n'):format(project:path 'shown')))
      program:stop()
      for _, pid in ipairs(support.living()) do -- bindfs unmounts and ends
        if proc.command(pid):find '^bindfs' then posix.kill(pid, posix.SIGTERM) end
      end
    end)

    it('watches where it does tell, and says nothing', function() -- the negative control
      if not succeeds 'unshare --user --map-root-user --mount mount --bind /tmp /tmp' then
        return pending 'nothing can be mounted here'
      end
      local program, project = start(by_kernel)
      expect_edits(program, project)
      assert.equal(0, count(program.stdout.text, 'polling'))
      program:stop()
    end)
  end)

  describe('when no more processes can be had', function()
    -- A user id of our own: the limit counts all processes of a user.
    local user = 100000 + posix.getpid 'pid'

    local function start(processes)
      local project = support.project { ['a.txt'] = 'a1', ['b.txt'] = 'b1', ['c.txt'] = 'c1' }
      posix.chmod(project.root, 'rwxr-xr-x')
      local program = start_by(
        ('exec setpriv --reuid=%d --clear-groups --inh-caps=-all prlimit --nproc=%d %%s'):format(user, processes),
        project, { 'a.txt', 'b.txt', 'c.txt', 'stay' })
      return program, project
    end

    it('goes on without further checkpoints, and says so once', function()
      if not is_root then return pending 'only root can become a user that nobody is' end
      for processes = 3, 5 do
        local program, project = start(processes)
        program:expect 'shows c1\n'
        assert.equal(1, count(program.stdout.text, 'no process could be had (EAGAIN'))
        for i, name in ipairs { 'c', 'b', 'a', 'c' } do
          local text = ('%s%d%d'):format(name, processes, i)
          project:write(name .. '.txt', text)
          program:expect('shows ' .. text .. '\n')
          program:expect_match(name == 'c' and '' or 'shows c%w+\n')
        end
        program:stop()
      end
    end)

    it('goes on without forkmon where there cannot even be a supervisor', function()
      if not is_root then return pending 'only root can become a user that nobody is' end
      for processes = 1, 2 do
        local program = start(processes)
        program:expect 'no process could be had for the supervisor (EAGAIN'
        program:expect 'startup\nshows a1\nshows b1\nshows c1\n'
        program:close_stdin()
        assert.same({ 'exited', 0 }, { program:wait() })
      end
    end)

    it('says nothing when there are enough', function() -- the negative control
      if not is_root then return pending 'only root can become a user that nobody is' end
      local program = start(20)
      program:expect 'shows c1\n'
      assert.equal(0, count(program.stdout.text, 'EAGAIN'))
      program:stop()
    end)
  end)

  it('is no session where too few descriptors may be open', function()
    local project = support.project {
      ['main.lua'] = "print(require('forkmon').enable { filter = 'a%.lua$' }) print(dofile 'a.lua')",
      ['a.lua'] = "return 'goes on'",
    }
    local paths = lua:paths()
    local function start(limit)
      return support.start { 'prlimit', '--nofile=' .. limit, lua.interpreter, 'main.lua', cwd = project.root,
        env = paths }
    end
    local program = start(10)
    assert.same({ 'exited', 0 }, { program:wait() })
    assert.equal('nil\tonly 10 descriptors may be open (`ulimit -n`), 3 are, and forkmon needs 8 more\ngoes on\n',
      program:unread())
    program = start(11)
    program:expect 'goes on\n'
    project:write('a.lua', "return 'resumes'")
    program:expect 'resumes\n'
    program:stop()
  end)

  it('needs no more stack than the program', function()
    local project = support.project { ['main.lua'] = "print(dofile 'a.lua')", ['a.lua'] = 'return 1' }
    local program = support.start { 'prlimit', '--stack=65536', 'forkmon', '--quiet', 'main.lua', cwd = project.root,
      env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    for i = 2, 4 do
      program:expect_exactly(i - 1 .. '\n')
      project:write('a.lua', 'return ' .. i)
    end
    program:expect_exactly '4\n'
    program:stop()
  end)

  describe('when memory runs out', function()
    local prelude = [[
      io.stdout:setvbuf 'no'
      local sys = require 'syscalls'
      local function show(name)
        local file, message = io.open(name)
        print(file and 'shows ' .. file:read() or message)
        if file then file:close() end
      end
      print 'startup'
      show 'a.txt'
    ]]

    local function start(source)
      local project = syscalls.project { ['main.lua'] = prelude .. source .. "\nprint 'done'\nio.read()",
        ['a.txt'] = 'a1', ['b.txt'] = 'b1', ['c.txt'] = 'c1' }
      return lua:forkmon { '--exact', '--filter', '%.txt$', 'main.lua', cwd = project.root, stdin = 'pipe',
        env = { LUA_PATH = './?.lua;;' } }, project
    end

    it('and a clone cannot be had, says so once: files belong to the checkpoint before', function()
      local program, project = start [[
        if sys.refuse_clones() ~= '0' then print 'refused' end
        show 'b.txt'
        show 'c.txt'
        print(require('forkmon').checkpoint())
      ]]
      if program:expect_match '\n(%a+)[^\n]*\n' == 'refused' then return pending 'seccomp is not allowed here' end
      program:expect 'done\n'
      local why = 'the process could not be cloned: ENOMEM: Out of memory; changes resume from the checkpoint before\n'
      assert.equal(1, count(program.stdout.text, '[forkmon] ' .. why))
      assert.equal(1, count(program.stdout.text, 'nil\t' .. why))
      for i, name in ipairs { 'c.txt', 'b.txt', 'c.txt', 'a.txt' } do
        project:write(name, 'edit ' .. i)
        program:expect(lines.resuming(project:path(name), name ~= 'a.txt' and project:path 'a.txt' or nil))
        program:expect('shows edit ' .. i .. '\n')
        program:expect 'done\n'
      end
      assert.equal(1, count(program.stdout.text, 'startup'))
      program:stop()
    end)

    it('ends no program that would go on without forkmon', function()
      local program, project = start [[
        local forkmon = require 'forkmon'
        local actions = { show, dofile, require, forkmon.watch, forkmon.checkpoint }
        local arguments = { 'b.txt', 'b.txt', 'missing', 'd.txt', 'label' }
        -- All that Lua itself needs outside the protected calls is there before.
        local exhaust, relent = sys.exhaust, sys.relent
        pcall(pcall, pcall, pcall, show, 'none')
        collectgarbage 'stop'
        for i = 1, 10 do
          for k = 1, #actions do
            -- What was given back in between, nobody can set aside again.
            pcall(exhaust, '16')
            pcall(actions[k], arguments[k])
          end
        end
        relent()
        show 'c.txt'
      ]]
      program:expect 'done\n'
      -- Who misses it first is for the heap to say: Lua itself each time, or forkmon.
      local told = count(program.stdout.text, '[forkmon] there is no memory left')
      assert.is_true(told <= 2, told .. ' warnings')
      for i, name in ipairs { 'c.txt', 'a.txt' } do
        project:write(name, 'edit ' .. i)
        program:expect(lines.resuming(project:path(name)))
        program:expect('shows edit ' .. i .. '\n')
        program:expect 'done\n'
      end
      program:stop()
    end)
  end)

  describe('with nowhere to write to', function()
    local project

    before_each(function()
      project = support.project {
        ['value.txt'] = 'first', log = '',
        ['main.lua'] = [[
          local file = io.open 'value.txt'
          local log = io.open('log', 'a')
          log:write(file:read '*a', '\n')
          log:close()
          if arg[1] == 'close' then
            io.stdin:close()
            io.stdout:close()
            io.stderr:close()
          else
            print 'output'
            io.stdout:flush()
            io.stderr:write 'error\n'
          end
        ]],
      }
    end)

    local function start(shell, more)
      local options = { 'sh', '-c', shell, cwd = project.root, env = environment }
      for name, value in pairs(more or {}) do options[name] = value end
      return support.start(options)
    end

    local function expect_log(text)
      support.wait_until(function() return text .. ' in the log, which is ' .. project:read 'log' end,
        function() return project:read('log') == text end)
    end

    local forkmon = "exec forkmon --filter '%.txt$' main.lua"
    local cases = {
      ['a closed output'] = { forkmon .. ' >&-' },
      ['a closed error output'] = { forkmon .. ' 2>&-' },
      ['nothing but closed streams'] = { forkmon .. ' <&- >&- 2>&-' },
      ['a full disk'] = { forkmon .. ' >/dev/full 2>/dev/full' },
      ['streams that the program closes'] = { forkmon .. ' close' },
      -- Otherwise the program dies of it, and the session ends (ending_spec).
      ['a pipe that nobody reads, and SIGPIPE ignored'] = { "trap '' PIPE; " .. forkmon, unread = true },
    }
    for name, case in pairs(cases) do
      it('resumes with ' .. name, function()
        local program = start(case[1])
        if case.unread then program:close_output() end
        expect_log 'first\n'
        project:write('value.txt', 'second')
        expect_log 'first\nsecond\n'
        project:replace('value.txt', 'third')
        expect_log 'first\nsecond\nthird\n'
        assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
      end)
    end

    it('writes no line into a file that the program opens in the place of a closed error output', function()
      project:write('main.lua', [[
        local out = io.open('out', 'w') -- gets the number 2
        local file = io.open 'value.txt'
        out:write(file:read '*a', '\n')
        out:close()
        local log = io.open('log', 'a')
        log:write(io.open 'out':read '*a')
      ]])
      local program = start(forkmon .. ' 2>&-')
      expect_log 'first\n'
      project:write('value.txt', 'second')
      expect_log 'first\nsecond\n'
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    end)

    it('resumes when the reader of its output is slow beyond measure', function()
      -- Nobody reads the pipe, and the program's own output fills it: its errors must not stop
      -- the supervisor, whose lines have no room.
      local fill = "local f = io.open 'value.txt' local log = io.open('log', 'a') log:write(f:read '*a', '\\n') "
        .. "log:close() for i = 1, 3000 do print(('x'):rep(99)) end"
      project:write('main.lua', fill)
      local program = start(forkmon)
      expect_log 'first\n'
      project:write('value.txt', 'second')
      expect_log 'first\nsecond\n'
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    end)
  end)

  local odd_names = {
    ['not UTF-8'] = '\xff\xfe\xe9 \x80.txt', ['of several lines'] = 'two\nlines\r.txt',
    ['with quotes and patterns'] = [[%d*"'$(x)`\.txt]], ['with a leading dash'] = '-x.txt',
    ['with a colon and semicolons'] = 'a;b:c;.txt', ['of one letter'] = 'x/.txt',
    ['of 255 bytes'] = ('n'):rep(251) .. '.txt',
  }
  for what, name in pairs(odd_names) do
    it('watches a file whose name is ' .. what, function()
      local project = support.project { [name] = 'first' }
      local viewer = Viewer.start(lua, project, { files = { name } })
      viewer:expect_first(name, 'shows first')
      project:write(name, 'second')
      viewer:expect_resume(name, 'shows second')
      project:remove(name)
      viewer:expect_resume(name, name .. ': No such file or directory')
      project:write(name, 'third')
      viewer:expect_resume(name, 'shows third')
      viewer:stop()
    end)
  end

  it('watches files whose paths are as long as can be', function()
    local project = support.project {}
    local longest = 4095 -- with the zero at its end, PATH_MAX
    local folder = project.root
    while longest - #folder > 460 do folder = folder .. '/' .. ('d'):rep(200) end
    if longest - #folder > 256 then folder = folder .. '/' .. ('e'):rep(longest - #folder - 220) end
    local file = folder .. '/' .. ('f'):rep(longest - #folder - 5) .. '.txt'
    assert.equal(longest, #file)
    project:write(file, 'first')
    local viewer = Viewer.start(lua, project, { files = { file } })
    viewer:expect_first(file, 'shows first')
    project:write(file, 'second')
    viewer:expect_resume(file, 'shows second')
    project:remove(file)
    viewer:expect_resume(file, file .. ': No such file or directory')
    project:write(file, 'third')
    viewer:expect_resume(file, 'shows third')
    viewer:stop()
  end)

  it('says once that longer paths are not watched', function()
    local project = syscalls.project {
      ['main.lua'] = [[
        io.stdout:setvbuf 'no'
        local forkmon, chdir = require 'forkmon', require('syscalls').chdir
        for step in io.lines 'steps' do assert(chdir(step) == '0') end
        local function show(name) print(io.open(name):read '*a') end
        show 'deep.txt'
        show 'other.txt'
        package.path = './?.txt'
        print((require 'module'))
        print(forkmon.watch 'deep.txt')
        show(arg[1])
        io.read()
      ]],
      ['value.txt'] = 'first',
    }
    local step = ('d'):rep(200)
    project:write('steps', (step .. '\n'):rep(21))
    assert(os.execute(([[cd '%s' && while read -r step; do mkdir "$step" && cd -P "$step" || exit; done <steps &&
      printf deep >deep.txt && printf other >other.txt && echo 'return 1' >module.txt]]):format(project.root)))
    local told = ([[
[forkmon] 'deep.txt' is not watched: its absolute path has %d bytes, and no more than 4095 can be used (PATH_MAX)
deep
other
1
nil	the path cannot be watched
]]):format(#project:path '' + 21 * 201 + #'deep.txt')
    local program = lua:forkmon { '--filter', '%.txt$', 'main.lua', project:path 'value.txt', cwd = project.root,
      stdin = 'pipe', env = { LUA_PATH = './?.lua;;' } }
    program:expect_exactly(told .. lines.watch(project:path 'value.txt') .. 'first\n')
    project:write('value.txt', 'second')
    program:expect_exactly(lines.resuming(project:path 'value.txt') .. 'second\n')
    program:stop()
  end)

  -- FORKMON_SOAK=10000 runs it for longer than a suite can.
  it('grows in no way over many edits', function()
    local edits = tonumber(os.getenv 'FORKMON_SOAK') or 500
    local project = support.project { ['a.txt'] = 'a', ['b.txt'] = 'b' }
    local viewer = Viewer.start(lua, project, { files = { 'a.txt', 'missing.txt', 'b.txt' }, stay = true })
    viewer:expect 'shows b'

    local function sizes()
      local supervisor = proc.supervisor(viewer.pid)
      local processes = #proc.children(supervisor)
      local descriptors, memory = 0, 0
      for _ in pairs(proc.descriptors(supervisor)) do descriptors = descriptors + 1 end
      for _, pid in ipairs(proc.tree(viewer.pid)) do
        memory = math.max(memory, tonumber((proc.status(pid, 'RssAnon') or '0'):match '%d+'))
      end
      return { processes = processes, descriptors = descriptors }, memory
    end

    local before, memory_before
    local styles = { 'write', 'replace', 'write_after_backup', 'write_in_two_steps' }
    for i = 1, edits do
      local name, text = i % 3 == 0 and 'a' or 'b', ('%d of %s'):format(i, i % 3 == 0 and 'a' or 'b')
      project[styles[i % 4 + 1]](project, name .. '.txt', text)
      viewer:expect('shows ' .. text)
      if name == 'a' then viewer.program:expect_match 'shows [^\n]*b\n' end
      if i == edits // 5 then
        viewer.program.stdout.text, viewer.program.stdout.position = '', 1
        before, memory_before = sizes()
      end
    end
    local after, memory = sizes()
    -- One may be on its way out at the moment of looking; checkpoints that were dropped for want of time are fewer.
    assert.is_true(after.processes - before.processes <= 2,
      ('%d processes became %d'):format(before.processes, after.processes))
    assert.equal(before.descriptors, after.descriptors)
    assert.is_true(memory <= memory_before + 400, ('%d KB became %d KB'):format(memory_before, memory))
    if os.getenv 'FORKMON_SOAK' then
      print(('%d edits: %d processes, %d descriptors, %d KB; before %d, %d, %d'):format(edits, after.processes,
        after.descriptors, memory, before.processes, before.descriptors, memory_before))
    end
    viewer:stop()
  end)
end)
