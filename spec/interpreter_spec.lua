--- The interpreter is as the program left it: its hooks, handlers, errors, and what it reads, are the program's own.
--
-- What forkmon does before a file is opened runs in the same Lua. Each program is run twice, without forkmon and with
-- it, and both must print the same.

local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

support.each_lua(function(lua)
  -- LuaJIT's compiled code calls no hooks, so it compiles nothing here.
  local prelude = "io.stdout:setvbuf 'no' if jit then jit.off() end\n"

  --- Runs the program without forkmon and with it; returns what it prints.
  local function same_output(source, files)
    local project = syscalls.project { ['main.lua'] = prelude .. source .. "\nprint 'done'", ['a.txt'] = 'a',
      ['b.txt'] = 'b' }
    for name, text in pairs(files or {}) do project:write(name, text) end
    local env = { LUA_PATH = './?.lua;;' }
    local plain = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env }
    plain:expect 'done\n'
    plain:wait()
    local expected = plain.stdout.text
    local program = lua:forkmon { '--quiet', '--filter', '%.txt$', 'main.lua', cwd = project.root, env = env }
    program:expect 'done\n'
    assert.equal(expected, program.stdout.text)
    program:stop()
    return expected
  end

  describe('a debug hook', function()
    it('by instruction count fires as often, however many files are opened', function()
      local output = same_output [[
        local fired = 0
        debug.sethook(function() fired = fired + 1 end, '', 1000)
        for i = 1, 5000 do io.open('/nonexistent' .. i % 2) end
        debug.sethook()
        print(fired)
      ]]
      assert.is_true(tonumber(output:match '^%d+') > 5) -- or nothing would be shown
    end)

    it('by instruction count fires as often, when each of the files is watched', function()
      same_output [[
        local fired = 0
        debug.sethook(function() fired = fired + 1 end, '', 100)
        for i = 1, 200 do local file = io.open 'a.txt' file:read() file:close() loadfile 'b.txt' end
        debug.sethook()
        print(fired)
      ]]
    end)

    it('that ends what takes too long ends it', function()
      same_output [[
        local function watchdog() error('took too long', 0) end
        debug.sethook(watchdog, '', 10000)
        print(pcall(function() while true do io.open('/nonexistent') end end))
        debug.sethook()
      ]]
    end)

    it('in a coroutine fires as often', function()
      same_output [[
        local fired = 0
        local thread = coroutine.create(function()
          for i = 1, 2000 do io.open('/nonexistent' .. i % 2) if i % 500 == 0 then coroutine.yield(i) end end
        end)
        debug.sethook(thread, function() fired = fired + 1 end, '', 1000)
        while coroutine.resume(thread) and coroutine.status(thread) ~= 'dead' do end
        if not jit then print(fired) end -- its hooks are those of all threads
      ]]
    end)

    for _, events in ipairs { 'l', 'c', 'r', 'crl' } do
      it(('sees what it sees in a plain run (%s)'):format(events), function()
        same_output(([[
          local seen = {}
          local function see(event, line)
            local info = debug.getinfo(2, 'Sn')
            seen[#seen + 1] = ('%%s %%s %%s %%s'):format(event, line or '-', info.what, info.short_src)
          end
          local function work()
            local file = io.open 'a.txt'
            print(file:read '*a')
            file:close()
            loadfile 'b.txt'
            os.remove 'no.txt'
            package.loaded.part = nil
            package.path = './?.txt'
            require 'part'
          end
          debug.sethook(see, '%s')
          work()
          debug.sethook()
          print(table.concat(seen, '\n'))
        ]]):format(events), { ['part.txt'] = "return 'part'" })
      end)
    end

    it('is the one that was set, when it is asked for', function()
      same_output [[
        local function hook() end
        debug.sethook(hook, 'l', 7)
        io.open 'a.txt':close()
        local found, events, count = debug.gethook()
        print(found == hook, events, count)
        debug.sethook()
        io.open 'a.txt':close()
        print(debug.gethook())
      ]]
    end)
  end)

  -- A filter that is a function runs where what forkmon does runs, so the program can send itself a signal there.
  describe('a signal that comes while forkmon looks at a file', function()
    local source = [[
      local sys = require 'syscalls'
      local sends = true
      require('forkmon').enable { quiet = true, filter = function(path)
        if sends and path:find 'a%%.txt$' then
          sends = false
          sys.raise(10)
          for i = 1, 100 do sends = sends and i end
        end
        return path:find '%%.txt$' ~= nil
      end }
      sys.handle(10, '%s')
      print(pcall(function()
        local file = io.open 'a.txt'
        local text = file:read()
        file:close()
        return text
      end))
      print(io.open 'b.txt':read())
      io.read()
    ]]

    local function start(how)
      local project = syscalls.project { ['a.txt'] = 'a', ['b.txt'] = 'b' }
      project:write('main.lua', prelude .. source:format(how))
      local env = lua:paths()
      env.LUA_PATH = './?.lua;' .. env.LUA_PATH
      return support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env, stdin = 'pipe' }, project
    end

    it('is handled when forkmon is through, and what the handler raises is the program\'s', function()
      local program, project = start 'raise'
      program:expect_match '^false\t[^\n]*raised by a handler\nb\n'
      project:write('b.txt', 'edited')
      program:expect_exactly 'edited\n'
      program:stop()
    end)

    it('is handled once, and the file is a dependency all the same', function()
      local program, project = start 'say'
      program:expect_exactly 'handled\ntrue\ta\nb\n'
      project:write('a.txt', 'edited')
      program:expect 'true\tedited\nb\n'
      program:stop()
    end)
  end)

  it('is what on_resume functions run in: handlers that they set are the program\'s', function()
    local project = syscalls.project { ['a.txt'] = 'a' }
    project:write('main.lua', prelude .. [[
      local sys, forkmon = require 'syscalls', require 'forkmon'
      local thread = coroutine.running()
      forkmon.on_resume(function()
        print(coroutine.running() == thread)
        sys.handle(10, 'say')
      end)
      forkmon.enable { quiet = true, filter = '%.txt$' }
      print(io.open 'a.txt':read())
      if forkmon.status().resumes > 0 then sys.raise(10) end
      io.read()
    ]])
    local env = lua:paths()
    env.LUA_PATH = './?.lua;' .. env.LUA_PATH
    local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env, stdin = 'pipe' }
    program:expect_exactly 'a\n'
    project:write('a.txt', 'edited')
    program:expect_exactly 'true\nedited\nhandled\n'
    program:stop()
  end)

  describe('what fails in forkmon itself', function()
    -- The core's own hook, with something before the original that fails.
    local failures = {
      ['by an argument that the core refuses'] = 'core.visit {}',
      ['by an error of Lua\'s'] = 'local no = nil; no()',
      ['by an error that is no text'] = 'error {}',
      ['by an error that is nothing'] = 'error()',
    }
    for how, failure in pairs(failures) do
      it('is said once, and the program goes on: ' .. how, function()
        local project = support.project { ['main.lua'] = prelude .. [[
          require('forkmon').enable { filter = '%.txt$', quiet = true }
          local core = require 'forkmon.core'
          local hooked = core.hook(io.type, function() ]] .. failure .. [[ end)
          for i = 1, 3 do print(hooked(io.stdout)) end
          print(pcall(hooked) == pcall(io.type))
        ]] }
        local program = lua:start { 'main.lua', cwd = project.root, stderr = 'separate' }
        program:expect_exactly 'file\nfile\nfile\ntrue\n'
        program.stderr:expect_match '^%[forkmon%] [^\n]*%a+ %a+[^\n]*\n' -- some words
        program:stop()
        assert.equal('', program.stderr:unread())
      end)
    end

    it('is nothing where nothing fails', function() -- the negative control
      local project = support.project { ['main.lua'] = prelude .. [[
        require('forkmon').enable { filter = '%.txt$', quiet = true }
        local core = require 'forkmon.core'
        print(core.hook(io.type, function() core.visit 'a.txt' end)(io.stdout))
      ]] }
      local program = lua:start { 'main.lua', cwd = project.root, stderr = 'separate' }
      program:expect_exactly 'file\n'
      program:stop()
      assert.equal('', program.stderr:unread())
    end)
  end)

  describe('what the program has taken from its standard input', function()
    -- Each takes the first line, or all of it, as x.
    local ways = {
      ['dofile()'] = 'dofile()',
      ['dofile(nil)'] = 'dofile(nil)',
      ['loadfile()'] = 'loadfile()()',
      ['io.read()'] = '(loadstring or load)(io.read())()', -- the negative control
      ['io.stdin:read()'] = '(loadstring or load)(io.stdin:read())()',
      ['io.lines()'] = '(loadstring or load)(io.lines()())()',
    }
    for name, way in pairs(ways) do
      it('is not asked for again: ' .. name, function()
        local project = support.project { ['main.lua'] = prelude .. way .. "\ndofile 'a.lua'",
          ['a.lua'] = "print('first', x)" }
        project:age()
        local program = lua:forkmon { '--quiet', '--overhead', '0.0001', 'main.lua', cwd = project.root,
          stdin = 'pipe' }
        program:write 'x = 1\n'
        program:close_stdin()
        program:expect_exactly 'first\t1\n'
        project:write('a.lua', "print('second', x)")
        program:expect_exactly 'second\t1\n'
        program:stop()
      end)
    end

    for name, way in pairs {
      ['io.open'] = "(function() local f = io.open '/dev/tty' local t = f:read() f:close() return t end)()",
      ['file:lines'] = "(function() local f = io.open '/dev/tty' local t = f:lines()() f:close() return t end)()",
      ['io.lines'] = "(function() for line in io.lines '/dev/tty' do return line end end)()",
      ['io.input'] = "(function() io.input '/dev/tty' local t = io.read() io.close(io.input()) return t end)()",
      ['io.read'] = 'io.read()', -- the negative control
      ['dofile'] = "(function() dofile '/dev/tty' return x end)()",
    } do
      it('or from its terminal is not asked for again: ' .. name, function()
        local project = support.project { ['main.lua'] = prelude .. 'local typed = ' .. way
          .. "\nprint(dofile 'a.lua', typed)", ['a.lua'] = "return 'first'" }
        project:age()
        local program = lua:forkmon { '--quiet', '--overhead', '0.0001', 'main.lua', cwd = project.root,
          tty = true }
        program:write(name == 'dofile' and "x = 'typed'\n\4" or 'typed\n')
        program:expect 'first\ttyped\n'
        project:write('a.lua', "return 'second'")
        program:expect 'second\ttyped\n'
        program:stop()
      end)
    end
  end)
end)
