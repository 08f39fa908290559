--- Every remedy that a message about the core prints is run as it stands, and then the program runs.
--
-- The rocks are copies: a remedy installs into the tree that the message speaks of. The remedy of a rock that has no
-- source folder is run in dist_spec.lua.

local posix = require 'posix'
local support = require 'spec.support'

support.each_lua(function(lua)
  --- A tree like that of the rock of `name`, in a folder that has to be quoted.
  local function copy_of(project, tree)
    local copy = project:path "it's a tree"
    assert.same({ 'exited', 0 }, { support.start { 'cp', '-R', tree, copy }:wait() })
    return copy
  end

  --- Runs a program with the Lua files of a tree, and the cores that are in it for this Lua.
  local function run(project, tree, version)
    local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = {
      LUA_PATH = ('%s/share/lua/%s/?.lua'):format(tree, version),
      LUA_CPATH = ('%s/lib/lua/%s/?.so'):format(tree, lua.version) } }
    return program
  end

  --- Does what the message says. Lua 5.5 is installed nowhere, so LuaRocks is told where its headers are, as those of a
  --- system are found.
  local function follow(project, message)
    local remedy = message:match ': as root, (cd [^\n]*)' or message:match ': (cd [^\n]*)'
    assert.truthy(remedy, message)
    local here, config = posix.getcwd(), nil
    if lua.name == 'lua5.5' then
      project:write('luarocks.lua', ('variables = { LUA_INCDIR = %q }'):format(here .. '/spec/host/include'))
      config = project:path 'luarocks.lua'
    end
    local shell = support.start { 'sh', '-c', remedy, env = {
      PATH = here .. '/target/host/bin:' .. os.getenv 'PATH', LUAROCKS_CONFIG = config } }
    local how, status = shell:wait()
    assert.same({ 'exited', 0 }, { how, status }, remedy .. '\n' .. shell.stdout.text)
    return shell.stdout.text
  end

  local function mends(project, tree, version)
    local program = run(project, tree, version)
    assert.same({ 'exited', 1 }, { program:wait() })
    local said = follow(project, program:unread())
    program = run(project, tree, version)
    program:expect 'reached\n'
    program:stop 'INT'
    return said
  end

  local function project_of()
    return support.project { ['main.lua'] = "require('forkmon').enable { filter = 'x' } print 'reached'" }
  end

  it('installs the core that is not there', function()
    local project = project_of()
    local tree = copy_of(project, lua.tree)
    os.remove(('%s/lib/lua/%s/forkmon/core.so'):format(tree, lua.version))
    local said = mends(project, tree, lua.version)
    local name = lua.name == 'luajit' and 'LuaJIT' or 'Lua ' .. lua.version
    assert.truthy(said:find('This was for ' .. name .. '. For another Lua:\n', 1, true), said)
  end)

  it('installs for the Lua that finds the files of another', function()
    local other = posix.glob(lua.tree:match '^(.*/)' .. '*')
    for _, tree in ipairs(other) do
      local version = tree:match '%d%.%d$'
      if version and version ~= lua.version then
        local project = project_of()
        mends(project, copy_of(project, tree), version)
        return
      end
    end
    pending 'no other Lua has a rock'
  end)

  it('replaces the core of another Lua, and a file that is none', function()
    local project = project_of()
    local tree = copy_of(project, lua.tree)
    local core = ('%s/lib/lua/%s/forkmon/core.so'):format(tree, lua.version)
    os.remove(core)
    project:write(core, 'no library')
    mends(project, tree, lua.version)
  end)
end)
