--- The functions of the module, in whole programs.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  local preamble = "local forkmon = require 'forkmon'\n"

  --- Starts a program that enables forkmon, quietly unless `options` say otherwise.
  local function start(main, files, options)
    local project = support.project(files)
    project:write('main.lua', preamble .. ("forkmon.enable { filter = '%%.lua$', exact = true, %s }\n"):format(
      options or 'quiet = true') .. main)
    -- Else a subprocess that is started at once may have been too early for what was made just now.
    project:age()
    return project, lua:start { 'main.lua', cwd = project.root }
  end

  describe('enable', function()
    it('returns the module, and enabled tells of it', function()
      local project = support.project {
        ['main.lua'] = preamble .. [[
          print(forkmon.enabled(), forkmon.enable { filter = '%.lua$' } == forkmon, forkmon.enabled())
          print(forkmon._VERSION:match '^forkmon %d+%.%d+%.%d+$' ~= nil)
        ]],
      }
      local program = lua:start { 'main.lua', cwd = project.root }
      program:expect_exactly 'false\ttrue\ttrue\ntrue\n'
      program:stop 'INT'
    end)

    it('changes the options that a second call gives, and starts nothing', function()
      local project, program = start([[
        dofile 'a.lua'
        print(forkmon.enable { quiet = false, ignore = '/b%.lua$', watch = 'config' } == forkmon)
        dofile 'b.lua' dofile 'c.lua'
        io.stdout:flush()
        os.execute 'cat config'
      ]], { ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'", ['c.lua'] = "print 'c'", ['config'] = 'one\n' })
      program:expect_exactly('a\ntrue\nb\n' .. lines.watch(project:path 'c.lua') .. 'c\none\n')
      -- There is one supervisor, under what the shell started. Its children are the checkpoints.
      support.wait_until('the end of all processes but those', function()
        return #support.proc.tree(program.pid) == 2 + #support.proc.children(support.proc.supervisor(program.pid))
      end)
      project:write('b.lua', "print 'ignored'")
      project:write('config', 'two\n')
      program:expect_exactly(lines.resuming(project:path 'config', project:path 'a.lua')
        .. 'a\ntrue\nignored\nc\ntwo\n')
      program:stop 'INT'
    end)

    it('of a second call is undone by a resume from before it', function()
      local project, program = start([[
        dofile 'a.lua'
        forkmon.enable { ignore = '/b%.lua$' }
        dofile 'b.lua'
      ]], { ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'" }, '')
      local first = lines.watch(project:path 'a.lua') .. 'a\nb\n'
      program:expect_exactly(first)
      project:write('a.lua', "print 'a2' dofile 'b.lua'")
      program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\n' .. lines.watch(project:path 'b.lua')
        .. 'b\nb\n')
      program:stop 'INT'
    end)
  end)

  describe('checkpoint', function()
    it('takes one, and tells that it was not resumed', function()
      local project, program = start([[
        print 'start'
        print(forkmon.checkpoint 'here')
        print(dofile 'a.lua')
      ]], { ['a.lua'] = 'return 1' }, '')
      program:expect_exactly('start\nfalse\n' .. lines.watch(project:path 'a.lua') .. '1\n')
      project:write('a.lua', 'return 2')
      program:expect_exactly(lines.resuming(project:path 'a.lua') .. '2\n')
      program:stop 'INT'
    end)

    it('is what later files join and paths that are named', function()
      local project, program = start([[
        print 'start'
        print(forkmon.checkpoint 'here')
        forkmon.watch 'config'
        io.stdout:flush()
        -- Not `cat`, which would look for more of the file after what it has shown.
        os.execute 'head -n 1 config'
      ]], { config = 'one\n' }, '')
      program:expect_exactly 'start\nfalse\none\n'
      for _, text in ipairs { 'two', 'three' } do
        project:write('config', text .. '\n')
        program:expect_exactly(lines.resuming(project:path 'config', 'here') .. 'true\n' .. text .. '\n')
      end
      program:stop 'INT'
    end)

    it('may have a label of any length', function()
      local project, program = start([[
        forkmon.on_resume(function(resume) print('resumed', #resume.checkpoint) end)
        print 'start'
        print(forkmon.checkpoint(('l'):rep(10000)))
        forkmon.watch 'config'
        local checkpoints = forkmon.status().checkpoints
        local last = checkpoints[#checkpoints]
        print(last.explicit, last.name == ('l'):rep(4096))
      ]], { config = '' }, '')
      program:expect_exactly 'start\nfalse\ntrue\ttrue\n'
      for i = 1, 2 do
        project:write('config', 'edit ' .. i)
        program:expect_exactly(lines.resuming(project:path 'config', ('l'):rep(4096))
          .. 'resumed\t10000\ntrue\ntrue\ttrue\n')
      end
      program:stop 'INT'
    end)

    it('may do without a label', function()
      local project, program = start([[
        local resumed = forkmon.checkpoint()
        forkmon.watch 'config'
        print(resumed)
      ]], { config = '' })
      program:expect_exactly 'false\n'
      project:write('config', 'x')
      program:expect_exactly 'true\n'
      program:stop 'INT'
    end)
  end)

  describe('watch', function()
    local function show_folder(text)
      return "io.stdout:flush() forkmon.watch '" .. text .. "' os.execute 'cd folder && cat * 2>/dev/null'"
    end

    it('takes a file, whatever the filter says, that may be missing', function()
      local project, program = start(show_folder 'folder/file', { ['folder/other'] = 'other\n' })
      program:expect_exactly 'other\n'
      project:write('folder/file', 'file\n')
      program:expect_exactly 'file\nother\n'
      project:write('folder/file', 'new\n')
      program:expect_exactly 'new\nother\n'
      project:remove 'folder/file'
      program:expect_exactly 'other\n'
      program:stop 'INT'
    end)

    it('takes a folder: what appears, changes and goes in it', function()
      local project, program = start(show_folder 'folder', { ['folder/other'] = 'other\n' })
      program:expect_exactly 'other\n'
      project:write('folder/file', 'file\n')
      program:expect_exactly 'file\nother\n'
      project:write('folder/other', 'new\n')
      program:expect_exactly 'file\nnew\n'
      project:remove 'folder/file'
      program:expect_exactly 'new\n'
      program:stop 'INT'
    end)
  end)

  describe('on_resume', function()
    it('is told why, before the program goes on', function()
      local project, program = start([[
        forkmon.on_resume(function(resume)
          table.sort(resume.changed)
          for i, path in ipairs(resume.changed) do resume.changed[i] = path:match '[^/]*$' end
          print('resume', table.concat(resume.changed, ' '), resume.checkpoint, resume.count)
        end)
        dofile 'a.lua'
        forkmon.checkpoint 'label'
        forkmon.watch 'config'
        print 'end'
      ]], { ['a.lua'] = "print 'a'", config = '' })
      program:expect_exactly 'a\nend\n'
      project:write('a.lua', "print 'a2'")
      program:expect_exactly 'resume\ta.lua\tnil\t1\na2\nend\n'
      project:write('config', 'x')
      program:expect_exactly 'resume\tconfig\tlabel\t2\nend\n'
      program:signal 'STOP'
      project:write('config', 'y')
      project:write('a.lua', "print 'a3'")
      program:signal 'CONT'
      program:expect_exactly 'resume\ta.lua config\tnil\t3\na3\nend\n'
      program:stop 'INT'
    end)

    it('may fail, which is told and stops neither the program nor the next function', function()
      local project, program = start([[
        forkmon.on_resume(function() error('failed', 0) end)
        forkmon.on_resume(function() print 'next' end)
        print(dofile 'a.lua')
      ]], { ['a.lua'] = "return 'a'" })
      program:expect_exactly 'a\n'
      project:write('a.lua', "return 'a2'")
      program:expect_exactly '[forkmon] on_resume: failed\nnext\na2\n'
      program:stop 'INT'
    end)

    it('may read files: they are read anew when they change', function()
      local project, program = start([[
        forkmon.on_resume(function() print(dofile 'settings.lua') end)
        print(dofile 'a.lua')
      ]], { ['a.lua'] = "return 'a'", ['settings.lua'] = "return 'settings'" })
      program:expect_exactly 'a\n'
      project:write('a.lua', "return 'a2'")
      program:expect_exactly 'settings\na2\n'
      project:write('settings.lua', "return 'others'")
      program:expect_exactly 'others\na2\n'
      program:stop 'INT'
    end)
  end)

  describe('depends', function()
    it('has what a subprocess has read resume from before it', function()
      local project, program = start([[
        dofile 'a.lua'
        io.stdout:flush()
        os.execute 'cat data.txt more.txt'
        print(forkmon.depends('data.txt', 'more.txt'))
      ]], { ['a.lua'] = "print 'a'", ['data.txt'] = 'data\n', ['more.txt'] = 'more\n' })
      program:expect_exactly 'a\ndata\nmore\ntrue\n'
      project:write('more.txt', 'another\n')
      program:expect_exactly 'a\ndata\nanother\ntrue\n'
      project:write('data.txt', 'new\n')
      program:expect_exactly 'a\nnew\nanother\ntrue\n'
      program:stop 'INT'
    end)

    it('takes what was saved while it ran for a change, once', function()
      local project, program = start([[
        io.stdout:flush()
        os.execute 'cat data.txt; echo mine > made.txt'
        print(forkmon.depends('data.txt', 'made.txt'))
      ]], { ['data.txt'] = 'data\n' })
      program:expect_exactly 'data\ntrue\ndata\ntrue\n'
      project:write('data.txt', 'new\n')
      program:expect_exactly 'new\ntrue\n'
      program:stop 'INT'
    end)

    it('reads what a compiler has written', function()
      local project, program = start([[
        assert(os.execute 'cc -MMD -o hello hello.c && ./hello')
        print(forkmon.depfile 'hello.d')
        print(select('#', forkmon.depfile 'none.d'), (forkmon.depfile 'none.d'))
      ]], {
        ['hello.c'] = '#include <stdio.h>\n#include "my header.h"\nint main(void) { puts(TEXT); }\n',
        ['my header.h'] = '#define TEXT "one"\n',
      })
      program:expect_exactly 'one\ntrue\n2\tnil\n'
      project:write('my header.h', '#define TEXT "two"\n')
      program:expect_exactly 'two\ntrue\n2\tnil\n'
      project:write('hello.c', '#include <stdio.h>\nint main(void) { puts("three"); }\n')
      program:expect_exactly 'three\ntrue\n2\tnil\n'
      program:stop 'INT'
    end)
  end)

  it('disable ends the taking of checkpoints; those there are stay', function()
    local project, program = start([[
      local open = io.open
      dofile 'a.lua'
      forkmon.disable()
      print(forkmon.enabled(), io.open == open)
      dofile 'b.lua'
      print(forkmon.checkpoint())
      print(forkmon.watch 'c')
      print(forkmon.enable { filter = '%.lua$' })
    ]], { ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'" })
    local tail = 'false\tfalse\nb\nnil\tforkmon is not enabled\nnil\tforkmon is not enabled\n'
      .. 'nil\tforkmon was disabled, which cannot be undone\n'
    program:expect_exactly('a\n' .. tail)
    project:write('b.lua', "print 'unseen'")
    project:write('a.lua', "print 'a2'")
    program:expect_exactly('a2\n' .. tail:gsub('\nb\n', '\nunseen\n'))
    program:stop 'INT'
  end)

  it('a subprocess that the program forks is not the program', function()
    local project, program = start([[
      print(dofile 'a.lua')
      io.stdout:flush()
      -- It loads what is watched; that is its own affair, and it can enable its own forkmon.
      os.execute(arg[-1] .. [=[ -e "print(dofile 'b.lua')"]=])
      print(dofile 'c.lua')
    ]], { ['a.lua'] = "return 'a'", ['b.lua'] = "return 'b'", ['c.lua'] = "return 'c'" })
    program:expect_exactly 'a\nb\nc\n'
    project:write('b.lua', "return 'b2'")
    project:write('c.lua', "return 'c2'")
    program:expect_exactly 'c2\n'
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
  end)
end)
