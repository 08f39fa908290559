--- Every way in which a file can come to be different, and what a session makes of it.
--
-- A viewer shows a file; the spec saves it in one style, twice, and the viewer must show what
-- was saved, once, without starting again. 'Once' is proven by what comes next: an ordinary
-- edit, whose effect must be the next output. Styles that leave a file half written for longer
-- than forkmon waits may show the half; only the end counts for them.

local posix = require 'posix'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'
local Viewer = require 'spec.support.viewer'

local function pause(milliseconds)
  posix.poll({}, milliseconds) -- the pause is the subject here, not a way to wait
end

--- Saves that are one change.
local at_once = {
  ['in place'] = function(project, name, text) project:write(name, text) end,
  ['in place, by two openings'] = function(project, name, text)
    project:write_in_two_steps(name, text)
  end,
  ['in place, without truncation'] = function(project, name, text)
    local file = assert(io.open(project:path(name), 'r+'))
    file:write(text, '\n')
    file:close()
  end,
  ['in place, with its old size and time'] = function(project, name, text)
    local before = posix.stat(project:path(name))
    project:write(name, text)
    assert.equal(before.size, posix.stat(project:path(name)).size)
    assert(posix.utime(project:path(name), before.mtime, before.mtime))
  end,
  ['by a rename over it'] = function(project, name, text) project:replace(name, text) end,
  ['by moving it away and creating it anew'] = function(project, name, text)
    project:write_after_backup(name, text)
  end,
  ['by moving it away and creating it after a pause'] = function(project, name, text)
    project:rename(name, name .. '~')
    pause(20)
    project:write(name, text)
  end,
  ['by deleting and creating it after a pause'] = function(project, name, text)
    project:remove(name)
    pause(20)
    project:write(name, text)
  end,
  ['by deleting it and linking a new file there'] = function(project, name, text)
    project:write(name .. '.new~', text)
    project:remove(name)
    assert(posix.link(project:path(name .. '.new~'), project:path(name)))
    project:remove(name .. '.new~')
  end,
  ['by a hard link renamed over it'] = function(project, name, text)
    project:write('elsewhere-' .. text, text)
    assert(posix.link(project:path('elsewhere-' .. text), project:path 'link~'))
    project:rename('link~', name)
  end,
  ['by a symbolic link renamed over it'] = function(project, name, text)
    project:write('elsewhere-' .. text, text)
    project:link('elsewhere-' .. text, name)
  end,
  ['through another name of it'] = function(project, name, text)
    -- Somebody who looks between the writing and the touch has seen two saves, rightly. So does
    -- forkmon, once, some 20 ms after a file was opened that had been saved just before.
    pause(100)
    if not posix.access(project:path 'folder/other-name') then
      assert(posix.link(project:path(name), project:path 'folder/other-name'))
    end
    project:write('folder/other-name', text)
    project:remove 'folder/other-name'
    project:touch(name) -- no event reaches a name that nobody used; the touch brings it to light
  end,
}

