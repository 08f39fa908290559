--- Many files: as many as a large program has, with what a machine allows as it is installed.

local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  it('watches 300 files in 300 folders with one inotify instance', function()
    local files = { ['main.lua'] = [[
      for i = 1, 300 do dofile(('folder%d/file.lua'):format(i)) end
      print('total', TOTAL)
    ]] }
    for i = 1, 300 do files[('folder%d/file.lua'):format(i)] = 'TOTAL = (TOTAL or 0) + 1' end
    local project = support.project(files)
    local program = lua:forkmon { '--exact', '--verbose', 'main.lua', cwd = project.root }
    for i = 1, 300 do program:expect_exactly(lines.watch(project:path(('folder%d/file.lua'):format(i)))) end
    program:expect_exactly 'total\t300\n'

    local instances, supervisor = 0, support.proc.supervisor(program.pid)
    for _, target in pairs(support.proc.descriptors(supervisor)) do
      if target:find('inotify', 1, true) then instances = instances + 1 end
    end
    assert.equal(1, instances)
    -- No other process has one.
    for _, pid in ipairs(support.proc.children(supervisor)) do
      for _, target in pairs(support.proc.descriptors(pid)) do assert.falsy(target:find('inotify', 1, true)) end
    end

    for wanted, i in pairs { [301] = 300, [302] = 1, [303] = 137 } do
      -- Whatever checkpoints there are, the result is that of a fresh start.
      local path = ('folder%d/file.lua'):format(i)
      project:append(path, ' TOTAL = TOTAL + 1')
      program:expect_match(("^%%[forkmon%%] file '[^\n]*/%s' changed, resuming from [^\n]*\n"):format(path))
      local total = program:expect_match '^total\t(%d+)\n'
      assert.is_true(tonumber(total) > 300 and tonumber(total) <= 303, wanted .. ': ' .. total)
    end
    program:stop()
  end)

  it('watches 10,000 files with the limits of a machine as it is installed', function()
    local project = support.project {
      ['main.lua'] = [[
        for i = 1, 10000 do dofile(('folder%d/file%d.lua'):format(i % 100, i)) end
        local status = assert(require('forkmon').status())
        print('total', TOTAL, status.files, status.polled, #status.checkpoints)
        io.stdout:flush()
        io.read()
      ]],
    }
    for folder = 0, 99 do project:mkdir(('folder%d'):format(folder)) end
    for i = 1, 10000 do project:write(('folder%d/file%d.lua'):format(i % 100, i), 'TOTAL = (TOTAL or 0) + 1') end
    local program = lua:forkmon { '--quiet', '--max-checkpoints=4', 'main.lua', cwd = project.root, stdin = 'pipe' }
    for more, i in ipairs { 9900, 1, 5000 } do
      local pattern = ('total\t%d\t10001\t0\t(%%d+)\n'):format(9999 + more)
      assert.is_true(tonumber((program:expect_match(pattern))) <= 4)
      project:append(('folder%d/file%d.lua'):format(i % 100, i), ' TOTAL = TOTAL + 1')
    end
    program:expect 'total\t10003\t'
    program:stop()
  end)
end)
