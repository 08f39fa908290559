--- Which Lua file of forkmon requires which: no circle, and nothing that a program loads needs what the command does.

--- The modules of forkmon that a text requires.
local function required(text)
  local names = {}
  for name in text:gmatch [=[require[%s(,]*['"](forkmon[%w_.]*)['"]]=] do
    -- The core is not of Lua.
    if name ~= 'forkmon.core' then names[#names + 1] = name end
  end
  return names
end

--- module -> the modules that it requires, of all files in lua/.
local function graph()
  local requires = {}
  local pipe = assert(io.popen 'find lua -name "*.lua"')
  for path in pipe:lines() do
    local file = assert(io.open(path, 'rb'))
    requires[path:match('^lua/(.*)%.lua$'):gsub('/', '.')] = required(file:read '*a')
    file:close()
  end
  pipe:close()
  return requires
end

--- What is wrong with a graph, one line each, in order.
local function faults(requires)
  local found, state = {}, {}

  local function visit(module, way)
    way = way .. ' > ' .. module
    if state[module] == 'on the way' then
      found[#found + 1] = 'a circle:' .. way:sub(3)
    elseif not state[module] then
      state[module] = 'on the way'
      for _, name in ipairs(requires[module]) do
        if not requires[name] then
          found[#found + 1] = module .. ' requires ' .. name .. ', which is not there'
        else
          if name:find '^forkmon%.cli%.' and not module:find '^forkmon%.cli%.' then
            found[#found + 1] = module .. ' requires ' .. name .. ' of the command'
          end
          visit(name, way)
        end
      end
      state[module] = 'done'
    end
  end

  local modules = {}
  for module in pairs(requires) do modules[#modules + 1] = module end
  table.sort(modules)
  for _, module in ipairs(modules) do visit(module, '') end
  table.sort(found)
  return found
end

describe('the Lua files of forkmon', function()
  it('require one another one way only', function()
    local requires = graph()
    assert.same({}, faults(requires))
    -- All are there, and what they require was seen.
    for module, name in pairs {
      ['forkmon'] = 'forkmon.options', ['forkmon.options'] = 'forkmon.filter', ['forkmon.bootstrap'] = 'forkmon',
      ['forkmon.cli.command'] = 'forkmon.cli.client',
    } do
      assert.truthy((' ' .. table.concat(requires[module], ' ') .. ' '):find(' ' .. name .. ' ', 1, true), module)
    end
  end)

  it('would be found to do otherwise', function()
    assert.same({ 'forkmon.a', 'forkmon.b', 'forkmon' }, required [[
      local a = require 'forkmon.a'
      local b = require("forkmon.b")
      pcall(require, 'forkmon') pcall(require, 'forkmon.core') require 'other'
    ]])
    assert.same({
      'a circle: forkmon.a > forkmon.b > forkmon.a',
      'a circle: forkmon.c > forkmon.c',
      'forkmon.b requires forkmon.cli.x of the command',
      'forkmon.cli.x requires forkmon.none, which is not there',
    }, faults {
      ['forkmon.a'] = { 'forkmon.b' }, ['forkmon.b'] = { 'forkmon.a', 'forkmon.cli.x' },
      ['forkmon.c'] = { 'forkmon.c' }, ['forkmon.cli.x'] = { 'forkmon.none' },
    })
  end)
end)