support.each_lua(function(lua)
  local names = {}
  for name in pairs(at_once) do names[#names + 1] = name end
  table.sort(names)

  for _, how in ipairs(names) do
    for _, stay in ipairs { false, true } do
      it(('shows a file saved %s, %s'):format(how, stay and 'while it runs' or 'after its end'), function()
        local project = support.project { ['value.txt'] = 'first!', ['folder/x'] = '' }
        posix.utime(project:path 'value.txt', 1000000000, 1000000000)
        local viewer = Viewer.start(lua, project, { stay = stay })
        viewer:expect_first('value.txt', 'shows first!')
        at_once[how](project, 'value.txt', 'second')
        viewer:expect_resume('value.txt', 'shows second')
        at_once[how](project, 'value.txt', 'third!')
        viewer:expect_resume('value.txt', 'shows third!')
        viewer:expect_quiet 'value.txt'
        viewer:stop()
      end)
    end
  end

  it('waits for the rest of a file of several names that was emptied', function()
    local project = support.project { ['value.txt'] = 'first', ['folder/x'] = '' }
    assert(posix.link(project:path 'value.txt', project:path 'folder/other-name'))
    assert(posix.link(project:path 'folder/other-name', project:path 'link.txt', true))
    for _, name in ipairs { 'value.txt', 'link.txt' } do
      local viewer = Viewer.start(lua, project, { files = { name } })
      viewer:expect_first(name, 'shows ' .. project:read(name))
      for _, text in ipairs { 'second', 'third' } do
        local file = assert(io.open(project:path(name), 'w'))
        -- By chance forkmon looks at it now; so that it always does, an event comes of it.
        assert(posix.chmod(project:path(name), 'rw-r--r--'))
        pause(20)
        file:write(text)
        file:close()
        viewer:expect_resume(name, 'shows ' .. text)
      end
      viewer:expect_quiet(name)
      viewer:stop()
    end
  end)

  it('shows a file again that was only touched', function()
    local project = support.project { ['value.txt'] = 'same' }
    local viewer = Viewer.start(lua, project)
    viewer:expect_first('value.txt', 'shows same')
    project:touch 'value.txt'
    viewer:expect_resume('value.txt', 'shows same')
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)

  it('is not moved by what happens beside a file', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project)
    viewer:expect_first('value.txt', 'shows first')
    project:write('value.txt~', 'backup')
    project:write('.value.txt.swp', 'swap')
    project:write('other.txt', 'x')
    project:rename('other.txt', 'another.txt')
    project:remove 'another.txt'
    project:read 'value.txt'
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)

  it('shows in the end what was written in two steps with a long pause', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project)
    viewer:expect_first('value.txt', 'shows first')
    project:write('value.txt', '')
    viewer:expect 'shows nothing'
    project:append('value.txt', 'second')
    viewer:expect_resume('value.txt', 'shows second')
    project:write('value.txt', '')
    pause(20)
    project:append('value.txt', 'third')
    viewer:expect 'shows third'
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)

  it('waits for the end of a new file that is still being written', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project)
    viewer:expect_first('value.txt', 'shows first')
    project:remove 'value.txt'
    local file = assert(io.open(project:path 'value.txt', 'w'))
    pause(30)
    file:write 'second'
    file:close()
    viewer:expect_resume('value.txt', 'shows second')
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)

  it('shows that a file is gone for good, and that it is back', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project)
    viewer:expect_first('value.txt', 'shows first')
    for _, text in ipairs { 'second', 'third' } do
      project:remove 'value.txt'
      viewer:expect_resume('value.txt', 'value.txt: No such file or directory')
      project:write('value.txt', text)
      viewer:expect_resume('value.txt', 'shows ' .. text)
    end
    project:rename('value.txt', 'elsewhere.txt')
    viewer:expect_resume('value.txt', 'value.txt: No such file or directory')
    project:rename('elsewhere.txt', 'value.txt')
    viewer:expect_resume('value.txt', 'shows third')
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)

  it('lets a program fail on a module that is gone, and recover', function()
    local project = support.project {
      ['main.lua'] = "print 'startup' print(require 'part')", ['part.lua'] = "return 'first'",
    }
    local program = lua:forkmon { 'main.lua', cwd = project.root }
    program:expect 'startup\n'
    program:expect 'first'
    project:remove 'part.lua'
    program:expect "module 'part' not found"
    program:expect '[forkmon] exited with status 1, waiting for changes..\n'
    project:write('part.lua', "return 'second'")
    program:expect 'second'
    assert.is_nil(program.stdout.text:find('startup.*startup'))
    program:stop()
  end)

  it('shows a file that was missing, and its folders with it', function()
    local project = support.project { anchor = '' }
    local viewer = Viewer.start(lua, project, { files = { 'a/b/c/value.txt' } })
    viewer:expect_first('a/b/c/value.txt', 'a/b/c/value.txt: No such file or directory')
    project:mkdir 'a'
    project:mkdir 'a/b/c' -- at once: the walk must not miss what is there already
    project:write('a/b/c/value.txt', 'first')
    viewer.program:expect('resuming from it..\n')
    viewer:expect 'shows first'
    project:write('a/b/c/value.txt', 'second')
    viewer:expect_resume('a/b/c/value.txt', 'shows second')
    viewer:stop()
  end)

  it('shows a file whose folder appears as a whole', function()
    local project = support.project { ['prepared/b/value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project, { files = { 'a/b/value.txt' } })
    viewer:expect_first('a/b/value.txt', 'a/b/value.txt: No such file or directory')
    project:rename('prepared', 'a')
    viewer.program:expect('resuming from it..\n')
    viewer:expect 'shows first'
    viewer:expect_quiet 'a/b/value.txt'
    viewer:stop()
  end)

  it('loads a module that was missing', function()
    local project = support.project {
      ['main.lua'] = "print 'startup' print(pcall(require, 'extra') and 'found' or 'missing')",
    }
    local program = lua:forkmon { 'main.lua', cwd = project.root }
    program:expect 'startup\nmissing\n'
    project:write('extra.lua', 'return true')
    program:expect(("[forkmon] file '%s' is there now, resuming from "):format(project:path 'extra.lua'))
    program:expect 'found\n'
    project:remove 'extra.lua'
    program:expect 'missing\n'
    assert.is_nil(program.stdout.text:find('startup.*startup'))
    program:stop()
  end)

  it('prefers a candidate that appears earlier on package.path, and goes back when it goes', function()
    local project = support.project {
      ['main.lua'] = "package.path = './early/?.lua;./?/init.lua;./late/?.lua' print 'startup' print(require 'part')",
      ['late/part.lua'] = "return 'late'",
    }
    local program = lua:forkmon { 'main.lua', cwd = project.root }
    program:expect 'startup\n'
    program:expect 'late'
    project:write('part/init.lua', "return 'middle'")
    program:expect 'resuming'
    program:expect 'middle'
    project:write('early/part.lua', "return 'early'")
    program:expect 'resuming'
    program:expect 'early'
    project:remove 'early/part.lua'
    program:expect 'resuming'
    program:expect 'middle'
    project:write('late/part.lua', "return 'not seen'") -- nobody looks as far as that now
    project:remove 'part/init.lua'
    program:expect 'resuming'
    program:expect 'not seen'
    assert.is_nil(program.stdout.text:find('startup.*startup'))
    program:stop()
  end)

  it('shows what a file became again after it had been a folder that the program has open', function()
    local project = support.project { ['value.txt'] = 'one', ['part.lua'] = '', ['main.lua'] = [[
      OPEN = io.open 'value.txt'
      print('shows ' .. tostring(OPEN and OPEN:read '*l'))
      dofile 'part.lua'
      io.stdout:flush()
      io.read()
    ]] }
    local program = lua:forkmon { '--quiet', '--exact', '--filter=%.lua$;%.txt$', 'main.lua', cwd = project.root,
      stdin = 'pipe' }
    program:expect_exactly 'shows one\n'
    project:remove 'value.txt'
    project:mkdir 'value.txt'
    program:expect_exactly 'shows nil\n'
    project:remove_folder 'value.txt'
    project:write('value.txt', 'two')
    program:expect_exactly 'shows two\n'
    project:write('value.txt', 'three')
    program:expect_exactly 'shows three\n'
    program:stop()
  end)

  it('shows what is in the place of the folder that a program has gone to', function()
    local project = syscalls.project {
      ['main.lua'] = "require('syscalls').chdir 'work' print((dofile 'value.lua')) io.stdout:flush() io.read()",
      ['work/value.lua'] = "return 'one'", ['new/value.lua'] = "return 'two'",
    }
    local program = lua:forkmon { '--quiet', '--exact', 'main.lua', cwd = project.root, stdin = 'pipe',
      env = { LUA_PATH = './?.lua;;' } }
    program:expect_exactly 'one\n'
    project:rename('work', 'old')
    project:rename('new', 'work')
    program:expect_exactly 'two\n'
    project:write('work/value.lua', "return 'three'")
    program:expect_exactly 'three\n'
    project:write('old/value.lua', "return 'nobody looks'")
    project:remove_folder 'old'
    project:write('work/value.lua', "return 'four'")
    program:expect_exactly 'four\n'
    program:stop()
  end)

  it('runs again what another file was read by that was there for a moment', function()
    local project = support.project { ['here/value.txt'] = 'one', ['there/value.txt'] = 'other', ['main.lua'] = [[
      local function show(name)
        local file = io.open 'here/value.txt'
        print(name, file:read '*l')
        file:close()
        io.stdout:flush()
      end
      show 'first'
      io.read()
      show 'second'
      io.read()
    ]] }
    local program = lua:forkmon { '--quiet', '--filter=%.txt$', 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect_exactly 'first\tone\n'
    -- Who asks may know of what the program has read: the supervisor has looked by then.
    lua:forkmon { 'status', tostring(program.pid) }:wait()
    support.await_idle(program)
    -- While it is so, only the program looks.
    local supervisor = support.proc.supervisor(program.pid)
    posix.kill(supervisor, posix.SIGSTOP)
    support.wait_until('the stop', function() return support.proc.state(supervisor) == 'T' end)
    project:rename('here', 'away')
    project:rename('there', 'here')
    program:write '\n'
    program:expect_exactly 'second\tother\n'
    project:rename('here', 'there')
    project:rename('away', 'here')
    posix.kill(supervisor, posix.SIGCONT)
    program:expect_exactly 'first\tone\n'
    program:write '\n'
    program:expect_exactly 'second\tone\n'
    program:stop()
  end)

  it('shows what a folder that may not be entered any more keeps from view', function()
    local project = support.project {
      ['first/module.lua'] = "return 'first'", ['second/module.lua'] = "return 'second'",
      ['main.lua'] = "package.path = './first/?.lua;./second/?.lua' print((require 'module'))",
    }
    local command = { 'forkmon', '--quiet', 'main.lua', cwd = project.root,
      env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    if posix.getpid 'euid' == 0 then
      local rights = '-dac_override,-dac_read_search'
      command = table.move(command, 1, 3, 4, command)
      command[1], command[2], command[3] = 'setpriv', '--bounding-set=' .. rights, '--inh-caps=' .. rights
    end
    local program = support.start(command)
    program:expect_exactly 'first\n'
    os.execute(("chmod 000 '%s'"):format(project:path 'first'))
    -- It may say that it has to poll what it cannot watch.
    program:expect 'second\n'
    os.execute(("chmod 755 '%s'"):format(project:path 'first'))
    program:expect 'first\n'
    program:stop()
  end)

  describe('in a folder', function()
    local function start(file)
      local project = support.project { ['v1/deep/value.txt'] = 'one', ['v2/deep/value.txt'] = 'two' }
      project:link('v1', 'current')
      local viewer = Viewer.start(lua, project, { files = { file } })
      viewer:expect_first(file, 'shows one')
      return viewer, project
    end

    it('that is reached by a link which is turned', function()
      local viewer, project = start 'current/deep/value.txt'
      project:link('v2', 'current')
      viewer:expect_resume('current/deep/value.txt', 'shows two')
      project:write('v2/deep/value.txt', 'two again')
      viewer:expect_resume('current/deep/value.txt', 'shows two again')
      project:link('v1', 'current')
      viewer:expect_resume('current/deep/value.txt', 'shows one')
      project:write('v2/deep/value.txt', 'nobody looks')
      viewer:expect_quiet 'current/deep/value.txt'
      viewer:stop()
    end)

    it('that is replaced', function()
      local viewer, project = start 'v1/deep/value.txt'
      project:rename('v1', 'old')
      project:rename('v2', 'v1')
      viewer:expect_resume('v1/deep/value.txt', 'shows two')
      project:write('old/deep/value.txt', 'nobody looks')
      viewer:expect_quiet 'v1/deep/value.txt'
      viewer:stop()
    end)

    it('that is replaced, one above it', function()
      local viewer, project = start 'v1/deep/value.txt'
      project:mkdir 'v1/other'
      project:write('v1/other/value.txt', 'other')
      project:rename('v1/deep', 'v1/away')
      project:rename('v1/other', 'v1/deep')
      viewer:expect_resume('v1/deep/value.txt', 'shows other')
      viewer:expect_quiet 'v1/deep/value.txt'
      viewer:stop()
    end)

    it('that moves away and comes back', function()
      local viewer, project = start 'v1/deep/value.txt'
      project:rename('v1', 'away')
      viewer:expect_resume('v1/deep/value.txt', 'v1/deep/value.txt: No such file or directory')
      project:write('away/deep/value.txt', 'changed there')
      project:rename('away', 'v1')
      viewer:expect_resume('v1/deep/value.txt', 'shows changed there')
      viewer:expect_quiet 'v1/deep/value.txt'
      viewer:stop()
    end)

    it('that is removed and made anew', function()
      local viewer, project = start 'v1/deep/value.txt'
      os.execute(("rm -r '%s'"):format(project:path 'v1'))
      viewer:expect 'v1/deep/value.txt: No such file or directory'
      project:write('v1/deep/value.txt', 'anew')
      viewer:expect 'shows anew'
      viewer:expect_quiet 'v1/deep/value.txt'
      viewer:stop()
    end)

    it('through a link to the file that is turned', function()
      local project = support.project { ['a/real.txt'] = 'one', ['b/real.txt'] = 'two' }
      project:link('a/real.txt', 'value.txt')
      local viewer = Viewer.start(lua, project)
      viewer:expect_first('value.txt', 'shows one')
      project:write('a/real.txt', 'one again')
      viewer:expect_resume('value.txt', 'shows one again')
      project:replace('a/real.txt', 'one anew')
      viewer:expect_resume('value.txt', 'shows one anew')
      project:link('b/real.txt', 'value.txt')
      viewer:expect_resume('value.txt', 'shows two')
      project:write('a/real.txt', 'nobody looks')
      project:replace('b/real.txt', 'two anew')
      viewer:expect_resume('value.txt', 'shows two anew')
      viewer:stop()
    end)

    it('through a link that leads nowhere at first', function()
      local project = support.project { anchor = '' }
      project:link('target/real.txt', 'value.txt')
      local viewer = Viewer.start(lua, project)
      viewer:expect_first('value.txt', 'value.txt: No such file or directory')
      project:write('target/real.txt', 'one')
      viewer:expect 'shows one'
      project:write('target/real.txt', 'two')
      viewer:expect_resume('value.txt', 'shows two') -- reported by the name that the program uses
      viewer:stop()
    end)
  end)
end)
