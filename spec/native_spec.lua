--- A core that was built for another Lua, or another version, is refused in one line that says what mends it.
--
-- The cores are those of the rocks, so each Lua meets that of every other that is installed.

local posix = require 'posix'
local support = require 'spec.support'

support.each_lua(function(lua)
  it('refuses the core of every other Lua', function()
    local rocks = assert(posix.glob(lua.tree:match '^(.*/)' .. '*'))
    local others = 0
    for _, tree in ipairs(rocks) do
      local name = tree:match '[^/]+$'
      if name ~= lua.name and posix.access(tree, 'x') then
        others = others + 1
        local project = support.project { ['main.lua'] = "require('forkmon').enable { filter = 'x' } print 'reached'" }
        local cores = ('%s/lib/lua/%s/?.so'):format(tree, name:match '%d%.%d$' or '5.1')
        local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = {
          LUA_PATH = ('%s/share/lua/%s/?.lua'):format(lua.tree, lua.version), LUA_CPATH = cores } }
        assert.same({ 'exited', 1 }, { program:wait() })
        local line = program.stdout.text:match ': main.lua:1: ([^\n]*)\n'
        assert.truthy(line, name .. ': ' .. program.stdout.text)
        -- That it does what it says is shown in remedies_spec.lua.
        assert.truthy(line:find('luarocks --lua-version ' .. lua.version .. ' --tree ', 1, true), line)
        assert.truthy(line:find ' make$', line)
        assert.truthy(line:find('built for another Lua than', 1, true) or line:find('does not fit', 1, true), line)
      end
    end
    if others == 0 then pending 'no other Lua has a rock' end
  end)

  it('says where there is none', function()
    local project = support.project { ['main.lua'] = "require('forkmon').enable { filter = 'x' }" }
    local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = {
      LUA_PATH = ('%s/share/lua/%s/?.lua'):format(lua.tree, lua.version), LUA_CPATH = '/none/?.so' } }
    assert.same({ 'exited', 1 }, { program:wait() })
    assert.truthy(program.stdout.text:find('forkmon.core is not installed for [^:]+: [^:]*luarocks '))
  end)

  it('is named by --version', function()
    local program = lua:forkmon { '--version' }
    assert.same({ 'exited', 0 }, { program:wait() })
    local name = lua.name == 'luajit' and 'LuaJIT' or 'Lua ' .. lua.version
    assert.truthy(program.stdout.text:find('^forkmon %d+%.%d+%.%d+ %(' .. name .. '%)\n$'), program.stdout.text)
  end)
end)
