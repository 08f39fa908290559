--- Integrations, with the programs that they are for, as Debian has them.

local posix = require 'posix'
local support = require 'spec.support'

--- The Lua that busted runs in, told by itself, and why none is known.
local function lua_of_busted()
  local which = support.start { 'sh', '-c', 'command -v busted' }
  if select(2, which:wait()) ~= 0 then return nil, 'busted is not installed' end
  local probe = support.start { 'busted', '--version', env = {
    LUA_INIT = 'io.stderr:write("<", _VERSION:match "%d.%d", ">") os.exit(0)',
    LUA_INIT_5_2 = false, LUA_INIT_5_3 = false, LUA_INIT_5_4 = false,
  } }
  probe:wait()
  local name = 'lua' .. (probe:unread():match '<(%d%.%d)>' or '?')
  if not posix.access('target/rocks/' .. name, 'x') then return nil, 'no rock installed for ' .. name end
  return name
end

-- A slow file would do; that nothing is run that need not be shows in what is printed.
local suite = {
  ['spec/a_spec.lua'] = "print 'load a' describe('a', function() it('passes', function() print 'run a' end) end)",
  ['spec/b_spec.lua'] = "print 'load b' describe('b', function() it('counts', function() print 'run b' "
    .. "assert.equal(2, require('src.count')) end) end)",
  ['spec/c_spec.lua'] = "print 'load c' describe('c', function() it('passes', function() print 'run c' end) end)",
  ['src/count.lua'] = "print 'load count' return 2",
}

