--- The rocks (rockspec/dist.sh): what is in them, and that LuaRocks installs them where nothing else is.

local posix = require 'posix'
local support = require 'spec.support'

--- The lines that a command prints, and whether it succeeded. Compiling takes what it takes: no limit of time.
local function lines(command)
  local pipe = assert(io.popen(command))
  local found = {}
  for line in pipe:lines() do found[#found + 1] = line end
  return found, pipe:close()
end

local function succeed(command)
  local output, ok = lines(command .. ' 2>&1')
  assert.truthy(ok, command .. '\n' .. table.concat(output, '\n'))
  return table.concat(output, '\n') .. '\n'
end

support.describe('the source rock', function()
  it('holds the rockspec and what git tracks', function()
    local folder = support.project().root
    local rock = lines(("sh rockspec/dist.sh '%s' 2>/dev/null"):format(folder))[1]
    local rockspec = rock:match '([^/]+)%.src%.rock$' .. '.rockspec'
    local version = rockspec:match '^forkmon%-(.*)%-%d+%.rockspec$'
    local archive = 'forkmon-' .. version .. '.tar.gz'
    local members = lines(("unzip -Z1 '%s'"):format(rock))
    table.sort(members)
    assert.same({ rockspec, archive }, members)

    local prefix = 'forkmon-' .. version .. '/'
    local packed = lines(("unzip -p '%s' %s | tar -tz"):format(rock, archive))
    local files = {}
    for _, name in ipairs(packed) do
      assert.equal(prefix, name:sub(1, #prefix))
      if name:sub(-1) ~= '/' then files[#files + 1] = name:sub(#prefix + 1) end
    end
    table.sort(files)
    local tracked = lines 'git ls-tree -r --name-only HEAD'
    table.sort(tracked)
    assert.same(tracked, files)
    assert.truthy(#tracked > 50)
  end)
end)

support.describe('a rock', function()
  --- A project with both rocks for Lua 5.4 in it, and an empty home.
  local function packed()
    local project = support.project { ['main.lua'] = "require('forkmon').enable { filter = 'x' } print 'reached'" }
    local made = lines(("sh rockspec/dist.sh '%s' lua5.4 2>/dev/null"):format(project.root))
    return project, made
  end

  it('that is binary needs no compiler, and runs', function()
    local project, made = packed()
    local rock, needs = made[2]:match '^(.*) %(needs GLIBC ([%d.]+)%)$'
    local machine = lines('uname -m')[1]
    local name = made[1]:match '([^/]+)%.src%.rock$'
    assert.equal(project:path(('lua5.4/%s.linux-%s.rock'):format(name, machine)), rock)
    -- What it says it needs is what the linker has put there.
    local versions = lines(("unzip -p '%s' lib/forkmon/core.so >'%s' && objdump -T '%s' | grep -o 'GLIBC_[0-9.]*' "
      .. "| sort -V | tail -n 1"):format(rock, project:path 'core.so', project:path 'core.so'))
    assert.equal('GLIBC_' .. needs, versions[1])

    -- No cargo and no compiler: those before the others on the PATH fail.
    for _, tool in ipairs { 'cargo', 'rustc', 'cc', 'gcc' } do
      project:write('bin/' .. tool, '#!/bin/sh\nexit 1\n')
      assert(posix.chmod(project:path('bin/' .. tool), 'rwxr-xr-x'))
    end
    local tree = project:path 'tree'
    succeed(("PATH='%s':\"$PATH\" luarocks --lua-version 5.4 --tree '%s' install '%s'"):format(
      project:path 'bin', tree, rock))
    assert.truthy(succeed(("'%s/bin/forkmon' --version"):format(tree)):find '^forkmon %d+%.%d+%.%d+ %(Lua 5%.4%)\n$')

    -- Its message for another Lua knows of no source folder; what it says works where the source rock is.
    local environment = { LUA_PATH = tree .. '/share/lua/5.4/?.lua', LUA_CPATH = tree .. '/lib/lua/5.1/?.so' }
    local program = support.start { 'luajit', 'main.lua', cwd = project.root, env = environment }
    assert.same({ 'exited', 1 }, { program:wait() })
    local remedy = program.stdout.text:match ': in the folder of the rock, ([^\n]*)\n'
    assert.truthy(remedy, program.stdout.text)
    local said = succeed(("cd '%s' && FORKMON_TARGET='%s/target/packed' && export FORKMON_TARGET && %s"):format(
      project.root, posix.getcwd(), remedy))
    local another = ('luarocks --lua-version 5.4 --tree %s install %s.src.rock'):format(tree, name)
    assert.truthy(said:find('This was for LuaJIT. For another Lua:\n    ' .. another .. '\n', 1, true), said)
    program = support.start { 'luajit', 'main.lua', cwd = project.root, env = environment }
    program:expect 'reached\n'
    program:stop 'INT'
  end)
end)

support.describe('luarocks test', function()
  it('runs make test', function()
    local project = support.project { Makefile = 'test:\n\t@echo all of it\n' }
    for _, path in ipairs(posix.glob 'rockspec/*-scm-1.rockspec') do
      local file = assert(io.open(path))
      project:write(path:match '[^/]+$', file:read '*a')
      file:close()
    end
    assert.truthy(succeed(("cd '%s' && luarocks --lua-version 5.4 test"):format(project.root)):find 'all of it\n')
  end)
end)
