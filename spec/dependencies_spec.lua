--- What a program depends on: every way to a file is hooked, and files that are not there count too.
--
-- Each program prints 'start', reaches a file in one particular way and prints what it found. The file changes, and the
-- next thing to be printed must be what is found then: 'start' again, or nothing, would mean a missed hook. The program
-- has nothing else that could resume it, as the filter takes that file only.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  local is_5_1 = lua.version == '5.1' and lua.name ~= 'luajit'

  --- Starts `main` with a filter for `pattern` alone, in a project with more files.
  local function start(main, pattern, files)
    local project = support.project(files)
    project:write('main.lua', "print 'start'\n" .. main)
    local program = lua:forkmon { '--quiet', '--filter', pattern, 'main.lua', cwd = project.root }
    program:expect_exactly 'start\n'
    return project, program
  end

  it('counts as changed when one run has seen it both ways, though it is as before', function()
    local project = support.project { ['main.lua'] = [[
      io.stdout:setvbuf 'no'
      for _, time in ipairs { 'first', 'second' } do
        print(time, (pcall(require, 'optional')))
        io.read()
      end
    ]] }
    local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect_exactly 'first\tfalse\n'
    support.await_idle(program)
    -- While the file is there, only the program looks.
    local supervisor = support.proc.supervisor(program.pid)
    posix.kill(supervisor, posix.SIGSTOP)
    support.wait_until('the stop', function() return support.proc.state(supervisor) == 'T' end)
    project:write('optional.lua', '')
    program:write '\n'
    program:expect_exactly 'second\ttrue\n'
    project:remove 'optional.lua'
    posix.kill(supervisor, posix.SIGCONT)
    program:expect_exactly 'first\tfalse\n'
    program:write '\n'
    program:expect_exactly 'second\tfalse\n'
    program:stop 'INT'
  end)

  it('is found by a search whose filter searches, too', function()
    local project = support.project {
      ['a/m.lua'] = "return 'm of a'", ['b/helper.lua'] = 'return function(path) return path:match "%.lua$" ~= nil end',
      ['main.lua'] = [[
        package.path = './none/?.lua;./a/?.lua;./b/?.lua;' .. package.path
        require('forkmon').enable { quiet = true, filter = function(path) return require 'helper'(path) end }
        print((require 'm'))
        print(pcall(require, 'nowhere') == false)
      ]],
    }
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_exactly 'm of a\ntrue\n'
    project:write('a/m.lua', "return 'new m of a'")
    program:expect_exactly 'new m of a\ntrue\n'
    program:stop 'INT'
  end)

  describe('a change is noticed in a file that is reached by', function()
    local function reached_by(name, main)
      it(name, function()
        local project, program = start(main, '/data%.lua$', { ['data.lua'] = "return 'one'", ['sub/x'] = '' })
        program:expect_exactly 'one\n'
        for _, text in ipairs { 'two', 'three' } do
          -- What the program itself has done to the file by now is seen before the edit.
          support.await_idle(program)
          project:write('data.lua', ('return %q'):format(text))
          program:expect_exactly(text .. '\n')
        end
        program:stop 'INT'
      end)
    end

    local unquote = "local function shown(text) print(text:match 'return \"?\\'?(%w+)') end\n"

    reached_by('dofile', "print(dofile 'data.lua')")
    reached_by('loadfile', "print(loadfile('data.lua')())")
    reached_by('require', "print((require 'data'))")
    reached_by('a require in a local', "local captured = require print((captured 'data'))")
    reached_by('dofile in a coroutine', "print(coroutine.wrap(function() return dofile 'data.lua' end)())")
    reached_by('pcall(dofile)', "print(select(2, pcall(dofile, 'data.lua')))")
    reached_by('io.open', unquote .. "local file = io.open 'data.lua' shown(file:read '*a') file:close()")
    reached_by('io.open with a mode', unquote
      .. "local file = io.open('data.lua', 'rb') shown(file:read '*a') file:close()")
    reached_by('io.open for updating', unquote
      .. "local file = io.open('data.lua', 'r+') local text = file:read '*a' file:close() shown(text)")
    reached_by('io.open for appending and reading', unquote
      .. "local file = io.open('data.lua', 'a+') file:seek 'set' local text = file:read '*a' file:close() shown(text)")
    reached_by('io.lines', unquote .. "for line in io.lines 'data.lua' do shown(line) end")
    reached_by('io.input', unquote .. "io.input 'data.lua' shown(io.read '*a') io.close(io.input())")
    reached_by('an absolute path', unquote
      .. "local pwd = io.popen 'pwd' local cwd = pwd:read() pwd:close() print(dofile(cwd .. '/./sub/../data.lua'))")
    if not is_5_1 then
      reached_by('package.searchpath, and functions that no hook is on', [[
        local path = package.searchpath('data', './?.lua')
        local cat = io.popen('cat ' .. path)
        print(cat:read('*a'):match 'return "?\'?(%w+)')
        cat:close()
      ]])
    end
  end)

  it('is the same without the command: a require captured before is hooked', function()
    local project = support.project {
      ['main.lua'] = [[
        local require = require
        require('forkmon').enable { filter = '/data%.lua$', quiet = true }
        print 'start'
        print((require 'data'))
      ]],
      ['data.lua'] = "return 'one'",
    }
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_exactly 'start\none\n'
    project:write('data.lua', "return 'two'")
    program:expect_exactly 'two\n'
    program:stop 'INT'
  end)

  describe('a C library', function()
    --- One that returns a number; it needs no header, as every Lua has this function.
    local function build(project, name, number)
      project:write('native.c', ([[
        extern void lua_pushnumber(void *, double);
        int luaopen_native(void *state) { lua_pushnumber(state, %d); return 1; }
        int luaopen_native_part(void *state) { lua_pushnumber(state, %d); return 1; }
      ]]):format(number, number + 1))
      local compile = support.start { 'cc', '-shared', '-fPIC', '-o', 'new.so', 'native.c', cwd = project.root }
      assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
      project:rename('new.so', name)
    end

    local function loaded_anew(main)
      local project = support.project { ['main.lua'] = "print 'start'\n" .. main }
      build(project, 'native.so', 7)
      local program = lua:forkmon { '--quiet', '--filter', '%.so$', 'main.lua', cwd = project.root }
      program:expect_exactly 'start\n7\t8\n'
      build(project, 'native.so', 40)
      program:expect_exactly '40\t41\n'
      program:stop 'INT'
    end

    it('is loaded anew by require, also one with several modules', function()
      loaded_anew [[
        package.cpath = './?.so'
        print(string.format('%d\t%d', (require 'native'), (require 'native.part')))
      ]]
    end)

    it('is loaded anew by package.loadlib', function()
      loaded_anew [[
        local one = package.loadlib('./native.so', 'luaopen_native')()
        print(string.format('%d\t%d', one, package.loadlib('./native.so', 'luaopen_native_part')()))
      ]]
    end)
  end)

  describe('a file that was not there resumes the program when it appears, looked for by', function()
    local function looked_for_by(name, main, options)
      options = options or {}
      it(name, function()
        local project, program = start(main, '/late.*%.lua$', options.files)
        program:expect_exactly 'nothing\n'
        project:write(options.appears or 'late.lua', "return 'there'")
        program:expect_exactly 'there\n'
        -- From now on it is a file as any other.
        project:write(options.appears or 'late.lua', "return 'changed'")
        program:expect_exactly 'changed\n'
        program:stop 'INT'
      end)
    end

    local show = "local function show(ok, value) print(ok and value or 'nothing') end\n"

    looked_for_by('dofile', show .. "show(pcall(dofile, 'late.lua'))")
    looked_for_by('loadfile', show .. "local chunk = loadfile 'late.lua' show(chunk, chunk and chunk())")
    looked_for_by('require', show .. "show(pcall(require, 'late'))")
    looked_for_by('require, in a folder that is not there either', show .. "show(pcall(require, 'late.inner.module'))",
      { appears = 'late/inner/module.lua' })
    looked_for_by('require, by no name at all', show .. "package.path = './late?.lua' show(pcall(require, ''))")
    looked_for_by('io.open',
      show .. "local file = io.open 'late.lua' show(file, file and file:read('*a'):match 'return .(%w+)')")
    looked_for_by('io.lines',
      show .. "show(pcall(function() for line in io.lines 'late.lua' do return line:match 'return .(%w+)' end end))")
    looked_for_by('io.input',
      show .. "local ok = pcall(io.input, 'late.lua') show(ok, ok and io.read('*a'):match 'return .(%w+)')")
    if not is_5_1 then
      looked_for_by('package.searchpath',
        show .. "local path = package.searchpath('late', './?.lua') show(path, path and dofile(path))")
    end
  end)

  it('resumes when an earlier place of package.path gets a module of that name', function()
    local project, program = start([[
      package.path = './late/?.lua;./other/?.lua;./last/?.lua'
      print((require 'module'))
    ]], '/module%.lua$', { ['last/module.lua'] = "return 'last'" })
    program:expect_exactly 'last\n'
    -- Negative control: a later place than the one found is of no interest.
    project:write('unread/module.lua', "return 'unread'")
    project:write('other/module.lua', "return 'other'")
    program:expect_exactly 'other\n'
    project:write('late/module.lua', "return 'late'")
    program:expect_exactly 'late\n'
    project:write('other/module.lua', "return 'shadowed'")
    project:remove 'late/module.lua'
    program:expect_exactly 'shadowed\n'
    program:stop 'INT'
  end)

  it('is noticed where a path goes back over a folder that is not there', function()
    local project, program = start("package.path = 'build/../src/?.lua;lib/?.lua' print((require 'm'))", '%.lua$',
      { ['src/m.lua'] = "return 'src'", ['lib/m.lua'] = "return 'lib'" })
    program:expect_exactly 'lib\n'
    project:write('src/m.lua', "return 'src 2'")
    project:write('lib/m.lua', "return 'lib 2'")
    program:expect_exactly 'lib 2\n'
    project:mkdir 'build'
    program:expect_exactly 'src 2\n'
    program:stop 'INT'
  end)

  describe('a module that is looked for in folders that are not there is found when', function()
    local search = [[
      package.path = './%s/?.lua;./%s/?/init.lua;./last/?.lua;./last/?/init.lua'
      print((require 'package.module'))
    ]]

    -- Another module changes nothing. Later on all of it goes, and comes back.
    local function found_when(name, appear, folder)
      it(name, function()
        folder = folder or 'late'
        local project, program = start(search:format(folder, folder), '%.lua$',
          { ['last/package/module.lua'] = "return 'last'" })
        program:expect_exactly 'last\n'
        project:write('late/other/module.lua', "return 'unread'")
        appear(project)
        program:expect_exactly 'late\n'
        project:write('last/package/module.lua', "return 'shadowed'")
        project:remove_folder 'late'
        program:expect_exactly 'shadowed\n'
        appear(project)
        program:expect_exactly 'late\n'
        program:stop 'INT'
      end)
    end

    found_when('one appears after the other', function(project)
      project:write('late/package/module/init.lua', "return 'late'")
    end)

    found_when('they move there', function(project)
      project:write('made/package/module/init.lua', "return 'late'")
      project:remove_folder 'late'
      project:rename('made', 'late')
    end)

    found_when('one moves into another', function(project)
      project:write('made/module.lua', "return 'late'")
      project:mkdir 'late'
      project:rename('made', 'late/package')
    end)

    found_when('one is a symbolic link', function(project)
      project:write('made/module.lua', "return 'late'")
      project:mkdir 'late'
      project:link('../made', 'late/package')
    end)

    found_when('a symbolic link gets a target', function(project)
      project:link('late', 'deep')
      project:write('late/package/module.lua', "return 'late'")
    end, 'deep')
  end)

  it('says which file appeared', function()
    local project = support.project { ['main.lua'] = "print(io.open 'late.lua' and 'there' or 'nothing')" }
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
    program:expect_exactly 'nothing\n'
    project:write('late.lua', '')
    program:expect_exactly(lines.resuming(project:path 'late.lua', nil, 'is there now') .. 'there\n')
    project:remove 'late.lua'
    program:expect_exactly(lines.resuming(project:path 'late.lua', nil, 'was removed') .. 'nothing\n')
    program:stop 'INT'
  end)

  it('leaves files alone that the filter does not take', function()
    local project, program = start("print(dofile 'other.lua') print(dofile 'data.lua')", '/data%.lua$', {
      ['other.lua'] = "return 'other'", ['data.lua'] = "return 'one'",
    })
    program:expect_exactly 'other\none\n'
    project:write('other.lua', "return 'unseen'")
    project:write('data.lua', "return 'two'")
    program:expect_exactly 'two\n'
    program:stop 'INT'
  end)
end)
