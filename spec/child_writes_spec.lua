--- What a subprocess writes while the program waits for it is the program's own: no such program goes round and round.
--- What somebody saves meanwhile is an edit.

local posix = require 'posix'
local support = require 'spec.support'

local MOST = 30 -- runs: ten in a row are a habit, and a busy machine may break one or two of these rows
local QUIET = 250 -- ms without another run; from one to the next it takes some 10

local function keys(by_name)
  local names = {}
  for name in pairs(by_name) do names[#names + 1] = name end
  table.sort(names)
  return ipairs(names)
end

-- What reads the file, and what a subprocess does then: either writes the same each time, or something else.
local READS = { ['reads'] = "io.open 'made.txt'", ['looks for'] = "lfs.attributes('made.txt', 'size')",
  ['lists'] = "lfs.dir '.'" }
local CHANGES = {
  ['makes a file'] = "run 'echo made > made.txt'",
  ['makes it anew'] = "run 'rm -f made.txt; echo made > made.txt'",
  ['renames another over it'] = "run 'echo made > new.txt; mv new.txt made.txt'",
  ['writes it slowly'] = "run 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.02; done > made.txt'",
  ['adds to it'] = "run 'echo more >> made.txt'",
  ['writes the time to it'] = "run 'date +%N > made.txt'",
  ['makes another name each time'] = "run 'mktemp ./made.XXXXXX > made.txt'",
}

support.each_lua(function(lua)
  local has_lfs = select(2, support.start { lua.interpreter, '-l', 'lfs', '-e', '' }:wait()) == 0

  local WAYS = {
    ['os.execute'] = 'os.execute(command)',
    ['a pipe that is read'] = "local pipe = io.popen(command) pipe:read '*a' pipe:close()",
    ['a pipe that is written to'] = "local pipe = io.popen(command, 'w') pipe:close()",
  }

  local function start(way, read, deed, env, flag)
    local project = support.project { ['other.txt'] = 'one', ['main.lua'] = [[
      local has_lfs, lfs = pcall(require, 'lfs')
      local function run(command) ]] .. WAYS[way] .. [[ end
      io.stdout:setvbuf 'no'
      local file = io.open 'other.txt'
      print('begins', file:read '*a')
      file:close()
      local _ = ]] .. read .. [[

      print 'reads'
      ]] .. deed .. [[

      print('done', has_lfs and lfs ~= nil)
    ]] }
    project:age()
    return project, lua:forkmon { '--filter', '%.txt$', flag or '--quiet', 'main.lua', cwd = project.root, env = env }
  end

  --- How many runs there were, at most so many, until nothing happens any more.
  local function count_runs(program, most)
    local function count()
      program.stdout:collect(0)
      return support.count(program.stdout.text, 'reads\n')
    end
    program:expect 'done\t'
    local runs
    repeat
      runs = count()
      posix.poll({}, QUIET)
      support.await_idle(program)
    until count() == runs or runs > most
    return runs
  end

  local function rounds(way, deed, read, env)
    local project, program = start(way, read, deed, env)
    local runs = count_runs(program, MOST)
    assert.is_true(runs <= MOST, runs .. ' runs')
    -- It is known by now.
    project:write('other.txt', 'two')
    program:expect 'begins\ttwo\n'
    local more = count_runs(program, runs + 3) - runs
    assert.is_true(more <= 3, more .. ' runs for an edit')
    program:stop 'INT'
  end

  for _, name in keys(CHANGES) do
    it(('os.execute %s that the program reads'):format(name), function()
      rounds('os.execute', CHANGES[name], READS.reads)
    end)
  end
  for way in pairs(WAYS) do
    it(way .. ' adds to a file that the program reads', function()
      rounds(way, CHANGES['adds to it'], READS.reads)
    end)
  end
  if has_lfs then
    for _, read in ipairs { 'looks for', 'lists' } do
      for _, name in keys(CHANGES) do
        it(('os.execute %s that the program %s'):format(name, read), function()
          rounds('os.execute', CHANGES[name], READS[read])
        end)
      end
    end
  end

  it('os.execute adds to a file that the program reads, where C code is not observed', function()
    rounds('os.execute', CHANGES['adds to it'], READS.reads, { FORKMON_NO_NATIVE_HOOKS = '1' })
  end)

  it('what is written by habit is told of, once', function()
    local _, program = start('os.execute', READS.reads, CHANGES['adds to it'], nil, '--no-color')
    count_runs(program, MOST)
    assert.equal(1, support.count(program.stdout.text, "made.txt' is another each time a subprocess has run that the "
      .. "program waits for: from now on that counts as the program's own doing"))
    program:stop 'INT'
  end)

  it('what somebody saves while the program waits is an edit, each time', function()
    local project, program = start('os.execute', 'nil', "run 'echo runs; sleep 30'")
    program:expect_exactly 'begins\tone\nreads\nruns\n'
    for number = 1, 12 do
      -- No two in a row come as long after the start of the subprocess.
      if number % 2 == 0 then posix.poll({}, 200) end
      project:write('other.txt', tostring(number))
      program:expect_exactly(('begins\t%d\nreads\nruns\n'):format(number))
    end
    program:stop 'INT'
  end)
end)
