--- Files that are mounts, file systems with coarse times, and writers that never close: every edit counts.
--
-- Containers mount single files and folders ("volumes"), and put layers over each other. All is mounted in namespaces
-- of the sessions' own; where that is not allowed the specs are pending and say why.

local posix = require 'posix'
local sandbox = require 'spec.support.sandbox'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local inside = sandbox.inside

--- Waits until nothing is looked at once more, as what was saved just now is.
local function grow_old(program)
  posix.poll({}, 150)
  support.await_idle(program)
end

support.one_lua(function(lua)
  --- A program that shows app/a.lua, up to the first 'a0'.
  local function start(prepare, files)
    local project = support.project { ['app/main.lua'] = "print(dofile 'a.lua') io.stdout:flush()" }
    for name, text in pairs(files) do project:write(name, text) end
    local program = sandbox.start(lua, { '--quiet', 'main.lua', cwd = project:path 'app',
      prepare = ('cd %q\n'):format(project.root) .. prepare })
    program:expect_exactly 'a0\n'
    grow_old(program)
    return program, project
  end

  --- Each edit must be shown once, and be the next thing that is.
  local function expect_edits(program, project, paths)
    for round = 1, 2 do
      for i, path in ipairs(paths) do
        local text = ('a%d%d'):format(round, i)
        project:write(path, ("return '%s'"):format(text))
        program:expect_exactly(text .. '\n')
        grow_old(program)
      end
    end
  end

  local lack = sandbox.lack '--mount'

  describe('a file that is a mount of its own', function()
    local bind = 'mount --bind host/a.lua app/a.lua'
    local files = { ['host/a.lua'] = "return 'a0'", ['app/a.lua'] = "return 'hidden'" }

    it('is watched, whichever of its names is saved', function()
      if lack then return pending(lack) end
      local program, project = start(bind, files)
      expect_edits(program, project, { 'host/a.lua', inside(program, project:path 'app/a.lua') })
      program:stop()
    end)

    it('is not confused with the file that it hides, or with its neighbours', function() -- the negative control
      if lack then return pending(lack) end
      local program, project = start(bind, files)
      project:write('app/a.lua', "return 'still hidden'")
      project:write('host/b.lua', "return 'another'")
      grow_old(program)
      assert.equal('', program:unread())
      expect_edits(program, project, { inside(program, project:path 'app/a.lua') })
      program:stop()
    end)

    it('is watched where it becomes one later, and counts as another then', function()
      if lack then return pending(lack) end
      local program, project = start('true', { ['app/a.lua'] = "return 'a0'", ['host/a.lua'] = "return 'mounted'" })
      local path = project:path 'app/a.lua'
      sandbox.run(program, ('mount --bind %q %q'):format(project:path 'host/a.lua', path))
      program:expect_exactly 'mounted\n'
      grow_old(program)
      expect_edits(program, project, { 'host/a.lua', inside(program, path) })
      sandbox.run(program, ('umount %q'):format(path))
      program:expect_exactly 'a0\n'
      grow_old(program)
      expect_edits(program, project, { 'app/a.lua' })
      program:stop()
    end)
  end)

  describe('a file in a folder', function()
    it('that is mounted is watched, from either side', function()
      if lack then return pending(lack) end
      local program, project = start('mount --bind host app', {
        ['host/a.lua'] = "return 'a0'", ['host/main.lua'] = "print(dofile 'a.lua') io.stdout:flush()" })
      expect_edits(program, project, { 'host/a.lua', inside(program, project:path 'app/a.lua') })
      project:replace('host/a.lua', "return 'replaced'")
      program:expect_exactly 'replaced\n'
      program:stop()
    end)

    for _, where in ipairs { 'its folder', 'the folder above' } do
      it('is another when something is mounted on ' .. where .. ' later', function()
        if lack then return pending(lack) end
        local project = support.project { ['main.lua'] = "print(dofile 'lib/deep/a.lua') io.stdout:flush()",
          ['lib/deep/a.lua'] = "return 'a0'", ['host/deep/a.lua'] = "return 'mounted'" }
        local program = sandbox.start(lua, { '--quiet', 'main.lua', cwd = project.root })
        program:expect_exactly 'a0\n'
        grow_old(program)
        local folder = where == 'its folder' and '/deep' or ''
        local shown = project:path('lib' .. folder)
        sandbox.run(program, ('mount --bind %q %q'):format(project:path('host' .. folder), shown))
        program:expect_exactly 'mounted\n'
        grow_old(program)
        expect_edits(program, project, { 'host/deep/a.lua' })
        sandbox.run(program, ('umount %q'):format(shown))
        program:expect_exactly 'a0\n'
        grow_old(program)
        expect_edits(program, project, { 'lib/deep/a.lua' })
        program:stop()
      end)
    end

    it('of layers is watched, also when the first save brings it to the upper one', function()
      local lack_of_overlay = lack or sandbox.lack('--mount', 'cd /tmp; mount -t tmpfs tmpfs /mnt; cd /mnt; '
        .. 'mkdir l u w m; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w overlay m')
      if lack_of_overlay then return pending(lack_of_overlay) end
      local program, project = start('mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay app', {
        ['lower/a.lua'] = "return 'a0'", ['lower/main.lua'] = "print(dofile 'a.lua') io.stdout:flush()",
        ['upper/x'] = '', ['work/x'] = '' })
      local path = inside(program, project:path 'app/a.lua')
      expect_edits(program, project, { path })
      project:replace(path, "return 'replaced'")
      program:expect_exactly 'replaced\n'
      expect_edits(program, project, { path })
      program:stop()
    end)
  end)

  -- ext4 with inodes of 128 bytes has no room for more than seconds, as FAT, ext2, ext3 and some network file systems.
  describe('where times are whole seconds', function()
    local prepare = 'mount -o loop ext shown'
    local mkfs = 'PATH=$PATH:/sbin:/usr/sbin; truncate -s 4M ext; mke2fs -q -F -I 128 ext >/dev/null 2>&1'
    local probe = ('cd $(mktemp -d); %s; mkdir shown; code=0; { %s; umount shown; } || code=1; rm -r $PWD; exit $code')
      :format(mkfs, prepare)
    local lack_of_loop

    local function start_there(flags)
      lack_of_loop = lack_of_loop or sandbox.lack('--mount', probe) or 'none'
      if lack_of_loop ~= 'none' then return pending(lack_of_loop) end
      local project = support.project { ['shown/x'] = '' }
      local options = { '--quiet', 'main.lua', cwd = project:path 'shown', prepare = ('cd %q\n'):format(project.root)
        .. mkfs .. '\n' .. prepare .. [[

          cd shown
          mkdir folder
          echo "print(dofile 'a.lua') io.stdout:flush()" >main.lua
          echo "return 'a0'" >a.lua
          touch -d '1 hour ago' *]] }
      table.move(options, 1, #options, 1 + #flags)
      table.move(flags, 1, #flags, 1, options)
      local program = sandbox.start(lua, options)
      program:expect_exactly 'a0\n'
      support.await_idle(program)
      return program, project, inside(program, project:path 'shown')
    end

    --- Does the deeds one after the other; returns whether that was in one second of the file system's.
    local function within_a_second(deeds)
      local began
      support.wait_until('the beginning of a second', function()
        began = posix.gettimeofday()
        return began.usec > 50000 and began.usec < 200000 -- the kernel's clock for files is some ms behind
      end)
      for _, deed in ipairs(deeds) do deed() end
      return posix.gettimeofday().sec == began.sec
    end

    local kinds = {
      { 'save', {}, function(project, root, number)
        project:write(root .. '/a.lua', ("return 'a%04d'"):format(number)) -- as long as the one before
        return ('a%04d\n'):format(number)
      end },
      { 'new file in a watched folder', { '--watch', 'folder' }, function(project, root, number)
        project:write(('%s/folder/%d'):format(root, number), '')
        return 'a0\n'
      end },
    }
    for _, kind in ipairs(kinds) do
      for _, polls in ipairs { false, true } do
        it(('loses no second %s within one of them%s'):format(kind[1], polls and ', when it polls' or ''), function()
          local flags = polls and { '--poll', '20', table.unpack(kind[2]) } or kind[2]
          local program, project, root = start_there(flags)
          if not program then return end
          local number = 0
          local function edit()
            number = number + 1
            program:expect_exactly(kind[3](project, root, number))
            support.await_idle(program)
          end
          local rounds = 0
          support.wait_until('two rounds within a second each', function()
            if within_a_second { edit, edit, edit } then rounds = rounds + 1 end
            return rounds == 2
          end)
          assert.equal('', program:unread()) -- none is shown twice
          program:stop()
        end)
      end
    end
  end)

  describe('a file that nobody closes', function()
    local function start_viewer()
      local project = syscalls.project { ['a.txt'] = 'one',
        ['main.lua'] = "local file = io.open 'a.txt' print(file:read '*a') file:close() io.stdout:flush()" }
      local program = lua:forkmon { '--quiet', '--filter', '%.txt$', 'main.lua', cwd = project.root }
      program:expect_exactly 'one\n'
      grow_old(program)
      return program, project
    end

    it('is seen to be cut by its name', function()
      local program, project = start_viewer()
      for size = 2, 1, -1 do
        local cut = lua:start { '-e', ("assert(require('syscalls').truncate('a.txt', '%d') == '0')"):format(size),
          cwd = project.root }
        assert.same({ 'exited', 0 }, { cut:wait() })
        program:expect_exactly(('one'):sub(1, size) .. '\n')
        grow_old(program)
      end
      program:stop()
    end)

    it('is seen to be written by whoever keeps it open', function()
      local program, project = start_viewer()
      local file = assert(io.open(project:path 'a.txt', 'r+'))
      for _, text in ipairs { 'two', 'new', 'one' } do
        file:seek('set', 0)
        file:write(text)
        file:flush()
        program:expect_exactly(text .. '\n')
        grow_old(program)
      end
      assert.equal('', program:unread())
      file:close()
      grow_old(program)
      assert.equal('', program:unread()) -- the closing changed nothing any more
      program:stop()
    end)

    it('does not count where it was only read', function() -- the negative control
      local program, project = start_viewer()
      local file = assert(io.open(project:path 'a.txt', 'r+'))
      assert.equal('one', file:read '*a')
      file:close()
      project:write('b.txt', 'another')
      support.await_idle(program)
      assert.equal('', program:unread())
      project:write('a.txt', 'two')
      program:expect_exactly 'two\n'
      program:stop()
    end)
  end)
end)
