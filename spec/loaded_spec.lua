local loaded = require 'forkmon.loaded'

describe('the main script', function()
  for _, case in ipairs {
    { 'a.lua', 'lua', 'a.lua', 'b.lua' },
    { 'a.lua', 'lua', '-e', 'x = 1', '-l', 'm', '-i', '-v', '-E', '-W', 'a.lua', '-e' },
    { 'a.lua', 'lua', '-ex = 1', '-lm', 'a.lua' },
    { '-a.lua', 'lua', '--', '-a.lua' },
    { 'a.lua', 'luajit', '-j', 'v', '-joff', '-O3', '-O', 'a.lua' },
    { nil, 'luajit', '-b', 'a.lua', 'a.out' },
    { nil, 'luajit', '-bl', 'a.lua' },
    { nil, 'lua', '-', 'a.lua' },
    { nil, 'lua', '-e', 'x = 1' },
    { nil, 'lua' },
  } do
    local arguments = {}
    for index = 2, 12 do arguments[index - 1] = case[index] end
    it(('of %s is %s'):format(table.concat(arguments, ' '), tostring(case[1])), function()
      assert.equal(case[1], loaded.script(arguments))
    end)
  end
end)

describe('what is loaded', function()
  it('has the modules and the running functions', function()
    local function has(files, wanted)
      for _, file in ipairs(files) do
        if file:find(wanted, 1, true) then return true end
      end
      return false
    end
    assert.is_true(has(loaded.modules(), 'luassert'))
    assert.is_false(has(loaded.modules(), 'forkmon/search.lua'))
    assert.is_true(has(loaded.running(), 'spec/loaded_spec.lua'))
    assert.is_false(has(loaded.running(), 'forkmon/search.lua'))
    assert.is_false(loaded.initialising())
  end)
end)
