--- What a program was told without opening a file: a change counts when it would be told something else.
--
-- Each program prints what it is told. An edit that changes that is followed by the new answer, and one that does not
-- by nothing: the next thing to be printed is what another edit leads to.

local posix = require 'posix'
local support = require 'spec.support'

--- Whether a Lua finds a module outside of the rock.
local function has(lua, module)
  local probe = support.start { lua.interpreter, '-e', ("os.exit(pcall(require, '%s') and 0 or 1)"):format(module) }
  return select(2, probe:wait()) == 0
end

--- The specs of LuaFileSystem, with these changes to the environment.
local function with_lfs(lua, env)
  --- Starts `main` with a filter for everything in the project.
  local function start(main, files, filter)
    local project = support.project(files)
    project:write('main.lua', "local lfs = require 'lfs'\n" .. main)
    project:age()
    local program = lua:forkmon { '--quiet', '--filter', filter or '.', 'main.lua', cwd = project.root, env = env }
    return project, program
  end

  describe('what a program is told of a file', function()
    -- field -> an edit that changes it, one that does not.
    local function grow(project) project:append('file', 'more') end
    local function same_size(project) project:write('file', 'two') end
    local function touch(project) project:touch 'file' end
    local function permit(project) posix.chmod(project:path 'file', 'rwx------') end
    local function make_folder(project)
      project:remove 'file'
      project:mkdir 'file'
    end
    local fields = {
      mode = { make_folder, grow, touch, permit },
      size = { grow, same_size, touch, permit },
      modification = { touch, permit },
      permissions = { permit, grow, touch },
      ino = { function(project) project:replace('file', 'one') end, grow, touch },
    }
    for field, edits in pairs(fields) do
      it(("counts as '%s' when it asked for that, and otherwise not"):format(field), function()
        local project, program = start(([[
          print('told', lfs.attributes('file', '%s') ~= nil)
          dofile 'other'
        ]]):format(field), { file = 'one', other = "print 'other 1'" })
        program:expect_exactly 'told\ttrue\nother 1\n'
        for number = 2, #edits do
          support.await_idle(program)
          edits[number](project)
          project:write('other', ("print 'other %d'"):format(number))
          program:expect_exactly(('other %d\n'):format(number))
        end
        support.await_idle(program)
        edits[1](project)
        program:expect_exactly(('told\ttrue\nother %d\n'):format(#edits))
        program:stop 'INT'
      end)
    end
  end)

  it('is what it was told when it opens the file afterwards', function()
    local project, program = start([[
      local size = lfs.attributes('data.txt', 'size')
      local file = io.open 'data.txt'
      print('stat ' .. size, 'read ' .. #file:read '*a')
      file:close()
    ]], { ['data.txt'] = '123456' })
    program:expect_exactly 'stat 6\tread 6\n'
    project:append('data.txt', '123456')
    program:expect_exactly 'stat 12\tread 12\n'
    program:stop 'INT'
  end)

  describe('a listing', function()
    local main = [[
      local names = {}
      for name in lfs.dir 'plugins' do
        if name:find '%.lua$' then names[#names + 1] = name end
      end
      table.sort(names)
      for _, name in ipairs(names) do dofile('plugins/' .. name) end
      print 'end'
    ]]
    local files = { ['plugins/a.lua'] = "print 'a'", ['plugins/c.lua'] = "print 'c'" }

    it('counts as changed when a name comes or goes', function()
      local project, program = start(main, files, '%.lua$')
      program:expect_exactly 'a\nc\nend\n'
      project:write('plugins/b.lua', "print 'b'")
      program:expect_exactly 'a\nb\nc\nend\n'
      project:remove 'plugins/a.lua'
      program:expect_exactly 'b\nc\nend\n'
      project:rename('plugins/c.lua', 'plugins/a.lua')
      program:expect_exactly 'c\nb\nend\n'
      program:stop 'INT'
    end)

    it('is not changed by a save, in whatever way', function()
      local project, program = start(main, files, '%.lua$')
      program:expect_exactly 'a\nc\nend\n'
      for _, save in ipairs { 'write', 'replace', 'write_after_backup', 'write_in_two_steps' } do
        support.await_idle(program)
        project[save](project, 'plugins/c.lua', ('print %q'):format(save))
        program:expect_exactly(save .. '\nend\n')
      end
      program:stop 'INT'
    end)

    it('of a folder that is not there counts as changed when it comes', function()
      local project, program = start([[
        local ok = pcall(lfs.dir, 'plugins')
        print(ok)
      ]], {}, '%.lua$')
      program:expect_exactly 'false\n'
      project:mkdir 'plugins'
      program:expect_exactly 'true\n'
      program:stop 'INT'
    end)

    it('counts each time it is another, also in a folder that was empty', function()
      local project, program = start([[
        local count = 0
        for _ in lfs.dir 'folder' do count = count + 1 end
        print(count - 2)
      ]], { ['folder/x'] = '' }, '%.lua$')
      project:remove 'folder/x'
      program:expect_match '0\n'
      for number = 1, 3 do
        project:write(('folder/%d.lua'):format(number), '')
        program:expect_exactly(number .. '\n')
      end
      program:stop 'INT'
    end)

    it('counts when something in it is taken by the filter, and otherwise not', function()
      local project, program = start([[
        for _, folder in ipairs { 'taken', 'other' } do
          local names = {}
          for name in lfs.dir(folder) do if #name > 2 then names[#names + 1] = name end end
          table.sort(names)
          print(folder, table.concat(names, ' '))
        end
      ]], { ['taken/one.lua'] = '', ['other/one.txt'] = '' }, '%.lua$')
      program:expect_exactly 'taken\tone.lua\nother\tone.txt\n'
      project:write('other/two.txt', '')
      support.await_idle(program)
      project:write('taken/two.txt', '')
      program:expect_exactly 'taken\tone.lua two.txt\nother\tone.txt two.txt\n'
      program:stop 'INT'
    end)
  end)

  it('counts as changed when what it asked for in vain is there', function()
    local project, program = start([[
      local function find(name)
        for _, folder in ipairs { 'first', 'second' } do
          local path = folder .. '/' .. name .. '.lua'
          if lfs.attributes(path, 'mode') == 'file' then return path end
        end
      end
      local path = find 'helper'
      print(path and dofile(path) or 'missing')
    ]], { ['first/x'] = '', ['second/x'] = '' }, '%.lua$')
    program:expect_exactly 'missing\n'
    project:write('second/helper.lua', "return 'second'")
    program:expect_exactly 'second\n'
    project:write('first/helper.lua', "return 'first'")
    program:expect_exactly 'first\n'
    project:remove 'first/helper.lua'
    program:expect_exactly 'second\n'
    program:stop 'INT'
  end)

  it('hears of it where files are only looked at now and then', function()
    local project = support.project { ['folder/a'] = '', ['main.lua'] = [[
      local lfs = require 'lfs'
      local count = 0
      for _ in lfs.dir 'folder' do count = count + 1 end
      print(count - 2, lfs.attributes('late', 'mode'))
    ]] }
    project:age()
    local program = lua:forkmon { '--quiet', '--filter', '.', '--poll', '20', 'main.lua', cwd = project.root,
      env = env }
    program:expect_match '^1\tnil.-\n'
    project:write('folder/b', '')
    program:expect_match '^2\tnil.-\n'
    project:write('late', '')
    program:expect_exactly '2\tfile\n'
    program:stop 'INT'
  end)

  it('compares times, as those do who build what is out of date', function()
    local project, program = start([[
      local function newer(source, target)
        return lfs.attributes(source, 'modification') > lfs.attributes(target, 'modification')
      end
      for _, name in ipairs { 'a', 'b' } do
        print(name, newer(name .. '.lua', name .. '.out') and 'built' or 'up to date')
      end
    ]], { ['a.lua'] = '', ['a.out'] = '', ['b.lua'] = '', ['b.out'] = '' })
    program:expect_exactly 'a\tup to date\nb\tup to date\n'
    project:touch 'b.lua'
    program:expect_exactly 'b\tbuilt\n'
    project:touch 'a.lua'
    program:expect_exactly 'a\tbuilt\nb\tbuilt\n'
    program:stop 'INT'
  end)

  it('is told of a link itself, where it asks for that', function()
    local project, program = start([[
      print(lfs.symlinkattributes('link', 'mode'), lfs.attributes('link', 'size'))
      print(lfs.symlinkattributes('link', 'target'))
    ]], { one = '1', two = '22', three = '333' })
    program:expect_match 'nil\tnil.-\n'
    project:link('one', 'link')
    program:expect_match 'link\t1\none\n'
    project:link('two', 'link')
    program:expect_match 'link\t2\ntwo\n'
    project:append('two', '2')
    program:expect_match 'link\t3\ntwo\n'
    program:stop 'INT'
  end)

  it('is told the same by functions that were put aside at once, with its own errors', function()
    local project, program = start([[
      local attributes, dir = lfs.attributes, lfs.dir
      print(select('#', attributes 'none'), (select(2, attributes 'none')))
      print(pcall(attributes))
      print(pcall(attributes, 'main.lua', 'colour'))
      print(pcall(dir, 'none'))
      print(attributes('file', 'size'), attributes('file').size, attributes('file', {}).size)
    ]], { file = '1' })
    local plain = lua:start { 'main.lua', cwd = project.root }
    plain:wait()
    local expected = plain:unread()
    assert.is_truthy(expected:find "bad argument #1 to '?.-'? ?%(string expected")
    program:expect_exactly(expected)
    project:append('file', '2')
    program:expect_match '2\t2\t2\n'
    program:stop 'INT'
  end)

  it('does not take for an edit what the program does itself', function()
    local project, program = start([[
      local function names(folder)
        local names = {}
        for name in lfs.dir(folder) do if #name > 2 then names[#names + 1] = name end end
        table.sort(names)
        return table.concat(names, ' ')
      end
      print('before', names 'out', lfs.attributes('out/file', 'mode'), lfs.attributes('out/made', 'mode'))
      io.open('out/file', 'w'):close()
      lfs.mkdir 'out/made'
      lfs.mkdir 'out/gone'
      lfs.rmdir 'out/gone'
      lfs.touch('out/file', 1000, 1000)
      os.rename('out/file', 'out/file2')
      lfs.link('file2', 'out/link', true)
      print('after', names 'out', lfs.attributes('out/file2', 'modification'), lfs.attributes('out/made', 'mode'))
      os.remove 'out/file2'
      os.remove 'out/link'
      lfs.rmdir 'out/made'
      print('end')
      dofile 'other.lua'
    ]], { ['out/sub/x'] = '', ['other.lua'] = "print 'other 1'" })
    program:expect_match '^before\tsub\tnil\t.-\nafter\tfile2 link made sub\t1000\tdirectory\nend\nother 1\n'
    support.await_idle(program)
    project:write('other.lua', "print 'other 2'")
    program:expect_exactly 'other 2\n'
    -- What comes after that is an edit.
    project:write('out/mine', '')
    program:expect_match '^before\tmine sub\tnil\t.-\nend\nother 2\n'
    program:stop 'INT'
  end)

  it('is found by `forkmon status`, with what it asked of which path', function()
    local project, program = start("lfs.attributes('file', 'size') print 'ready'", { file = '' })
    program:expect_exactly 'ready\n'
    local status = lua:forkmon { 'status', '--json', tostring(program.pid) }
    status:wait()
    assert.is_truthy(status:unread():find('"asked":["' .. project:path 'file' .. '"]', 1, true))
    program:stop 'INT'
  end)
end

support.each_lua(function(lua)
  if not has(lua, 'lfs') then return end

  describe('by LuaFileSystem,', function() with_lfs(lua) end)

  describe('by LuaFileSystem, where C code is not observed,', function()
    with_lfs(lua, { FORKMON_NO_NATIVE_HOOKS = '1' })
  end)
end)
