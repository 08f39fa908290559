--- The programs in examples/, run as their READMEs say.
--
-- Each spec works in a copy of the example's folder and edits files there as a person would. The tools (busted,
-- luacheck, ldoc) are Debian's and say by themselves which Lua runs them: `lua` on the PATH is made the Lua under
-- test. What a Lua has no package of is left out there.

local posix = require 'posix'
local support = require 'spec.support'

--- Whether the Lua under test finds these modules.
local function has(lua, ...)
  local code = {}
  for _, name in ipairs { ... } do code[#code + 1] = ('require %q'):format(name) end
  return os.execute(("%s -e '%s' >/dev/null 2>&1"):format(lua.interpreter, table.concat(code, ' '):gsub("'", '')))
end

local function is_command(name)
  return os.execute(('command -v %s >/dev/null'):format(name))
end

--- Replaces text in a file, which must be there.
local function substitute(project, name, from, to)
  local text = project:read(name)
  local first, last = text:find(from, 1, true)
  assert(first, name .. ' does not hold ' .. from)
  project:replace(name, text:sub(1, first - 1) .. to .. text:sub(last + 1))
end

--- Waits for the line that tells of a resume from this file.
local function expect_resume(program, project, name)
  program:expect(("[forkmon] file '%s' changed, resuming from it..\n"):format(project:path(name)))
end

local function stop(program)
  assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
end

--- A filter for the files of a project, not those of the tools. Punctuation is magic in Lua patterns.
local function inside(project)
  return '^' .. project.root:gsub('%p', '%%%0') .. '/'
end

--- Runs a tool written in Lua, in the Lua under test, whatever its first line names.
local function run_tool(lua, project, ...)
  local words = { ... }
  project:write('.bin/tool', ('#!/bin/sh\nexec %s /usr/bin/%s "$@"\n'):format(lua.interpreter, words[1]))
  assert(os.execute('chmod +x ' .. project:path '.bin/tool'))
  words[1] = project:path '.bin/tool'
  words.cwd = project.root
  table.insert(words, 1, '--filter=' .. inside(project))
  return lua:forkmon(words)
end

--- What the server answers, or nil when nobody does. It never waits for long.
local function get(port, path)
  local socket = assert(require('socket').connect('127.0.0.1', port))
  socket:settimeout(5)
  socket:send(('GET %s HTTP/1.1\r\n\r\n'):format(path))
  local reply = socket:receive '*a'
  socket:close()
  return reply and reply:match '\r\n\r\n(.*)$'
end

-- The header files of each Lua, where the distribution has them.
local includes = {
  ['lua5.1'] = '/usr/include/lua5.1', ['lua5.2'] = '/usr/include/lua5.2', ['lua5.3'] = '/usr/include/lua5.3',
  ['lua5.4'] = '/usr/include/lua5.4', luajit = '/usr/include/luajit-2.1',
}

support.each_lua(function(lua)
  it('busted runs the specs of the edited file and of those after it', function()
    if not is_command 'busted' or not has(lua, 'busted') then return pending 'no busted for this Lua' end
    local project = support.project 'examples/busted'
    substitute(project, 'spec/a_slow_spec.lua', "it('takes a second', function()", [[
      it('takes a second', function()
    print 'slow']])
    local program = run_tool(lua, project, 'busted', '--output=plainTerminal')
    program:expect 'slow\n'
    program:expect '2 successes / 0 failures'
    substitute(project, 'spec/list_spec.lua', 'equal(6', 'equal(7')
    expect_resume(program, project, 'spec/list_spec.lua')
    -- The first file's result is still counted, and it did not run again.
    program:expect_exactly '-\n1 success / 1 failure / 0 errors'
    program:expect '[forkmon] exited with status 1, waiting for changes..\n'
    substitute(project, 'src/list.lua', 'sum = 0', 'sum = 1')
    expect_resume(program, project, 'src/list.lua')
    program:expect_exactly '+\n2 successes / 0 failures'
    substitute(project, 'spec/a_slow_spec.lua', 'a second', 'one second')
    expect_resume(program, project, 'spec/a_slow_spec.lua')
    program:expect 'slow\n'
    program:expect '2 successes / 0 failures'
    stop(program)
  end)

  it('luacheck checks the edited file and those after it', function()
    if not is_command 'luacheck' or not has(lua, 'luacheck.main') and not has(lua, 'luacheck.check') then
      return pending 'no luacheck for this Lua'
    end
    local project = support.project 'examples/luacheck'
    local program = run_tool(lua, project, 'luacheck', '--no-color', 'src')
    program:expect '0 warnings / 0 errors in 2 files\n'
    substitute(project, 'src/second.lua', 'local second = {}', 'local second, unused = {}')
    expect_resume(program, project, 'src/second.lua')
    program:expect "unused variable 'unused'"
    program:expect 'exited with status 1'
    substitute(project, 'src/second.lua', ', unused', '')
    expect_resume(program, project, 'src/second.lua')
    program:expect '0 warnings / 0 errors in 2 files\n'
    stop(program)
  end)

  it('ldoc writes the documentation anew', function()
    if not is_command 'ldoc' or not has(lua, 'ldoc.doc') then return pending 'no ldoc for this Lua' end
    local project = support.project 'examples/ldoc'
    local program = run_tool(lua, project, 'ldoc', '.')
    program:expect 'output written to'
    assert.truthy(project:read('out/index.html'):find('The area of a square', 1, true))
    substitute(project, 'shapes.lua', 'The area of a square', 'How much paint a square takes')
    expect_resume(program, project, 'shapes.lua')
    program:expect_exactly 'output written to'
    assert.truthy(project:read('out/index.html'):find('How much paint a square takes', 1, true))
    stop(program)
  end)

  it('a copas server keeps its port', function()
    if not has(lua, 'socket', 'copas') then return pending 'no copas for this Lua' end
    local project = support.project 'examples/copas'
    local program = lua:forkmon { '--filter', inside(project), 'server.lua', '0', cwd = project.root }
    local port = program:expect_match 'http://127%.0%.0%.1:(%d+)\n'
    program:expect 'ready\n'
    assert.equal('hello\n', get(port, '/'))
    assert.equal('no such page\n', get(port, '/other'))
    substitute(project, 'pages.lua', 'hello', 'good day')
    expect_resume(program, project, 'pages.lua')
    program:expect_exactly 'ready\n'
    assert.equal('good day\n', get(port, '/'))
    -- While there is no program, who connects waits for the next.
    project:append('pages.lua', 'syntax error')
    program:expect 'exited with status 1'
    local early = assert(require('socket').connect('127.0.0.1', port))
    early:settimeout(5)
    early:send 'GET / HTTP/1.1\r\n\r\n'
    substitute(project, 'pages.lua', 'syntax error', '')
    assert.truthy((early:receive '*a'):find 'good day')
    early:close()
    stop(program)
  end)

  it('a site is built anew from what changed', function()
    local project = support.project 'examples/site'
    local program = lua:forkmon { '--filter=%.lua$;%.html$;%.txt$', 'build.lua', cwd = project.root }
    program:expect 'done\n'
    assert.truthy(project:read('out/about.html'):find('<h1>About</h1>', 1, true))
    for _, edit in ipairs {
      { 'templates/page.html', 'h1>{{title}}</h1>', 'h2>{{title}}</h2>', '<h2>About</h2>' },
      { 'pages/about.txt', 'Made by', 'Written by', 'Written by build.lua' },
      { 'site.lua', 'A small site', 'My site', '<title>About - My site</title>' },
    } do
      substitute(project, edit[1], edit[2], edit[3])
      expect_resume(program, project, edit[1])
      program:expect_exactly 'wrote out/index.html\nwrote out/about.html\ndone\n'
      assert.truthy(project:read('out/about.html'):find(edit[4], 1, true), edit[4])
    end
    stop(program)
  end)

  it('a list is used line by line', function()
    local project = support.project 'examples/list'
    -- Else it depends on what a checkpoint costs at the time which of the lines have one.
    local program = lua:forkmon { '--exact', '--filter=%.lua$;%.txt$', 'sum.lua', cwd = project.root }
    program:expect 'the sum is 820\n'
    project:append('list.txt', '41\n')
    program:expect_match "list%.txt' changed, resuming from line [34]%d%.%.\n"
    program:expect 'the sum is 861\n'
    substitute(project, 'list.txt', '\n39\n', '\n39000\n')
    program:expect_match "list%.txt' changed, resuming from line [23]%d%.%.\n"
    program:expect 'the sum is 39822\n'
    substitute(project, 'list.txt', '1\n2\n3\n', '0\n2\n3\n')
    expect_resume(program, project, 'list.txt')
    program:expect 'the sum is 39821\n'
    stop(program)
  end)

  it('a C module is rebuilt under a running program', function()
    local include = includes[lua.name]
    if not include or not posix.access(include .. '/lua.h') then return pending 'no header files of this Lua' end
    local project = support.project 'examples/c-module'
    local function make()
      assert(os.execute(("make -s -C '%s' INCLUDE=%s"):format(project.root, include)))
    end
    make()
    local program = lua:forkmon { '--filter=%.lua$;%.so$', 'main.lua', cwd = project.root }
    program:expect 'startup\n'
    program:expect 'the answer is 42\n'
    for answer = 43, 45 do
      substitute(project, 'fast.c', tostring(answer - 1), tostring(answer))
      make()
      expect_resume(program, project, 'fast.so')
      program:expect_exactly(('the answer is %d\n'):format(answer))
    end
    stop(program)
  end)

  it('Nelua compiles and runs from the edited file on', function()
    if lua.name ~= 'lua5.4' or not is_command 'nelua' then return pending 'no Nelua on the PATH' end
    local project = support.project 'examples/nelua'
    local program = lua:forkmon { '--filter=%.nelua$', 'nelua', '--no-cache', 'main.nelua', cwd = project.root }
    program:expect 'hello world\n'
    substitute(project, 'game.nelua', "'world'", "'moon'")
    expect_resume(program, project, 'game.nelua')
    program:expect_exactly 'hello moon\n'
    stop(program)
  end)
end)
