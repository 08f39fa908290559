--- Every option has its effect, whichever way it is given: in the table, in the environment, by a flag.
--
-- The same program is run in the three ways and has to behave alike. Where an option changes how long something takes,
-- only what it promises is measured: that nothing happens too early.

local posix = require 'posix'
local support = require 'spec.support'
local clock = require 'spec.support.clock'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  --- The three ways to start `project` with an option. `options` are further ones of `start`.
  local ways = {
    table = function(case, project, options)
      project:write('main.lua', "require('forkmon').enable { filter = '%.lua$', exact = true, " .. case.code .. ' }\n'
        .. project:read 'main.lua')
      options[1] = 'main.lua'
      return lua:start(options)
    end,
    environment = function(case, _, options)
      options[1], options[2] = '--exact', 'main.lua'
      options.env = options.env or {}
      for name, value in pairs(case.env) do options.env[name] = value end
      return lua:forkmon(options)
    end,
    flag = function(case, _, options)
      for index, flag in ipairs(case.flags) do options[index] = flag end
      table.insert(options, '--exact')
      table.insert(options, 'main.lua')
      return lua:forkmon(options)
    end,
  }

  --- Defines a spec for each way that `case` has; `check(start, way)` calls `start(files, options)`.
  local function each_way(description, case, check)
    for _, way in ipairs { 'table', 'environment', 'flag' } do
      if case[({ table = 'code', environment = 'env', flag = 'flags' })[way]] then
        it(('%s (%s)'):format(description, way), function()
          check(function(files, options)
            local project = support.project(files)
            options = options or {}
            options.cwd = project.root
            return project, ways[way](case, project, options)
          end, way)
        end)
      end
    end
  end

  local two_files = {
    ['main.lua'] = "print 'start' dofile 'a.lua' dofile 'b.lua' print 'end'",
    ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'",
  }

  each_way('quiet prints nothing but what the program prints',
    { code = 'quiet = true', env = { FORKMON_QUIET = '1' }, flags = { '--quiet' } }, function(start)
      local project, program = start(two_files)
      program:expect_exactly 'start\na\nb\nend\n'
      project:write('b.lua', 'os.exit(3)')
      project:write('b.lua', "print 'b2'")
      program:expect 'b2\nend\n'
      program:stop 'INT'
      assert.falsy(program.stdout.text:find('[forkmon]', 1, true))
    end)

  --- A program of so many files, which ends or stays.
  local function many_files(count, last)
    local files = { ['main.lua'] = ("for i = 1, %d do dofile(('%%02d.lua'):format(i)) end print 'end' %s"):format(
      count, last or '') }
    for index = 1, count do files[('%02d.lua'):format(index)] = '' end
    return files
  end

  --- The `watch` lines of so many of them.
  local function watched(project, count)
    local text = {}
    for index = 1, count do text[index] = lines.watch(project:path(('%02d.lua'):format(index))) end
    return table.concat(text)
  end

  it('many files are told of in one line, when the program has ended or opens no more', function()
    for _, last in ipairs { '', 'io.stdout:flush() io.read()' } do
      local project = support.project(many_files(12, last))
      local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root, stdin = 'pipe' }
      program:expect_exactly(watched(project, 10) .. 'end\n[forkmon] watching 13 files\n')
      -- What is opened later is told of as well, and nothing twice.
      project:write('13.lua', '')
      project:write('main.lua', many_files(13, last)['main.lua'])
      program:expect_exactly(lines.resuming(project:path 'main.lua') .. 'end\n[forkmon] watching 14 files\n')
      project:write('05.lua', '')
      program:expect_exactly(lines.resuming(project:path '05.lua') .. 'end\n')
      program:stop 'INT'
    end
  end)

  each_way('verbose tells of each file',
    { code = 'verbose = true', env = { FORKMON_VERBOSE = '1' }, flags = { '--verbose' } }, function(start)
      local project, program = start(many_files(12))
      program:expect_exactly(watched(project, 12) .. 'end\n')
      project:write('12.lua', '')
      program:expect_exactly(lines.resuming(project:path '12.lua') .. 'end\n')
      program:stop 'INT'
    end)

  it('what is installed counts, and has no line unless that is wanted, or one works there', function()
    for _, case in ipairs { { 'app', false }, { 'app', true }, { 'tree/share/lua/5.4', true } } do
      local place, told = case[1], case[2]
      local project = support.project {
        ['app/main.lua'] = "print(dofile '../tree/share/lua/5.4/lib.lua')",
        ['tree/share/lua/5.4/main.lua'] = "print(dofile 'lib.lua')",
        ['tree/share/lua/5.4/lib.lua'] = 'return 1',
      }
      local path = project:path 'tree/share/lua/5.4/lib.lua'
      local options = { place == 'app' and told and '--verbose' or '--exact', 'main.lua', cwd = project:path(place) }
      local program = lua:forkmon(options)
      program:expect_exactly((told and lines.watch(path) or '') .. '1\n')
      project:write('tree/share/lua/5.4/lib.lua', 'return 2')
      program:expect_match "lib%.lua' changed, resuming from [^\n]*\n2\n"
      program:stop 'INT'
    end
  end)

  each_way('watch_lines keeps these back, and no others',
    { code = 'watch_lines = false', env = { FORKMON_NO_WATCH_LINES = '1' }, flags = { '--no-watch-lines' } },
    function(start)
      local project, program = start(many_files(12))
      program:expect_exactly 'end\n'
      project:write('12.lua', '')
      program:expect_exactly(lines.resuming(project:path '12.lua') .. 'end\n')
      program:stop 'INT'
    end)

  describe('a file of options', function()
    it('is taken by the command, watched, and less than a flag', function()
      local project = support.project {
        ['main.lua'] = "dofile 'a.lua' dofile 'b.txt'", ['a.lua'] = "print 'a'", ['b.txt'] = "print 'b'",
        ['.forkmon'] = "return { filter = '%.txt$', colors = false, exact = true }",
      }
      local program = lua:forkmon { 'main.lua', cwd = project.root }
      program:expect_exactly('a\n' .. lines.watch(project:path 'b.txt') .. 'b\n')
      project:write('b.txt', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.txt') .. 'b2\n')
      -- The session begins anew, with what is there now, even if it leaves the filter to the command.
      project:write('.forkmon', 'return { exact = true, watch_lines = false }')
      program:expect_exactly(lines.restarting(project:path '.forkmon') .. 'a\nb2\n')
      project:write('a.lua', "print 'a2'")
      program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\nb2\n')
      -- One with a mistake in it is waited with.
      project:write('.forkmon', 'return { exakt = true }')
      program:expect_exactly(lines.restarting(project:path '.forkmon') .. ('forkmon.enable: %s: unknown option '
        .. "'exakt' (did you mean 'exact'?)\n"):format(project:path '.forkmon') .. lines.exited(1))
      project:write('.forkmon', 'return { quiet = true }')
      program:expect 'a2\nb2\n'
      program:stop 'INT'
      project:write('.forkmon', "return { filter = '%.txt$', watch_lines = false, restart_delay = 'x' }")
      local faulty = lua:forkmon { 'main.lua', cwd = project.root }
      assert.same({ 'exited', 2 }, { faulty:wait() })
      assert.equal(("forkmon: %s: option 'restart_delay' must be a whole number of milliseconds >= 0, got string 'x'\n")
        :format(project:path '.forkmon'), faulty:unread())
      project:write('other', "return { quiet = true }")
      program = lua:forkmon { '--config', 'other', '--filter=%.txt$', 'main.lua', cwd = project.root }
      program:expect_exactly 'a2\nb2\n'
      project:write('b.txt', "print 'b3'")
      program:expect_exactly 'b3\n'
      program:stop 'INT'
    end)

    it('is not seen by the program', function()
      local project = support.project {
        ['main.lua'] = "for word in ('CONFIG DEFAULT_FILTER FILTER'):gmatch '%S+' do "
          .. "print(os.getenv('FORKMON_' .. word)) end",
        ['.forkmon'] = '',
      }
      local program = lua:forkmon { 'main.lua', cwd = project.root }
      program:expect_exactly 'nil\nnil\nnil\n'
      program:stop 'INT'
    end)

    it('is taken by enable where that asks for it', function()
      local project = support.project {
        ['main.lua'] = "require('forkmon').enable { filter = '%.lua$' } dofile 'a.lua'",
        ['asks.lua'] = "require('forkmon').enable { config = true } dofile 'a.lua'",
        ['a.lua'] = "print 'a'", ['.forkmon'] = "return { filter = '%.lua$', watch_lines = false }",
      }
      local program = lua:start { 'main.lua', cwd = project.root }
      program:expect_exactly(lines.watch(project:path 'a.lua') .. 'a\n')
      program:stop 'INT'
      program = lua:start { 'asks.lua', cwd = project.root }
      program:expect_exactly 'a\n'
      project:write('.forkmon', "return { filter = '%.lua$', quiet = true }")
      program:expect_exactly(lines.restarting(project:path '.forkmon') .. 'a\n')
      project:write('a.lua', "print 'a2'")
      program:expect_exactly 'a2\n'
      program:stop 'INT'
    end)
  end)

  it('quiet does not keep warnings back', function()
    local project = support.project {
      ['main.lua'] = [[
        require('forkmon').enable { filter = function(path) error('odd ' .. path:match '[^/]*$') end, quiet = true }
        dofile 'a.lua'
      ]],
      ['a.lua'] = "print 'a'",
    }
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_match '^%[forkmon%] the filter failed: .*main.lua:1: odd [^\n]*\n'
    program:expect_exactly 'a\n'
    program:stop 'INT'
  end)

  describe('colors', function()
    local function colored(color, line) return ('\27[%dm%s\27[0m\n'):format(color, line:gsub('\n$', '')) end
    local function plain(_, line) return line end
    local yellow, red = 33, 31

    local function check(paint, options)
      return function(start)
        local copy = {}
        for key, value in pairs(options) do copy[key] = value end
        local project, program = start({ ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = 'os.exit(3)' }, copy)
        program:expect_exactly(paint(yellow, lines.watch(project:path 'a.lua')) .. paint(red, lines.exited(3)))
        project:write('a.lua', "print 'end'")
        program:expect_exactly(paint(yellow, lines.resuming(project:path 'a.lua')) .. 'end\n')
        program:stop 'INT'
      end
    end

    local nothing = { code = '', env = {}, flags = {} }
    each_way('are there on a terminal', nothing, check(colored, { tty = true }))
    each_way('are not there off a terminal', nothing, check(plain, {}))
    each_way('can be switched off',
      { code = 'colors = false', env = { FORKMON_NO_COLORS = '1' }, flags = { '--no-color' } },
      check(plain, { tty = true }))
    each_way('are left out for NO_COLOR', { code = '', env = { NO_COLOR = '1' } }, function(start, way)
      -- For the table, too, the variable is in the environment.
      check(plain, { tty = true, env = way == 'table' and { NO_COLOR = '1' } or {} })(start)
    end)
    each_way('can be switched on off a terminal', { code = 'colors = true' }, check(colored, {}))
  end)

  for where, clears in pairs { ['on a terminal'] = '\27[H\27[2J\27[3J', ['and nothing off one'] = '' } do
    each_way('clear clears the screen before a resumed run, ' .. where,
      { code = 'clear = true, colors = false', env = { FORKMON_CLEAR = '1', FORKMON_NO_COLORS = '1' },
        flags = { '--clear', '--no-color' } }, function(start)
        local project, program = start(two_files, { tty = clears ~= '' })
        program:expect_exactly('start\n' .. lines.watch(project:path 'a.lua') .. 'a\n'
          .. lines.watch(project:path 'b.lua') .. 'b\nend\n')
        project:write('b.lua', "print 'b2'")
        program:expect_exactly(clears .. lines.resuming(project:path 'b.lua') .. 'b2\nend\n')
        program:stop 'INT'
      end)
  end

  each_way('ignore wins over filter',
    { code = "ignore = 'nothing;/a%.lua$'", env = { FORKMON_IGNORE = 'nothing;/a%.lua$' },
      flags = { '--ignore', 'nothing', '--ignore=/a%.lua$' } }, function(start)
      local project, program = start(two_files)
      program:expect_exactly('start\na\n' .. lines.watch(project:path 'b.lua') .. 'b\nend\n')
      project:write('a.lua', "print 'unseen'")
      project:write('b.lua', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b2\nend\n')
      program:stop 'INT'
    end)

  describe('filter', function()
    -- `filter = '%.lua$'` comes first in the table; of two fields of a name the last one counts.
    local patterns = { code = "filter = '/a%.;%.txt$'", env = { FORKMON_FILTER = '/a%.;%.txt$' },
      flags = { '--filter', '/a%.', '--filter=%.txt$' } }
    local files = {
      ['main.lua'] = "print 'start' dofile 'a.lua' dofile 'b.lua' dofile 'c.txt'",
      ['a.lua'] = '', ['b.lua'] = '', ['c.txt'] = "print 'c'",
    }
    local function check(start)
      local project, program = start(files)
      program:expect_exactly('start\n' .. lines.watch(project:path 'a.lua')
        .. lines.watch(project:path 'c.txt') .. 'c\n')
      program:stop 'INT'
    end
    each_way('takes several patterns', patterns, check)
    each_way('may be a list', { code = "filter = { '/a%.', '%.txt$' }" }, check)
    each_way('may be a function of the path', {
      code = "filter = function(path) return path:find '/a%.' or path:sub(-4) == '.txt' end",
    }, check)
    it('of the command joins the extensions of file arguments', function()
      local project = support.project {
        ['main.lua'] = "print(io.open(...):read()) dofile 'a.lua' io.open 'c.log'",
        ['b.txt'] = 'text', ['a.lua'] = '', ['c.log'] = 'log',
      }
      local program = lua:forkmon { 'main.lua', 'b.txt', cwd = project.root }
      program:expect_exactly(lines.watch(project:path 'b.txt') .. 'text\n' .. lines.watch(project:path 'a.lua'))
      project:write('b.txt', 'more text')
      program:expect_match "^%[forkmon%] file '[^\n]*/b%.txt' changed, resuming from it%.%.\n"
      program:expect_exactly 'more text\n'
      program:stop 'INT'
    end)
  end)

  describe('max_checkpoints', function()
    local files = { ['main.lua'] = "for i = 1, 20 do dofile('f' .. i .. '.lua') end print 'end'" }
    for i = 1, 20 do files[('f%d.lua'):format(i)] = ('print(%d)'):format(i) end

    -- forkmon may have a process or two besides, to be quick.
    local besides = 3

    local function parked(program, least, most)
      program:expect 'end\n'
      support.wait_until(function()
        return ('%d to %d processes:\n%s'):format(least, most,
          support.proc.describe(support.proc.children(support.proc.supervisor(program.pid))))
      end, function()
        local count = #support.proc.children(support.proc.supervisor(program.pid))
        return least <= count and count <= most
      end)
    end

    each_way('bounds their number, and every edit still counts',
      { code = 'max_checkpoints = 3', env = { FORKMON_MAX_CHECKPOINTS = '3' }, flags = { '--max-checkpoints=3' } },
      function(start)
        local project, program = start(files)
        parked(program, 3, 3 + besides)
        project:write('f11.lua', "print 'eleven'")
        program:expect 'eleven\n12\n'
        parked(program, 3, 3 + besides)
        project:write('f2.lua', "print 'two'")
        program:expect 'two\n3\n'
        parked(program, 3, 3 + besides)
        program:stop 'INT'
      end)

    each_way('is 64 otherwise', { code = '', flags = {} }, function(start)
      local _, program = start(files)
      parked(program, 21, 21 + besides)
      program:stop 'INT'
    end)
  end)

  -- A program that waits for a shell which says how it was stopped. It and its `sleep` are stopped as the program is.
  local function waiting(trap)
    return {
      ['main.lua'] = "dofile 'a.lua'",
      ['a.lua'] = ('os.execute [[%s; echo ready; sleep 1000 & wait]]'):format(trap),
    }
  end

  local function resumes_at_once(project, program)
    project:write('a.lua', "print 'end'")
    program:expect 'end\n'
    program:stop 'INT'
  end

  each_way('stop_signal stops the old run',
    { code = "stop_signal = 'HUP'", env = { FORKMON_STOP_SIGNAL = 'sighup' }, flags = { '--stop-signal', '1' } },
    function(start)
      local project, program = start(waiting "trap 'echo hung up; exit' HUP; trap '' TERM")
      program:expect 'ready\n'
      resumes_at_once(project, program)
      assert.truthy(program.stdout.text:find('ready\nhung up\n[forkmon] file', 1, true))
    end)

  it('stop_signal is TERM otherwise', function()
    local project = support.project(waiting "trap 'echo terminated; exit' TERM")
    local program = lua:forkmon { 'main.lua', cwd = project.root }
    program:expect 'ready\n'
    resumes_at_once(project, program)
    assert.truthy(program.stdout.text:find('ready\nterminated\n[forkmon] file', 1, true))
  end)

  each_way('stop_timeout bounds the patience with what does not stop',
    { code = 'stop_timeout = 250', env = { FORKMON_STOP_TIMEOUT = '250' }, flags = { '--stop-timeout=250' } },
    function(start)
      local project, program = start(waiting "trap '' TERM")
      program:expect 'ready\n'
      local before = clock.now()
      resumes_at_once(project, program)
      assert.is_true(clock.now() - before >= 0.25)
    end)

  it('stop_timeout holds for the program itself', function()
    local project = support.project {
      ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'ready' io.stdout:flush() io.read()",
    }
    -- What is ignored when a program starts stays so.
    local program = support.start {
      'sh', '-c', "trap '' TERM; exec \"$0\" --stop-timeout=250 main.lua", lua.tree .. '/bin/forkmon',
      cwd = project.root, stdin = 'pipe',
    }
    program:expect 'ready\n'
    local before = clock.now()
    resumes_at_once(project, program)
    assert.is_true(clock.now() - before >= 0.25)
  end)

  each_way('watch adds files and folders to the first checkpoint',
    { code = "watch = { 'config', 'folder' }", env = { FORKMON_WATCH = 'config;folder' },
      flags = { '--watch', 'config', '--watch=folder' } }, function(start, way)
      local project, program = start {
        ['main.lua'] = "print 'start' io.stdout:flush() os.execute 'cat config; ls folder'",
        ['config'] = 'one\n', ['folder/file'] = '',
      }
      program:expect_exactly 'start\none\nfile\n'
      local first = way == 'table' and 'enable()' or project:path 'main.lua'
      project:write('config', 'two\n')
      program:expect_exactly(lines.resuming(project:path 'config', first) .. 'start\ntwo\nfile\n')
      project:write('folder/other', '')
      program:expect_exactly(lines.resuming(project:path 'folder', first) .. 'start\ntwo\nfile\nother\n')
      program:stop 'INT'
    end)

  --- What the supervisor has open of inotify.
  local function inotify_instances(program)
    local count = 0
    for _, target in pairs(support.proc.descriptors(support.proc.supervisor(program.pid))) do
      if target:find('inotify', 1, true) then count = count + 1 end
    end
    return count
  end

  each_way('poll looks at the files instead',
    { code = 'poll = 10', env = { FORKMON_POLL = '10' }, flags = { '--poll=10' } }, function(start)
      local project, program = start(two_files)
      program:expect 'end\n'
      assert.equal(0, inotify_instances(program))
      project:write('b.lua', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b2\nend\n')
      program:stop 'INT'
    end)

  each_way('content ignores saves that change nothing',
    { code = 'content = true', env = { FORKMON_CONTENT = 'yes' }, flags = { '--content' } }, function(start)
      local project, program = start(two_files)
      program:expect 'end\n'
      project:touch 'a.lua'
      project:replace('a.lua', two_files['a.lua'])
      project:write('b.lua', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b2\nend\n')
      program:stop 'INT'
    end)

  each_way('restart_delay waits for quiet',
    { code = 'restart_delay = 200', env = { FORKMON_RESTART_DELAY = '200' }, flags = { '--restart-delay=200' } },
    function(start)
      local project, program = start(two_files)
      program:expect 'end\n'
      local before = clock.now()
      project:write('b.lua', "print 'b2'")
      -- In one go with this one, though it comes later.
      project:write('a.lua', "print 'a2'")
      program:expect_exactly(lines.resuming(project:path 'a.lua', nil, 'and 1 more changed') .. 'a2\nb2\nend\n')
      assert.is_true(clock.now() - before >= 0.2)
      program:stop 'INT'
    end)

  each_way('ignore_delay holds what comes soon after a resume',
    { code = 'ignore_delay = 300', env = { FORKMON_IGNORE_DELAY = '300' }, flags = { '--ignore-delay=300' } },
    function(start)
      local project, program = start(two_files)
      program:expect 'end\n'
      local before = clock.now()
      project:write('b.lua', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b2\nend\n')
      project:write('b.lua', "print 'b3'")
      program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b3\nend\n')
      assert.is_true(clock.now() - before >= 0.3)
      program:stop 'INT'
    end)

  it('exact takes a checkpoint at every watched file', function()
    local files = {
      ['main.lua'] = "require 'a' require 'b' print(A, B)", ['a.lua'] = 'A = 1', ['b.lua'] = 'B = 1',
    }
    for option, from in pairs { ['--exact'] = false, ['--overhead=0.0001'] = 'main.lua' } do
      local project = support.project(files)
      assert(os.execute(('touch -d 2001-01-01 %s/*.lua'):format(project.root)))
      local program = lua:forkmon { option, 'main.lua', cwd = project.root }
      program:expect '1\t1\n'
      project:write('b.lua', 'B = 2')
      program:expect_exactly(lines.resuming(project:path 'b.lua', from and project:path(from)) .. '1\t2\n')
      program:stop 'INT'
    end
  end)

  it('a flag wins over the environment, and so does the table', function()
    local project = support.project {
      ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'a'",
      ['enable.lua'] = "require('forkmon').enable { filter = '/a%.lua$', colors = false } dofile 'a.lua'",
    }
    local program = lua:forkmon {
      '--filter=/a%.lua$', 'main.lua', cwd = project.root, env = { FORKMON_FILTER = '%.txt$' },
    }
    program:expect_exactly(lines.watch(project:path 'a.lua') .. 'a\n')
    program:stop 'INT'
    program = lua:start {
      'enable.lua', cwd = project.root, tty = true, env = { FORKMON_FILTER = '%.txt$' },
    }
    program:expect_exactly(lines.watch(project:path 'a.lua') .. 'a\n')
    program:stop 'INT'
  end)

  it('FORKMON_DISABLE leaves the program alone', function()
    local project = support.project {
      ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = 'os.exit(3)',
      ['enable.lua'] = [[
        local forkmon = require 'forkmon'
        assert(forkmon.enable { filter = '%.lua$' } == forkmon)
        assert(forkmon.enabled() == (os.getenv 'FORKMON_DISABLE' == '0'))
        dofile 'a.lua'
      ]],
    }
    for _, start in ipairs {
      function(env) return lua:forkmon { 'main.lua', cwd = project.root, env = env } end,
      function(env) return lua:start { 'enable.lua', cwd = project.root, env = env } end,
    } do
      local disabled = start { FORKMON_DISABLE = '1' }
      assert.same({ 'exited', 3 }, { disabled:wait() })
      assert.equal('', disabled:unread())
      -- Negative control.
      local enabled = start { FORKMON_DISABLE = '0' }
      enabled:expect(lines.exited(3))
      assert.same({ 'killed', posix.SIGINT }, { enabled:stop 'INT' })
    end
  end)
end)
