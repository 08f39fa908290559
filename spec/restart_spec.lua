--- Restarts: the program that calls `enable` itself is edited.
--
-- Nobody of the old session outlives a restart, so what happens to the files meanwhile must be
-- found out by the new one.

local posix = require 'posix'
local support = require 'spec.support'

support.each_lua(function(lua)
  --- Versions of the script are as long as each other, so that little tells them apart.
  local function script(version)
    return ([[
      require('forkmon').enable { filter = '%%.lua$' }
      print 'v%04d'
      io.stdout:flush()
      io.read()
    ]]):format(version)
  end

  local function start(text)
    local project = support.project { ['main.lua'] = text, ['data.txt'] = 'no Lua 1', ['optional.lua'] = 'return 1' }
    return lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }, project
  end

  it('loses no edit that comes while the program is starting anew', function()
    local program, project = start(script(0))
    program:expect 'v0000\n'
    for i = 1, 40 do
      project:replace('main.lua', script(2 * i - 1))
      -- Anywhere from before the restart to after the new call of enable.
      posix.poll({}, 4 + i % 20)
      project:replace('main.lua', script(2 * i))
      program:expect(('v%04d\n'):format(2 * i))
    end
    program:stop 'TERM'
  end)

  it('takes the script back as it was', function()
    local program, project = start(script(1))
    program:expect 'v0001\n'
    project:rename('main.lua', 'main.lua~')
    program:expect 'is missing, waiting for changes..\n'
    project:rename('main.lua~', 'main.lua')
    program:expect 'v0001\n'
    program:stop 'TERM'
  end)

  for content, action in pairs { ['true'] = 'resuming from it', ['false'] = 'restarting' } do
    it('after a save that changes no byte, with content = ' .. content .. ': ' .. action, function()
      local program, project = start(([[
        require('forkmon').enable { filter = '%%.lua$', content = %s }
        print 'started'
        print(dofile 'optional.lua')
        io.stdout:flush()
        io.read()
      ]]):format(content))
      program:expect '1\n'
      project:replace('main.lua', project:read 'main.lua')
      -- Of several changes the earliest decides.
      project:write('optional.lua', 'return 2')
      program:expect("' changed, " .. action .. '..\n')
      program:expect '2\n'
      program:stop 'TERM'
    end)
  end

  it('is not kept from it by what the program reads later', function()
    local function reader(version)
      return ([[
        require('forkmon').enable { filter = '%%.lua$;%%.txt$', restart_delay = 50 }
        local text = io.open('data.txt'):read '*l'
        print('v%d', text, (pcall(dofile, 'optional.lua')))
        io.stdout:flush()
        io.read()
      ]]):format(version)
    end
    local program, project = start(reader(1))
    program:expect 'v1\tno Lua 1\ttrue\n'
    project:write('data.txt', 'no Lua 2')
    project:remove 'optional.lua'
    project:replace('main.lua', reader(2))
    program:expect 'v2\tno Lua 2\tfalse\n'
    program:stop 'TERM'
  end)
end)
