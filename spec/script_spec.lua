--- The main script under the command: once it has been edited, it goes on from the changed statement.

local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  if lua.name == 'lua5.1' then
    it('is run from its start whatever is edited', function()
      local project = support.project { ['main.lua'] = "print 'a'\nprint 'b'\n" }
      local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
      program:expect_exactly 'a\nb\n'
      for edit = 1, 2 do
        project:write('main.lua', ("print 'a'\nprint 'b%d'\n"):format(edit))
        program:expect_exactly(lines.resuming(project:path 'main.lua') .. ('a\nb%d\n'):format(edit))
      end
      program:stop 'INT'
    end)
    return
  end

  it('runs as plain Lua runs it, whatever is written and edited', function()
    local program = lua:start { 'spec/programs/script/oracle.lua', tostring(os.time() % 100000), '500' }
    local _, status = program:wait()
    assert.equal(0, status, program.stdout.text)
    assert.truthy(program.stdout.text:find ' edits of 500 scripts', program.stdout.text)
  end)

  -- Ours is no program of Lua's distribution, so what comes after its LUA_INIT is not known.
  if lua.name == 'lua5.5' then return end

  --- A session in which the script has been edited once, so that it asks from then on.
  local function start(text, files)
    local project = support.project(files)
    project:write('main.lua', "print 'first'\n")
    local program = lua:forkmon { '--exact', 'main.lua', 'one', 'two', cwd = project.root }
    program:expect_exactly 'first\n'
    project:write('main.lua', text)
    program:expect(lines.resuming(project:path 'main.lua'))
    return project, program, project:path 'main.lua'
  end

  it('goes on from the statement that changed, with its locals, arguments and lines', function()
    local function text(b, c)
      return ([[
#!/usr/bin/env lua
local n = 0
local function add(k) n = n + k return n end
print('a', add(1), ...)
print(%s)

-- A comment.
print(%s)
print('end', arg[0], arg[2], select('#', ...))
]]):format(b, c)
    end
    local project, program, path = start(text("'b', add(2)", "'c', n"))
    local ending = 'end\tmain.lua\ttwo\t2\n'
    program:expect_exactly('a\t1\tone\ttwo\nb\t3\nc\t3\n' .. ending)
    project:write('main.lua', text("'b', add(2)", "'c2', add(4)"))
    program:expect_exactly(lines.resuming_at(path, 7) .. 'c2\t7\n' .. ending)
    project:replace('main.lua', text("'b', add(2)", "'c3', debug.getinfo(1, 'l').currentline"))
    program:expect_exactly(lines.resuming_at(path, 7) .. 'c3\t8\n' .. ending)
    project:write('main.lua', text("'b2', add(3)", "'c', n"))
    program:expect_exactly(lines.resuming_at(path, 5) .. 'b2\t4\nc\t4\n' .. ending)
    -- An edit within a comment is one of what comes after it.
    project:write('main.lua', (text("'b2', add(3)", "'c', n"):gsub('A comment', 'Another')))
    program:expect_exactly(lines.resuming_at(path, 7) .. 'c\t4\n' .. ending)
    -- Shorter.
    project:write('main.lua', (text("'b2', add(3)", "'c', n"):gsub("\nprint%('end.*", '\n')))
    program:expect_exactly(lines.resuming_at(path, 7) .. 'c\t4\n')
    project:write('main.lua', (text("'b2', add(3)", "'c', n"):gsub('local n = 0', 'local n = 10')))
    program:expect_exactly(lines.resuming(path) .. 'a\t11\tone\ttwo\nb2\t14\nc\t14\n' .. ending)
    program:stop 'INT'
  end)

  it('keeps what went before a mistake, and goes on where that is mended', function()
    local project, program, path = start "print 'a'\nprint 'b'\nprint 'c'\n"
    program:expect_exactly 'a\nb\nc\n'
    project:write('main.lua', "print 'a'\nprint 'b'\nprint 'c\n")
    program:expect(lines.resuming_at(path, 3))
    program:expect_match 'lua[^\n]*: main%.lua:3: unfinished string near [^\n]*\n'
    program:expect_exactly(lines.exited(1))
    project:write('main.lua', "print 'a'\nprint 'b'\nerror 'oops'\n")
    program:expect(lines.resuming_at(path, 3))
    program:expect_match 'lua[^\n]*: main%.lua:3: oops\n'
    program:expect(lines.exited(1))
    project:write('main.lua', "print 'a'\nprint 'b'\nos.exit(3)\n")
    program:expect_exactly(lines.resuming_at(path, 3) .. lines.exited(3))
    project:write('main.lua', "print 'a'\nprint 'b'\nprint 'C'\n")
    program:expect_exactly(lines.resuming_at(path, 3) .. 'C\n')
    program:stop 'INT'
  end)

  it('goes on with the new text after a file in the middle has changed, too', function()
    local files = { ['part.lua'] = "print 'part'" }
    local project, program, path = start("print 'a'\ndofile 'part.lua'\nprint 'b'\nprint 'c'\n", files)
    program:expect(lines.watch(project:path 'part.lua') .. 'part\nb\nc\n')
    project:write('main.lua', "print 'a'\ndofile 'part.lua'\nprint 'b'\nprint 'c2'\n")
    program:expect_exactly(lines.resuming_at(path, 4) .. 'c2\n')
    project:write('part.lua', "print 'part2'")
    program:expect_exactly(lines.resuming(project:path 'part.lua', path .. ', from line 2') .. 'part2\nb\nc2\n')
    project:write('main.lua', "print 'a'\ndofile 'part.lua'\nprint 'B'\nprint 'c2'\n")
    program:expect_exactly(lines.resuming_at(path, 3) .. 'B\nc2\n')
    program:stop 'INT'
  end)

  it('shares its locals with the functions that have them', function()
    local text = [[
local count, log = 0, {}
function up() count = count + 1 return count end
up()
function reset() count = 0 end
print(up(), count)
]]
    local project, program, path = start(text .. "print 'end'\n")
    program:expect_exactly '2\t2\nend\n'
    text = text .. 'count = 10 print(up(), count) reset() print(count, #log)\n'
    project:write('main.lua', text .. "print 'end'\n")
    program:expect_exactly(lines.resuming_at(path, 6) .. '11\t11\n0\t0\nend\n')
    text = text .. 'count = count + 5 print(up())\n'
    project:write('main.lua', text .. "print 'end'\n")
    program:expect_exactly(lines.resuming_at(path, 7) .. '6\nend\n')
    program:stop 'INT'
  end)

  it('ends as a plain run does', function()
    for name, ending in pairs {
      returning = 'return 5', exiting = 'os.exit(7)', failing = "error 'oops'", ['raising a table'] = 'error({})',
      ['raising what has a text'] = "error(setmetatable({}, { __tostring = function() return 'text' end }))",
      finalizing = 'local kept = newproxy and newproxy(true) or {}\n'
        .. "local function last() print 'collected' end\n"
        .. 'if newproxy then getmetatable(kept).__gc = last else setmetatable(kept, { __gc = last }) end\n'
        .. 'KEPT = kept',
    } do
      local text = "io.write 'no newline '\nio.stdout:write('b\\n')\n" .. ending .. '\n'
      local project, program = start(text)
      local plain = lua:start { 'main.lua', 'one', 'two', cwd = project.root }
      local reason, status = plain:wait()
      assert.equal('exited', reason, name)
      local told = plain.stdout.text
      if status > 0 then program:expect(lines.exited(status)) end
      -- That it is called by a tail call is all that a traceback tells besides.
      for line in told:gsub(' at 0x%x+\n', '\n'):gmatch '[^\n]+' do
        if not program.stdout.text:find(line, 1, true) then program:expect(line) end
      end
      program:stop 'INT'
    end
  end)

  it('is run from its start where a part of it could not be gone on with exactly', function()
    for _, text in ipairs {
      "print 'a'\n::top::\nprint 'b'\nif not x then x = true goto top end\n",
      "print 'a'\nprint(debug.getlocal(1, 1))\n",
      lua.version >= '5.4' and "local x <close> = setmetatable({}, { __close = print })\nprint 'a'\n"
        or 'local a, a = 1\n',
    } do
      local project, program = start(text .. "print 'ready'\n")
      program:expect 'ready\n'
      project:append('main.lua', "print 'end'\n")
      program:expect 'changed, resuming from'
      program:expect 'end\n'
      program:stop 'INT'
    end
  end)

  it('is left to the interpreter where that has options', function()
    local project = support.project { ['main.lua'] = "print 'a'\nprint 'b'\n" }
    local program = lua:forkmon { '--exact', lua.interpreter, '-e', "print 'e'", 'main.lua', cwd = project.root }
    program:expect_exactly 'e\na\nb\n'
    for edit = 1, 2 do
      project:write('main.lua', ("print 'a'\nprint 'b%d'\n"):format(edit))
      program:expect_exactly(lines.resuming(project:path 'main.lua') .. ('e\na\nb%d\n'):format(edit))
    end
    program:stop 'INT'
  end)
end)
