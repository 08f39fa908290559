--- The toolbox itself: a check that cannot fail is no check.

local posix = require 'posix'
local support = require 'spec.support'
local clock = require 'spec.support.clock'
local proc = require 'spec.support.proc'

--- Runs a check that must fail, without the patience of one that may succeed.
local function refusal(check, ...)
  local patience = clock.patience
  clock.patience = 0.1
  local ok, message = pcall(check, ...)
  clock.patience = patience
  assert.is_false(ok)
  return message
end

support.describe('a program under test', function()
  it('gives its output in order, and its status', function()
    local program = support.start { 'sh', '-c', 'echo one; echo two >&2; echo three; exit 3' }
    program:expect_exactly 'one\ntwo\n'
    program:expect 'three'
    assert.same({ 'exited', 3 }, { program:wait() })
    assert.equal('\n', program:unread())
  end)

  it('must write what is expected, after what was expected', function()
    local program = support.start { 'echo', 'once' }
    program:expect 'once'
    assert.matches('the output has ended.*expected so far\nonce', refusal(program.expect, program, 'once'))
    program:wait()
  end)

  it('must write exactly what is expected, with nothing before it', function()
    local program = support.start { 'sh', '-c', 'echo startup; echo ready; read x', stdin = 'pipe' }
    refusal(program.expect_exactly, program, 'ready\n')
    program:expect_exactly 'startup\nready\n'
    refusal(program.expect_exactly, program, 'more')
    program:close_stdin()
    program:wait()
  end)

  it('returns the captures of a match', function()
    local program = support.start { 'sh', '-c', 'echo pid $$' }
    assert.equal(tostring(program.pid), program:expect_match 'pid (%d+)\n')
    program:wait()
  end)

  it('reads what is written to it, in its folder and environment', function()
    local project = support.project {}
    local program = support.start {
      'sh', '-c', 'read x; echo $x $GREETING; pwd', stdin = 'pipe',
      cwd = project.root, env = { GREETING = 'hello' },
    }
    program:write 'word\n'
    program:expect_exactly('word hello\n' .. project.root .. '\n')
    program:wait()
  end)

  it('may have its errors apart', function()
    local program = support.start { 'sh', '-c', 'echo out; echo err >&2', stderr = 'separate' }
    program:expect_exactly 'out\n'
    program.stderr:expect_exactly 'err\n'
    program:wait()
  end)

  it('must exist', function()
    assert.matches('cannot run no%-such%-program: No such file',
      refusal(support.start, { 'no-such-program' }))
  end)

  it('is ended by signals with their own effect', function()
    local program = support.start { 'sleep', '1000' }
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('must end when its end is expected', function()
    local program = support.start { 'sleep', '1000' }
    assert.matches('expected the program to end', refusal(program.wait, program))
    program:stop 'KILL'
  end)

  it('starts with default signal handling, no masks and no strange descriptors', function()
    local program = support.start { 'cat', stdin = 'pipe' }
    program:write '.'
    program:expect '.'
    assert.same({}, proc.signals(program.pid, 'SigBlk'))
    assert.same({}, proc.signals(program.pid, 'SigIgn'))
    local descriptors = proc.descriptors(program.pid)
    assert.equal(descriptors[1], descriptors[2])
    descriptors[0], descriptors[1], descriptors[2] = nil, nil, nil
    assert.same({}, descriptors)
    program:close_stdin()
    program:wait()
  end)
end)

support.describe('a program on a terminal', function()
  it('is interrupted by Ctrl+C', function()
    local program = support.start { 'sh', '-c', 'tty; sleep 1000', tty = true }
    program:expect '/dev/pts/'
    support.wait_until('sleep', function()
      local child = proc.children(program.pid)[1]
      return child and proc.command(child) == 'sleep 1000'
    end)
    program:write '\3'
    assert.same({ 'killed', posix.SIGINT }, { program:wait() })
  end)

  it('is suspended by Ctrl+Z, when a shell with job control runs it', function()
    local shell = support.start { 'bash', '--norc', '--noediting', '-i', tty = true, env = { PS1 = '$ ' } }
    shell:expect '$ '
    shell:write 'cat\n'
    local job = support.wait_until('cat', function()
      local child = proc.children(shell.pid)[1]
      return child and proc.command(child) == 'cat' and child
    end)
    shell:write 'a word\n'
    shell:expect 'a word'
    shell:write '\26'
    shell:expect 'Stopped'
    assert.equal('T', proc.state(job))
    shell:write 'fg\n'
    shell:expect 'cat\n'
    shell:write '\4'
    shell:expect '$ '
    shell:write 'exit 4\n'
    assert.same({ 'exited', 4 }, { shell:wait() })
  end)

  it('is hung up when the terminal closes', function()
    local program = support.start { 'sh', '-c', 'echo ready; read x', tty = true }
    program:expect 'ready'
    program:close_stdin()
    program:close_output()
    assert.same({ 'killed', posix.SIGHUP }, { program:wait() })
  end)
end)

support.describe('the end of a spec', function()
  it('finds a process that left its parent, its group and its session', function()
    local program = support.start { 'sh', '-c', 'setsid sleep 1000 >/dev/null 2>&1 & exit' }
    program:wait()
    local message = refusal(support.finish)
    assert.matches('these processes are left:\n  %d+ S %(child of %d+%): sleep 1000', message)
    assert.same({}, support.living())
  end)

  it('finds a program that the spec did not stop', function()
    support.start { 'sleep', '1000' }
    assert.matches('the spec left running:\n.*sleep 1000', refusal(support.finish))
  end)

  it('waits for what is about to go', function()
    local program = support.start { 'sh', '-c', 'sleep 0.2 & exit' }
    program:wait()
    support.assert_nothing_left()
  end)

  it('discards the projects', function()
    local project = support.project { ['a/b.lua'] = 'return 1' }
    assert.equal('return 1', project:read 'a/b.lua')
    support.finish()
    assert.is_nil(posix.stat(project.root))
  end)
end)

support.describe('the process table', function()
  it('shows masks, offsets and descendants', function()
    local project = support.project { data = '12345' }
    local program = support.start {
      'bash', '-c', [[trap '' INT; exec 7<data; read -n 2 x <&7; sleep 1000 & echo ready; wait]],
      cwd = project.root, stdin = 'pipe',
    }
    program:expect 'ready'
    assert.is_true(proc.signals(program.pid, 'SigIgn')[posix.SIGINT])
    assert.is_nil(proc.signals(program.pid, 'SigIgn')[posix.SIGTERM])
    assert.equal(project:path 'data', proc.descriptors(program.pid)[7])
    assert.equal(2, proc.offset(program.pid, 7))
    assert.equal(project.root, proc.cwd(program.pid))
    assert.equal(2, #proc.tree(program.pid))
    program:signal_group 'TERM'
    assert.same({ 'killed', posix.SIGTERM }, { program:wait() })
  end)

  it('has nothing to say about a process that is gone', function()
    local program = support.start { 'true' }
    program:wait()
    assert.is_nil(proc.state(program.pid))
    assert.same({}, proc.descriptors(program.pid))
    assert.same({ program.pid }, proc.tree(program.pid))
  end)
end)

support.describe('a project', function()
  local styles = { 'write', 'write_in_two_steps', 'replace', 'write_after_backup' }
  for _, style in ipairs(styles) do
    it('is saved by ' .. style, function()
      local project = support.project { file = 'old' }
      local before = posix.stat(project:path 'file')
      project[style](project, 'file', 'new')
      assert.equal('new', project:read 'file')
      local in_place = style == 'write' or style == 'write_in_two_steps'
      assert.equal(in_place, posix.stat(project:path 'file').ino == before.ino)
    end)
  end

  it('links in one step', function()
    local project = support.project { a = 'A', b = 'B' }
    project:link('a', 'now')
    project:link('b', 'now')
    assert.equal('B', project:read 'now')
  end)
end)
