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
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
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
end)
