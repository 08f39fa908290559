--- The quick example (examples/quick), by both entry points.

local posix = require 'posix'
local support = require 'spec.support'

support.each_lua(function(lua)
  local function edit_and_resume(program, project)
    program:expect_exactly(([[
startup
[forkmon] watch '%s'
foo!
finished
]]):format(project:path 'foo.lua'))
    project:write('foo.lua', "print 'hello world!'")
    program:expect_exactly(([[
[forkmon] file '%s' changed, resuming from it..
hello world!
finished
]]):format(project:path 'foo.lua'))
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
  end

  it('resumes under the command', function()
    local project = support.project 'examples/quick'
    edit_and_resume(lua:forkmon { 'example.lua', cwd = project.root }, project)
  end)

  it('resumes in a program that enables it', function()
    local project = support.project 'examples/quick'
    local program = lua:start { 'enable.lua', cwd = project.root }
    program:expect_exactly(("[forkmon] watch '%s'\n"):format(project:path 'example.lua'))
    edit_and_resume(program, project)
  end)
end)
