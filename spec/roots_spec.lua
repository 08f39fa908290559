--- Programs that run in another root directory, and programs that go to one.
--
-- A path means something only together with a root and its mounts. A session that is all in a
-- chroot is like any other. A program that leaves its supervisor's root is told, once, that what
-- it opens from then on is not watched; what it opened before still is.
--
-- All of it in user and mount namespaces; where there can be none, the specs are pending.

local posix = require 'posix'
local lines = require 'spec.support.lines'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local namespaces = 'unshare --user --map-root-user --mount '
local has_namespaces = os.execute(namespaces .. 'mount --bind /tmp /tmp >/dev/null 2>&1')

support.each_lua(function(lua)
  --- `it`, where namespaces can be had.
  local function it_can(name, body)
    it(name, function()
      if not has_namespaces then return pending 'user namespaces are not allowed here' end
      body()
    end)
  end

  local function start(shell, project)
    local lua_files = lua.tree .. '/share/lua/' .. lua.version
    return support.start { 'sh', '-c', 'exec ' .. namespaces .. shell, cwd = project.root, stdin = 'pipe', env = {
      PATH = lua.tree .. '/bin:' .. os.getenv 'PATH',
      LUA_PATH = ('./?.lua;%s/?.lua;%s/?/init.lua;;'):format(lua_files, lua_files),
      LUA_CPATH = lua.tree .. '/lib/lua/' .. lua.version .. '/?.so;;',
    } }
  end

  describe('a session in a chroot', function()
    --- Runs a command in a root of its own, where the project is /mnt.
    local function start_inside(command, project, has_proc)
      project:mkdir 'root'
      return start(([[sh -c '
        mount --rbind / root && mount --bind . root/mnt && %s &&
        exec chroot root sh -c "cd /mnt && exec %s"']])
        :format(has_proc and 'true' or 'mount -t tmpfs none root/proc', command), project)
    end

    it_can('is as any other', function()
      local function script(version)
        return ("print '%s' require('forkmon').enable { filter = '%%.txt$', exact = true } "
          .. "print(io.open('a.txt'):read '*a') io.stdout:flush() io.read()"):format(version)
      end
      local project = support.project { ['main.lua'] = script 'v1', ['a.txt'] = 'first' }
      local program = start_inside(lua.interpreter .. ' main.lua', project, true)
      program:expect_exactly('v1\n' .. lines.watch '/mnt/a.txt' .. 'first\n')
      for _, text in ipairs { 'second', 'third' } do
        project:replace('a.txt', text)
        program:expect_exactly(lines.resuming '/mnt/a.txt' .. text .. '\n')
      end
      project:replace('main.lua', script 'v2')
      program:expect_exactly(lines.restarting '/mnt/main.lua' .. 'v2\n')
      program:expect 'third\n'
      project:write('a.txt', 'fourth')
      program:expect_exactly(lines.resuming '/mnt/a.txt' .. 'fourth\n')
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    end)

    it_can('is none without /proc, and the program goes on', function()
      local project = support.project {
        ['enables.lua'] = "print(require('forkmon').enable { filter = 'x' }) print 'goes on'",
        ['plain.lua'] = "print 'goes on'",
      }
      local why = '/proc is not mounted, and forkmon needs it'
      for command, result in pairs {
        [lua.interpreter .. ' enables.lua'] = { 0, 'nil\t' .. why .. '\ngoes on\n' },
        ['forkmon ' .. lua.interpreter .. ' plain.lua'] =
          { 0, '[forkmon] ' .. why .. ', going on without forkmon\ngoes on\n' },
        -- This needs it to find out which Lua is running.
        ['forkmon plain.lua'] = { 127, "forkmon: cannot run 'plain.lua': " .. why .. '\n' },
      } do
        local program = start_inside(command, project, false)
        assert.same({ 'exited', result[1] }, { program:wait() })
        assert.equal(result[2], program:unread())
      end
    end)
  end)

  it_can('a session is none where /proc is of another PID namespace', function()
    local project = support.project {
      ['enables.lua'] = "print(require('forkmon').enable { filter = 'x' }) print 'goes on'",
    }
    local program = start('--pid --fork ' .. lua.interpreter .. ' enables.lua', project)
    assert.same({ 'exited', 0 }, { program:wait() })
    assert.equal('nil\t/proc is that of another PID namespace, and forkmon needs that of its own '
      .. '(see `unshare --mount-proc`)\ngoes on\n', program:unread())
  end)

  describe('a program that goes', function()
    local warning = '[forkmon] the program has changed its root directory or its mounts (chroot, unshare): '
      .. 'what it opens there is not watched\n'

    --- It shows a file, does `deed` and shows more.
    local function start_leaving(deed, rest)
      local project = syscalls.project { ['before.txt'] = 'before', ['jail/in.txt'] = 'in jail',
        ['other/in.txt'] = 'in other' }
      project:mkdir('jail' .. project.root)
      project:write('main.lua', ([[
        io.stdout:setvbuf 'no'
        local root, sys = %q, require 'syscalls'
        local enter, chdir, mount, pid = sys.chroot, sys.chdir, sys.mount, sys.pid
        local function show(name)
          local file, message = io.open(name)
          print(file and file:read '*a' or message)
          if file then file:close() end
        end
        show(root .. '/before.txt')
        %s
        %s
        io.read()
      ]]):format(project.root, deed, rest or ''))
      return start("forkmon --exact --filter '%.txt$' main.lua", project), project
    end

    local deeds = {
      ['to another root'] = { text = 'in jail', rest = "show '/in.txt' show '/no.txt'",
        deed = "assert(enter 'jail' == '0' and chdir '/' == '0')" },
      ['among other mounts'] = { text = 'in other', rest = "show 'jail/in.txt' show '/no.txt'",
        deed = "local done = mount('other', 'jail') assert(done == '0', done)" },
    }
    for where, case in pairs(deeds) do
      it_can(where .. ' is told that what it opens there is not watched, and all else is', function()
        local program, project = start_leaving(case.deed, case.rest)
        local there = case.text == 'in jail' and 'jail/in.txt' or 'other/in.txt'
        local rest = case.text .. '%s\n/no.txt: No such file or directory\n'
        program:expect_exactly(lines.watch(project:path 'before.txt') .. 'before\n' .. warning .. rest:format '')
        for i = 1, 3 do
          -- Nobody sees it, and the next thing that happens is a resume from before.
          project:write(there, case.text .. i)
          project:write('before.txt', 'edit ' .. i)
          program:expect_exactly(lines.resuming(project:path 'before.txt') .. 'edit ' .. i .. '\n' .. rest:format(i))
        end
        assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
      end)
    end

    it_can('nowhere else has it all watched', function() -- the negative control
      local program, project = start_leaving('', "show 'jail/in.txt'")
      program:expect_exactly(lines.watch(project:path 'before.txt') .. 'before\n'
        .. lines.watch(project:path 'jail/in.txt') .. 'in jail\n')
      project:write('jail/in.txt', 'edited')
      program:expect_exactly(lines.resuming(project:path 'jail/in.txt') .. 'edited\n')
      program:stop()
    end)

    it_can('where /proc is not has no checkpoint there', function()
      local program, project = start_leaving("enter 'jail'", "print(require('forkmon').checkpoint())")
      program:expect_exactly(lines.watch(project:path 'before.txt') .. 'before\n')
      local why = '/proc is not mounted, and a checkpoint needs it; changes resume from the checkpoint before\n'
      program:expect_exactly('[forkmon] ' .. why .. 'nil\t' .. why)
      project:write('before.txt', 'edit')
      program:expect_exactly(lines.resuming(project:path 'before.txt') .. 'edit\nnil\t' .. why)
      program:stop()
    end)

    it_can('to another root does not write the files that have the same names here', function()
      local program, project = start_leaving("enter 'jail'", [[
        local copy = assert(io.open(root .. '/before.txt', 'w'))
        copy:write 'copy'
        copy:close()
        print 'done'
      ]])
      program:expect 'done\n'
      for i = 1, 3 do
        project:write('before.txt', 'edit ' .. i)
        program:expect('edit ' .. i .. '\n')
        program:expect 'done\n'
      end
      program:stop()
    end)
  end)
end)
