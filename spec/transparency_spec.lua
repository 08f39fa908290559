--- What a program can see of the hooks: nothing.
--
-- One program (spec/programs/transparent) exercises every hooked function: wrong arguments, results, varargs, error
-- messages and their levels, tracebacks, yields, recursion to the end of the stack. It is run plainly and under
-- forkmon, and must print the same, up to the lines of forkmon itself.

local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  --- The output without what differs between any two runs, line by line.
  local function comparable(program)
    local text = program.stdout.text:gsub("%[forkmon%] watch[^\n]*\n", ''):gsub('0x%x+', '0x')
    -- Lua 5.2 calls a function by either name, as chance has it.
    text = text:gsub("'_G%.", "'")
    -- The command runs the interpreter by its path.
    text = ('\n' .. text):gsub('\n/[^\n:]*/(lua[^\n:/]*: )', '\n%1')
    local list = {}
    for line in text:gmatch '[^\n]+' do list[#list + 1] = line end
    return list
  end

  local function assert_same_output(plain, program)
    plain:wait()
    program:expect(lines.exited(1))
    local wanted, seen = comparable(plain), comparable(program)
    assert.equal(lines.exited(1), table.remove(seen) .. '\n')
    assert.is_true(#wanted > 300)
    for index = 1, math.max(#wanted, #seen) do
      assert.equal(wanted[index], seen[index])
    end
    program:stop 'INT'
  end

  it('cannot be told by a program that enables it', function()
    local project = support.project 'spec/programs/transparent'
    local plain = lua:start { 'main.lua', cwd = project.root }
    local program = lua:start { 'main.lua', cwd = project.root, env = { ENABLE = '1' } }
    assert_same_output(plain, program)
  end)

  it('cannot be told by a program under the command', function()
    local project = support.project 'spec/programs/transparent'
    local plain = lua:start { 'main.lua', cwd = project.root, env = { LUA_PATH = false, LUA_CPATH = false } }
    local program = lua:forkmon { '--exact', '--filter', '.', 'main.lua', cwd = project.root }
    assert_same_output(plain, program)
  end)
end)