support.describe('busted', function()
  local name, reason = lua_of_busted()
  if not name then
    it('runs under forkmon', function() pending(reason) end)
    return
  end

  local function under_forkmon(project, options, ...)
    local command = { 'forkmon', '--no-watch-lines', cwd = project.root, stderr = 'separate',
      env = { PATH = posix.getcwd() .. '/target/rocks/' .. name .. '/bin:' .. os.getenv 'PATH' } }
    for _, option in ipairs(options) do command[#command + 1] = option end
    command[#command + 1] = 'busted'
    for _, argument in ipairs { ... } do command[#command + 1] = argument end
    return support.start(command)
  end

  it('runs the specs of a file that was edited, and no others from the second edit on', function()
    local project = support.project(suite)
    project:age()
    local program = under_forkmon(project, {}, '--output=plainTerminal')
    program:expect 'load a\nrun a\n+load b\nrun b\nload count\n+load c\nrun c\n+\n3 successes / 0 failures / 0 errors'
    local function edit(file, text, expected)
      project:write(file, text or suite[file])
      program:expect(expected)
      program:expect_match '[^\n]*\n'
      support.await_idle(program)
    end
    -- The first edit of one has those after it run before it.
    edit('spec/a_spec.lua', suite['spec/a_spec.lua']:gsub('print .run a.', '%0 assert.equal(1, 2)'),
      'load b\nrun b\nload count\n+load c\nrun c\n+load a\nrun a\n-\n2 successes / 1 failure / 0 errors')
    edit('spec/a_spec.lua', nil, 'load a\nrun a\n+\n3 successes / 0 failures / 0 errors')
    -- One that has run by then waits behind the last.
    edit('spec/b_spec.lua', suite['spec/b_spec.lua'] .. ' -- 1',
      'load c\nrun c\n+load a\nrun a\n+load b\nrun b\nload count\n+\n3 successes / 0 failures / 0 errors')
    edit('spec/b_spec.lua', suite['spec/b_spec.lua'] .. ' -- 2', 'load b\nrun b\nload count\n+\n3 successes')
    -- What it requires runs no more than that, too; and a mistake is told, and mended.
    edit('src/count.lua', "print 'count anew' return 3", 'count anew\n-\n2 successes / 1 failure')
    edit('spec/b_spec.lua', 'it(', '2 successes / 0 failures / 1 error')
    edit('src/count.lua', nil, '')
    edit('spec/b_spec.lua', nil, 'load b\nrun b\nload count\n+\n3 successes / 0 failures / 0 errors')
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('notices spec files that come and go', function()
    local project = support.project(suite)
    local program = under_forkmon(project, {}, '--output=plainTerminal')
    program:expect '3 successes / 0 failures'
    support.await_idle(program)
    project:write('spec/d_spec.lua', "it('is new', function() print 'run d' end)")
    program:expect 'run d\n+\n4 successes / 0 failures'
    support.await_idle(program)
    project:write('spec/d_spec.lua', "it('is edited', function() print 'run d anew' end)")
    program:expect 'run d anew\n+\n4 successes / 0 failures'
    support.await_idle(program)
    project:remove 'spec/d_spec.lua'
    program:expect '\n3 successes / 0 failures'
    program:stop()
  end)

  it('notices .busted', function()
    local project = support.project(suite)
    project:write('.busted', "return { default = { output = 'plainTerminal', pattern = 'a_spec' } }")
    local program = under_forkmon(project, {})
    program:expect '1 success / 0 failures'
    support.await_idle(program)
    project:write('.busted', "return { default = { output = 'plainTerminal', pattern = '_spec' } }")
    program:expect '3 successes / 0 failures'
    program:stop()
  end)

  describe('tells the same as without forkmon', function()
    local files = {
      ['spec/a_spec.lua'] = "describe('a', function() it('passes #quick', function() end) "
        .. "it('fails', function() assert.equal(1, 2) end) pending 'is to come' end)",
      ['spec/b_spec.lua'] = "local b = 'upvalue' describe('b', function() before_each(function() b = b .. '.' end) "
        .. "it('errs #quick', function() error('an error: ' .. b) end) it('goes on', function() end) end)",
      ['spec/c_spec.lua'] = "error 'while it is loaded'",
      ['spec/d_spec.lua'] = "insulate('d', function() G = 1 it('sets', function() assert.equal(1, G) end) end) "
        .. "it('is insulated', function() assert.is_nil(rawget(_G, 'leaked')) end) leaked = true",
      ['spec/e_spec.lua'] = "it('sees nothing of d', function() assert.is_nil(leaked) end) setup(function() end)",
      ['spec/helper.lua'] = "print 'helper' return {}",
    }
    for _, arguments in ipairs {
      { '--output=plainTerminal' }, { '--output=TAP' }, { '--output=gtest' }, { '--output=json' },
      { '--output=junit' }, { '--output=utfTerminal', '--verbose' },
      { '--output=TAP', '--repeat=2' }, { '--output=TAP', '--shuffle', '--seed=7' },
      { '--output=TAP', '--sort' }, { '--output=TAP', '--tags=quick' }, { '--output=TAP', '--exclude-tags=quick' },
      { '--output=TAP', '--filter=passes' }, { '--output=TAP', '--helper=spec/helper.lua' },
      { '--list' }, { '--output=TAP', '--no-keep-going' }, { '--output=TAP', 'spec/b_spec.lua', 'spec/a_spec.lua' },
      { '--output=TAP', '--pattern=a_spec' }, { '--output=TAP', '--no-auto-insulate' }, { '--version' },
      { '--output=TAP', 'spec/nothing_spec.lua' },
    } do
      it('with ' .. table.concat(arguments, ' '), function()
        local project = support.project(files)
        local function normal(text)
          return (text:gsub('%d+%.%d+ seconds', 'N seconds'):gsub('%([%d.]+ ms', '(N ms')
            :gsub('"[%w]*[Tt]i[mc][ek]%w*":[%d.e+-]+', '"time":N'):gsub('"duration":[%d.e+-]+', '"duration":N')
            :gsub("time='[%d.e+-]+'", "time='N'"):gsub("timestamp='[^']*'", "timestamp='T'")
            :gsub('0x%x+', '0x')
            -- In XML, attributes are in any order.
            :gsub('(<%a+)( [^<>]-)(/?>)', function(opening, attributes, closing)
              local list = {}
              for attribute in attributes:gmatch "%S+='[^']*'" do list[#list + 1] = attribute end
              table.sort(list)
              return opening .. ' ' .. table.concat(list, ' ') .. closing
            end))
        end
        local plain = { 'busted', cwd = project.root, stderr = 'separate' }
        for _, argument in ipairs(arguments) do plain[#plain + 1] = argument end
        local cold = support.start(plain)
        local _, status = cold:wait()
        local program = under_forkmon(project, {}, table.unpack(arguments))
        local wanted = normal(cold:unread())
        local got = ''
        support.wait_until(function() return ('forkmon busted to print\n%s\nand not\n%s'):format(wanted, got) end,
          function()
            program.stdout:collect(0)
            got = normal(program.stdout.text)
            return got == wanted
          end)
        if status ~= 0 then
          support.wait_until('the status to be told', function()
            program.stderr:collect(0)
            return program.stderr.text:find(('exited with status %d,'):format(status), 1, true)
          end)
        end
        program:stop()
      end)
    end
  end)

  it('is left alone with --no-integration', function()
    local project = support.project(suite)
    local program = under_forkmon(project, { '--no-integration', 'busted' }, '--output=plainTerminal')
    program:expect '3 successes / 0 failures'
    support.await_idle(program)
    project:write('spec/c_spec.lua', suite['spec/c_spec.lua'] .. ' -- edited')
    program:expect 'load a\nrun a\n+load b\n' -- as busted loads all of them first
    program:stop()
  end)

end)

support.one_lua(function(lua)
  it('integrations are listed, and a wrong name is told', function()
    local help = lua:forkmon { 'help', 'integrations' }
    help:expect_match 'busted +loads each spec file just before its specs run'
    assert.same({ 'exited', 0 }, { help:wait() })
    local wrong = lua:forkmon { '--no-integration', 'bustd', 'main.lua', stderr = 'separate' }
    assert.same({ 'exited', 2 }, { wrong:wait() })
    assert.truthy(wrong.stderr.text:find("there is no integration 'bustd' (did you mean 'busted'?)", 1, true))
  end)
end)
