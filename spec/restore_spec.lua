--- What a resume puts back: files and their offsets, buffers, memory.
--
-- Each program prepares something, comes to a stop point (`require 'part'`) and uses it. It is
-- resumed twice: the second resume shows that the first run and the first resume did not spoil
-- what the checkpoint keeps. What the program prints and leaves in its files must be the same
-- each time, and that of a plain run.

local lfs = require 'lfs'
local posix = require 'posix'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local QUIET = { '--quiet', '--exact' }

support.each_lua(function(lua)
  --- Starts main.lua under the command, with the options in front.
  local function start(project, options)
    options = options or {}
    for i, flag in ipairs(QUIET) do table.insert(options, i, flag) end
    options[#options + 1] = 'main.lua'
    options.cwd = project.root
    return lua:forkmon(options)
  end

  --- Makes the program of `files` run three times from its stop point; `check` sees it each time
  -- behind the line 'done'.
  local function run_thrice(files, output, check, options)
    files['part.lua'] = files['part.lua'] or ''
    local project = syscalls.project(files)
    local program = start(project, options and options(project))
    for time = 1, 3 do
      program:expect_exactly((time == 1 and output.before or '') .. output.after .. 'done\n')
      if check then check(project, program, time) end
      project:append('part.lua', '-- saved\n')
    end
    program:expect_exactly(output.after .. 'done\n')
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    return project
  end

  describe('reading', function()
    local lines = {}
    for line = 1, 2000 do lines[line] = ('line %d\n'):format(line) end
    local data, read = table.concat(lines), #table.concat(lines, '', 1, 1001)

    for _, buffering in ipairs { 'no', 'full' } do
      it('goes on where it was, with buffer: ' .. buffering, function()
        run_thrice({
          data = data,
          ['main.lua'] = ([[
            local data, update = io.open 'data', io.open('data', 'r+')
            data:setvbuf '%s'
            update:setvbuf '%s'
            for _ = 1, 1000 do data:read() end
            update:seek('set', 7)
            print 'started'
            require 'part'
            print(data:read(), data:seek(), update:read())
            print(#data:read(2500), data:read())
            data:close()
            print 'done'
          ]]):format(buffering, buffering),
        }, {
          before = 'started\n',
          after = ('line 1001\t%d\tline 2\n2500\t%s\n'):format(read, data:sub(read + 2501):match '[^\n]*'),
        })
      end)
    end

    it('goes on where it was, on standard input that is a file', function()
      run_thrice({
        data = data,
        ['main.lua'] = [[
          io.stdin:setvbuf 'no'
          print(io.read())
          require 'part'
          print(io.read())
          print(#io.read '*a')
          print 'done'
        ]],
      }, { before = 'line 1\n', after = ('line 2\n%d\n'):format(#data - 14) }, nil, function(project)
        return { stdin = project:path 'data' }
      end)
    end)

    it('leaves the offset of the parked copy alone', function()
      run_thrice({
        data = data,
        ['main.lua'] = [[
          local syscalls = require 'syscalls'
          local data = io.open 'data'
          data:setvbuf 'no'
          data:read(10)
          local own = syscalls.open('data', 0)
          require 'part'
          print((syscalls.descriptor(own)))
          data:seek 'end'
          print 'done'
        ]],
      }, { before = '', after = 'at 0, flags 100000, 0\n' })
    end)

    it('of a large folder goes on where it was', function()
      local files = { ['main.lua'] = [[
        local names = 0
        for name in require 'lfs'.dir 'folder' do
          if name:find 'entry' then
            names = names + 1
            if names == 5 then require 'part' end
          end
        end
        print(names)
        print 'done'
      ]] }
      for entry = 1, 3000 do files['folder/entry ' .. entry .. (' '):rep(40)] = '' end
      if lua.name == 'lua5.5' then return pending 'no lfs for Lua 5.5' end
      run_thrice(files, { before = '', after = '3000\n' })
    end)
  end)

  describe('writing', function()
    it('begins anew where the checkpoint was, and what came later is cut off', function()
      run_thrice({
        ['main.lua'] = [[
          local out = io.open('out', 'w')
          out:write 'head\n'
          out:write((require 'part'))
          print(out:seek())
          out:close()
          print 'done'
        ]],
        ['part.lua'] = "return ('a'):rep(10000)\n",
      }, { before = '', after = '10005\n' }, function(project)
        assert.equal('head\n' .. ('a'):rep(10000), project:read 'out')
      end)
    end)

    it('keeps what was still in a buffer at the checkpoint, whatever led to it', function()
      run_thrice({
        ['main.lua'] = [[
          local file = io.open('out', 'w')
          file:write 'before\n'
          os.remove(os.tmpname()) -- an effect that needs no look at what was written
          require 'part'
          file:write 'after\n'
          file:close()
          print 'done'
        ]],
      }, { before = '', after = '' }, function(project)
        assert.equal('before\nafter\n', project:read 'out')
      end)
    end)

    it('leaves no longer rest of an earlier run', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local out, both = io.open('out', 'w'), io.open('both', 'w+')
          out:write 'head '
          both:write 'head '
          local text = require 'part'
          out:write(text)
          both:write(text)
          both:seek('set', 2)
          print(both:read '*a')
          out:close()
          both:close()
          print 'done'
        ]],
        ['part.lua'] = "return 'a long text'",
      }
      local program = start(project)
      program:expect_exactly 'ad a long text\ndone\n'
      project:replace('part.lua', "return 'short'")
      program:expect_exactly 'ad short\ndone\n'
      assert.equal('head short', project:read 'out')
      assert.equal('head short', project:read 'both')
      project:replace('part.lua', "return 'longer again'")
      program:expect_exactly 'ad longer again\ndone\n'
      assert.equal('head longer again', project:read 'out')
      program:stop()
    end)

    it('to a file that is renamed when it is whole writes it anew', function()
      run_thrice({
        ['main.lua'] = [[
          local out = io.open('out.new', 'w')
          out:write 'head '
          require 'part'
          out:write 'body'
          out:close()
          print(os.rename('out.new', 'out'))
          print 'done'
        ]],
      }, { before = '', after = 'true\n' }, function(project)
        assert.equal('head body', project:read 'out')
        assert.is_nil(lfs.attributes(project:path 'out.new'))
      end)
    end)

    it('reaches a file by its name again when another has taken its place', function()
      run_thrice({
        ['main.lua'] = [[
          local out = io.open('out', 'w')
          out:write 'head '
          require 'part'
          out:write 'body'
          out:close()
          print 'done'
        ]],
      }, { before = '', after = '' }, function(project, _, time)
        assert.equal('head body', project:read 'out')
        if time == 1 then project:replace('out', 'a formatted body') else project:remove 'out' end
      end)
    end)

    it('to a file that has another name by the checkpoint is cut back there', function()
      run_thrice({
        ['main.lua'] = [[
          os.remove 'kept'
          local out = io.open('out', 'w')
          out:write 'head '
          out:flush()
          os.execute 'ln out kept && rm out'
          require 'part'
          out:write 'body'
          out:close()
          print 'done'
        ]],
      }, { before = '', after = '' }, function(project)
        assert.equal('head body', project:read 'kept')
        for name in lfs.dir(project.root) do assert.is_nil(name:match '^out') end
      end)
    end)

    it('through two descriptors of one opening goes through one offset still', function()
      run_thrice({
        ['main.lua'] = [[
          local syscalls = require 'syscalls'
          local O_WRONLY, O_CREAT, O_TRUNC = 1, 64, 512
          local log = syscalls.open('log', O_WRONLY + O_CREAT + O_TRUNC)
          syscalls.dup2(log, 50)
          syscalls.write(log, 'one ')
          syscalls.open('log', O_WRONLY) -- an opening of its own
          require 'part'
          syscalls.write(log, 'two ')
          syscalls.write(50, 'three ')
          syscalls.write(log, 'four')
          print 'done'
        ]],
      }, { before = '', after = '' }, function(project)
        assert.equal('one two three four', project:read 'log')
      end)
    end)

    it('to the end of a file is not undone', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local log = io.open('log', 'a')
          log:write 'started '
          require 'part'
          log:write 'ran '
          log:flush()
          print(log:seek())
          print 'done'
        ]],
        ['part.lua'] = '',
        log = 'before ',
      }
      local program = start(project)
      program:expect_exactly '19\ndone\n'
      project:append('part.lua', '-- saved\n')
      program:expect_exactly '23\ndone\n'
      assert.equal('before started ran ran ', project:read 'log')
      program:stop()
    end)

    it('in place cuts nothing off: a database is its own master', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local base = io.open('base', 'r+')
          base:write 'A'
          require 'part'
          base:seek 'end'
          base:write 'Z'
          base:close()
          print 'done'
        ]],
        ['part.lua'] = '',
        base = '....',
      }
      local program = start(project)
      program:expect_exactly 'done\n'
      project:append('part.lua', '-- saved\n')
      program:expect_exactly 'done\n'
      assert.equal('A...ZZ', project:read 'base')
      program:stop()
    end)

    it('of an unnamed file begins anew', function()
      local part = ('return %q\n')
      local project = syscalls.project {
        ['main.lua'] = [[
          local scratch = io.tmpfile()
          scratch:write 'head '
          scratch:write((require 'part'))
          scratch:seek 'set'
          print(scratch:read '*a')
          print 'done'
        ]],
        ['part.lua'] = part:format 'a long text',
      }
      local program = start(project)
      program:expect_exactly 'head a long text\ndone\n'
      project:replace('part.lua', part:format 'short')
      program:expect_exactly 'head short\ndone\n'
      program:stop()
    end)
  end)

  describe('output', function()
    local program_of = {
      ['main.lua'] = [[
        if arg[1] then io.stdout:setvbuf(arg[1], 100000) end
        io.write 'begun'
        require 'part'
        io.write(' and ended', '.')
        io.stderr:write '\n'
      ]],
    }

    for _, buffering in ipairs { 'default', 'full', 'line', 'no' } do
      for _, place in ipairs { 'pipe', 'terminal' } do
        it(('appears once, in a %s, with buffer: %s'):format(place, buffering), function()
          program_of['part.lua'] = ''
          local project = syscalls.project(program_of)
          local options = { '--exact', 'main.lua', buffering ~= 'default' and buffering or nil,
            cwd = project.root, tty = place == 'terminal', stderr = place == 'pipe' and 'separate' or nil }
          local program = lua:forkmon(options)
          if place == 'pipe' then
            program:expect_exactly 'begun and ended.'
            project:append('part.lua', '-- saved\n')
            program:expect_exactly ' and ended.'
          else
            program:expect_match 'begun\27[^\n]*\n'
            program:expect ' and ended.'
            project:append('part.lua', '-- saved\n')
            program:expect_match '\27[^\n]*resuming from it'
            program:expect ' and ended.'
          end
          program:stop()
          assert.is_nil(program.stdout.text:find('begun.*begun'))
          assert.equal(2, select(2, program.stdout.text:gsub('and ended%.', '')))
        end)
      end

      it('appears once, in a file, with buffer: ' .. buffering, function()
        program_of['part.lua'] = ''
        local project = syscalls.project(program_of)
        project:write('out', '')
        local program = lua:forkmon { '--exact', 'main.lua', buffering ~= 'default' and buffering or nil,
          cwd = project.root, stdout = project:path 'out', stderr = 'separate' }
        support.wait_until('the end', function() return project:read 'out' == 'begun and ended.' end)
        project:append('part.lua', '-- saved\n')
        support.wait_until(function() return 'more output than ' .. project:read 'out' end,
          function() return project:read 'out' == 'begun and ended. and ended.' end)
        program:stop()
        assert.equal('begun and ended. and ended.', project:read 'out')
      end)
    end

    it('of one who closes its standard error does not get our lines', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local syscalls = require 'syscalls'
          syscalls.close(2, 2)
          local out = io.open('out', 'w')
          print(syscalls.readlink '/proc/self/fd/2' ~= '')
          out:write 'mine'
          require 'part'
          out:write ', all mine'
          out:close()
          print 'done'
        ]],
        ['part.lua'] = '',
      }
      local program = lua:forkmon { '--filter', '/part%.lua$', 'main.lua', cwd = project.root }
      program:expect_exactly 'true\ndone\n' -- it has taken the place
      assert.equal('mine, all mine', project:read 'out')
      project:append('part.lua', '-- saved\n')
      program:expect(('[forkmon] file \'%s\' changed, resuming from it..\ndone\n'):format(project:path 'part.lua'))
      assert.equal('mine, all mine', project:read 'out')
      program:stop()
    end)
  end)

  describe('memory', function()
    it('is that of the checkpoint: upvalues, suspended coroutines, random state', function()
      run_thrice({
        ['main.lua'] = [[
          local count = 0
          local function counter() count = count + 1 return count end
          local generator = coroutine.wrap(function()
            for step = 1, 100 do coroutine.yield('step ' .. step) end
          end)
          local loading = coroutine.wrap(function()
            local inside = 'inside'
            coroutine.yield()
            require 'part' -- the checkpoint is taken in a coroutine
            coroutine.yield(inside)
            return 'left'
          end)
          math.randomseed(42)
          counter() generator() math.random() loading()
          local expected = io.open('expected', 'a')
          print 'started'
          print(loading(), counter(), generator())
          expected:write(tostring(math.random()), '\n')
          expected:flush()
          print(loading(), counter(), generator())
          print 'done'
        ]],
      }, { before = 'started\n', after = 'inside\t2\tstep 2\nleft\t3\tstep 3\n' }, function(project, _, time)
        local drawn = {}
        for line in project:read('expected'):gmatch '[^\n]+' do
          drawn[#drawn + 1] = line
          assert.equal(drawn[1], line)
        end
        assert.equal(time, #drawn)
      end)
    end)

    it('is collected once in each process that ran, and never in a parked one', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local function finalizer() io.stdout:write 'collected\n' io.stdout:flush() end
          if newproxy then
            kept = newproxy(true)
            getmetatable(kept).__gc = finalizer
          else
            kept = setmetatable({}, { __gc = finalizer })
          end
          require 'part'
          print 'ran'
        ]],
        ['part.lua'] = '',
      }
      local program = start(project)
      for _ = 1, 3 do
        program:expect_exactly 'ran\ncollected\n'
        project:append('part.lua', '-- saved\n')
      end
      program:expect_exactly 'ran\ncollected\n'
      program:stop()
      assert.equal('', program:unread())
    end)

    it('that is mapped from a file and shared stays as the last run left it', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local syscalls = require 'syscalls'
          syscalls.count 'counter'
          require 'part'
          print(syscalls.count 'counter')
        ]],
        ['part.lua'] = '',
      }
      local program = start(project)
      program:expect_exactly '2\n'
      project:append('part.lua', '-- saved\n')
      program:expect_exactly '3\n'
      program:stop()
    end)
  end)

  it('goes on with the processor time that was used', function()
    run_thrice({
      ['main.lua'] = [[
        local began = os.clock()
        repeat until os.clock() - began > 0.1
        print 'started'
        require 'part'
        print(os.clock() - began > 0.1, os.clock() - began < 10)
        print 'done'
      ]],
    }, { before = 'started\n', after = 'true\ttrue\n' })
  end)

  it('does not keep a lock that the program gives up', function()
    local project = syscalls.project {
      ['part.lua'] = '',
      ['main.lua'] = [[
        local syscalls = require 'syscalls'
        local EXCLUSIVE_AT_ONCE = 2 + 4
        local first = io.open('lock', 'w')
        local locked = syscalls.flock(3, EXCLUSIVE_AT_ONCE)
        require 'part'
        first:close()
        local second = io.open('lock', 'w')
        print(locked, syscalls.flock(3, EXCLUSIVE_AT_ONCE))
        print 'done'
      ]],
    }
    local plain = lua:start { 'main.lua', cwd = project.root }
    plain:expect 'done\n'
    assert.same({ 'exited', 0 }, { plain:wait() })
    local program = start(project)
    for _ = 1, 2 do
      program:expect_exactly(plain.stdout.text)
      project:replace('part.lua', '-- saved')
    end
    program:expect_exactly(plain.stdout.text)
    program:stop()
  end)

  it('is not from while an event queue is open, whatever else of that kind was inherited', function()
    local project = syscalls.project { ['main.lua'] = [[
      io.stdout:setvbuf 'no'
      local sys, forkmon = require 'syscalls', require 'forkmon'
      local eventfd = sys.eventfd()
      forkmon.enable { quiet = true, filter = '%.txt$' }
      print(forkmon.checkpoint())
      local epoll = sys.epoll()
      print(forkmon.checkpoint())
      sys.close(epoll, epoll)
      print(forkmon.checkpoint())
      sys.close(eventfd, eventfd)
      print(eventfd == sys.epoll(), forkmon.checkpoint())
      io.read()
    ]] }
    local env = lua:paths()
    env.LUA_PATH = './?.lua;' .. env.LUA_PATH
    local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env, stdin = 'pipe' }
    local queue = 'nil\tan event queue is open, which a checkpoint cannot carry unless on_resume reopens it\n'
    program:expect_exactly('false\n' .. queue .. 'false\ntrue\t' .. queue)
    program:stop()
  end)

  it('comes from before the first of two changes that the program makes to a file', function()
    local project = support.project {
      ['late.lua'] = 'print "late"',
      ['main.lua'] = [[
        print 'started'
        local file = io.open('made', 'w')
        file:write 'one\n'
        file:close()
        for line in io.lines 'made' do print(line) end
        file = io.open('made', 'a')
        file:write 'two\n'
        file:close()
        dofile 'late.lua'
        for line in io.lines 'made' do print(line) end
        print 'done'
      ]],
    }
    local program = start(project, { '--filter', '%.lua$;/made$' })
    local output = 'one\nlate\none\ntwo\ndone\n'
    program:expect_exactly('started\n' .. output)
    -- A resume at the read of `made` would find both lines there.
    assert(os.execute("'" .. lua.tree .. "/bin/forkmon' resume " .. program.pid .. ' ' .. project:path 'made'
      .. ' >/dev/null 2>&1'))
    program:expect 'done\n'
    assert.truthy(program.stdout.text:find('\none\nlate\none\ntwo\ndone\n$'))
    -- What comes after the second change has a checkpoint of its own again.
    project:replace('late.lua', 'print "later"')
    program:expect_exactly 'later\none\ntwo\ndone\n'
    program:stop()
  end)

  it('lets a program close every descriptor, and open others', function()
    local project = syscalls.project {
      ['main.lua'] = [[
        local syscalls = require 'syscalls'
        syscalls.close(3, 1023)
        require 'one'
        syscalls.close(0, 1023)
        local log = io.open('log', 'a') -- number 0
        log:write 'closed '
        log:flush()
        log:write(require 'two', ' ')
        log:close()
      ]],
      ['one.lua'] = '',
      ['two.lua'] = "return 'two'",
    }
    local program = start(project)
    local function await(text)
      support.wait_until(function() return text .. ', not ' .. project:read 'log' end, function()
        return lfs.attributes(project:path 'log') and project:read 'log' == text
      end)
    end
    await 'closed two '
    project:replace('two.lua', "return 'three'")
    await 'closed two three '
    project:append('one.lua', '-- saved')
    await 'closed two three closed three '
    program:stop()
  end)

  it('keeps relative paths apart when the program goes to other folders', function()
    local project = syscalls.project {
      ['main.lua'] = [[
        local syscalls = require 'syscalls'
        local function enter(folder)
          assert(syscalls.chdir(folder) == '0')
          io.write(dofile 'part.lua', ' ')
        end
        enter '.' enter 'one' enter '../two' enter '..'
        print(io.open('two/part.lua'):read '*a')
      ]],
      ['part.lua'] = "return 'top'",
      ['one/part.lua'] = "return 'one'",
      ['two/part.lua'] = "return 'two'",
    }
    local program = start(project)
    program:expect_exactly "top one two top return 'two'\n"
    project:replace('two/part.lua', "return 2")
    program:expect_exactly "2 top return 2\n"
    project:replace('one/part.lua', "return 1")
    program:expect_exactly "1 2 top return 2\n"
    project:replace('part.lua', "return 0")
    program:expect_exactly "0 1 2 0 return 2\n"
    program:stop()
  end)

  it('may happen any number of times from one checkpoint, and nothing grows', function()
    local project = syscalls.project {
      ['main.lua'] = [[
        local data = io.open 'main.lua'
        require 'one'
        print('ran', (require 'two'))
      ]],
      ['one.lua'] = 'return 1',
      ['two.lua'] = 'return 1',
    }
    local program = start(project)
    program:expect_exactly 'ran\t1\n'
    local function descriptors_of_supervisor()
      local descriptors, supervisor = 0, support.proc.supervisor(program.pid)
      for _ in pairs(support.proc.descriptors(supervisor)) do descriptors = descriptors + 1 end
      return descriptors
    end
    local function resume(time)
      project:replace('two.lua', 'return ' .. time)
      program:expect_exactly(('ran\t%d\n'):format(time))
      support.wait_until('the end of the run', function()
        return #support.living() <= 6 -- the guard, the supervisor, three checkpoints and a spare
      end)
    end
    resume(2)
    local before = descriptors_of_supervisor()
    for time = 3, 52 do resume(time) end
    assert.equal(before, descriptors_of_supervisor())
    project:append('one.lua', ' -- saved')
    program:expect_exactly 'ran\t52\n'
    program:stop()
  end)
end)
