--- Measures forkmon beside what a user would pick instead, and writes docs/performance.md.
--
--     lua5.3 bench/bench.lua [SECTION...]     (`make bench` builds what it needs)
--
-- Machines differ, and so does the same machine from one minute to the next. So whatever is
-- compared is measured in turn, in one run, and a figure is the median of many; what counts are
-- ratios. With sections named (`for name in pairs(sections)` below) only these are measured, and
-- nothing is written.
--
-- Peers that a machine may have take part when the environment names them:
--   FORKMON_BENCH_ORIGINAL  the original's forkmon.so
--   FORKMON_BENCH_LUAMON    luamon.lua (run by the Lua that runs this)
--   FORKMON_BENCH_NELUA     a checkout of the Nelua compiler, built
-- FORKMON_BENCH_LUA is the Lua that the programs run in (lua5.4).

local posix = require 'posix'
local programs = require 'bench.programs'
local runner = require 'bench.runner'

local LUA = os.getenv 'FORKMON_BENCH_LUA' or 'lua5.4'

local function peer(name)
  local path = os.getenv('FORKMON_BENCH_' .. name)
  return path ~= '' and path or nil
end

local ORIGINAL, LUAMON, NELUA = peer 'ORIGINAL', peer 'LUAMON', peer 'NELUA'

local DOCUMENT = 'docs/performance.md'

local SAVES = 40 -- for a median of latencies
local RUNS = 11 -- for a median of whole runs

----------------------------------------------------------------------------------------------
-- Figures

local rows, peers = {}, {}

local function median(values)
  table.sort(values)
  local middle = (#values + 1) // 2
  return #values % 2 == 1 and values[middle] or (values[middle] + values[middle + 1]) / 2
end

local function seconds(value)
  if value < 0.1 then return ('%.2f ms'):format(value * 1e3) end
  return ('%.3f s'):format(value)
end

local function megabytes(value)
  return ('%.0f MB'):format(value)
end

--- A figure beside another: `reach` is the largest ratio that will do, or nil.
local function compare(work, ours, name, theirs, reach, unit)
  unit = unit or seconds
  local ratio = ours / theirs
  rows[#rows + 1] = { work, unit(ours), ('%s: %s'):format(name, unit(theirs)), ('%.3f'):format(ratio),
    reach and ('≤ %.3g'):format(reach) or '', reach and (ratio <= reach and 'yes' or '**no**') or '' }
end

--- A figure that stands for itself.
local function state(work, value, reach, unit)
  rows[#rows + 1] = { work, unit(value), '', '', '≤ ' .. unit(reach), value <= reach and 'yes' or '**no**' }
end

--- What a peer does.
local function add_peer(name, job, figure, beside)
  peers[#peers + 1] = { name, job, figure, beside }
end

----------------------------------------------------------------------------------------------
-- Contenders

local rock = ('%s/target/rocks/%s'):format(posix.getcwd(), LUA)
local version = LUA:match '%d%.%d$' or '5.1'
assert(posix.access(rock, 'x'), 'no rock installed for ' .. LUA .. ': run `make bench`')

--- All programs of a comparison look for modules in the same places.
local paths = {
  LUA_PATH = ('%s/share/lua/%s/?.lua;;'):format(rock, version),
  LUA_CPATH = ('%s/lib/lua/%s/?.so;;'):format(rock, version),
}

local function environment(additions)
  local env = {}
  for name, value in pairs(paths) do env[name] = value end
  for name, value in pairs(additions or {}) do env[name] = value end
  return env
end

--- Ways to run `main.lua` in a folder.
local ways = {}

function ways.plain(folder)
  return runner.start { LUA, 'main.lua', cwd = folder, env = environment() }
end

--- forkmon, enabled in the first line, with options in the environment.
local function forkmon(options)
  local additions = { BENCH_ENABLE = '1', FORKMON_FILTER = '%.lua$' }
  for name, value in pairs(options or {}) do additions['FORKMON_' .. name] = value end
  return function(folder)
    return runner.start { LUA, 'main.lua', cwd = folder, env = environment(additions) }
  end
end

ways.default = forkmon()
ways.at_once = forkmon { RESTART_DELAY = '0' }
ways.exact = forkmon { EXACT = '1' }

function ways.original(folder)
  return runner.start { LUA, 'main.lua', cwd = folder, env = environment {
    LD_PRELOAD = ORIGINAL, FORKMON_FILTER = '%.lua$' } }
end

function ways.entr(folder)
  os.execute(("cd '%s' && ls *.lua >files"):format(folder))
  return runner.start { 'entr', '-rn', LUA, 'main.lua', cwd = folder, env = environment(),
    stdin = folder .. '/files' }
end

--- It needs a terminal, which `script` makes, and a shell with job control.
function ways.luamon(folder)
  local command = ('bash -mc "%s %s -q -l %s main.lua; :"'):format(arg[-1], LUAMON, LUA)
  return runner.start { 'script', '-qfc', command, '/dev/null', cwd = folder }
end

--- A peer that fails is left out; forkmon and what it is compared with must not.
local function attempt(name, run, ...)
  if name ~= 'original' and name ~= 'luamon' then return run(...) end
  local ok, result = pcall(run, ...)
  if ok then return result end
  io.stderr:write(('left out: %s (%s)\n'):format(name, result))
end

--- The commit that the file of a peer is from.
local function commit(path)
  local pipe = io.popen(("git -C '%s' rev-parse --short=10 HEAD 2>/dev/null"):format(path:match '^(.*)/' or '.'))
  local line = pipe:read 'l'
  pipe:close()
  return line or 'of unknown version'
end

----------------------------------------------------------------------------------------------
-- Latency

--- A program that is saved again and again.
local function saved(way, folder)
  return function()
    local number = 0
    local program = way(folder)
    program:line '^shown'
    return function()
      number = number + 1
      local began = runner.save(folder .. '/last.lua', programs.last(number))
      return program:line('^shown ' .. number .. '$') - began
    end
  end
end

--- The bare one with a heap of so many megabytes.
local function bare(size)
  return function()
    local program = runner.start { posix.getcwd() .. '/target/floor/release/floor', tostring(size), cwd = '/' }
    program:line '^ready$'
    return function()
      local began = program:write 'go\n'
      return program:line '^resumed$' - began
    end
  end
end

--- Starts all contenders, has each do its step in turn, and returns the median of each. People
-- save seconds apart, so there is a pause in which everything comes to rest; the original passes
-- over what comes within 200 ms.
local function alternate(contenders)
  local steps, times = {}, {}
  for name, start in pairs(contenders) do
    steps[name], times[name] = attempt(name, start), {}
  end
  for round = -2, SAVES do
    for name, step in pairs(steps) do
      runner.pause(name == 'original' and 250 or 100)
      local time = attempt(name, step)
      if round > 0 then times[name][round] = time end
      if not time then steps[name] = nil end
    end
  end
  local medians = {}
  for name in pairs(steps) do medians[name] = median(times[name]) end
  return medians
end

local function resume()
  local small = alternate {
    default = saved(ways.default, programs.small()),
    at_once = saved(ways.at_once, programs.small()),
    entr = saved(ways.entr, programs.small()),
    bare = bare(3),
    original = ORIGINAL and saved(ways.original, programs.small()),
    luamon = LUAMON and saved(ways.luamon, programs.small()),
  }
  local work = 'save → first resumed line, small program'
  compare(work, small.default, '`entr -rn`', small.entr, 1 / 6)
  compare(work .. ', `restart_delay = 0`', small.at_once, '`entr -rn`', small.entr, 1 / 20)
  compare(work .. ', `restart_delay = 0`', small.at_once, 'floor', small.bare, 3)
  for name, source in pairs { original = ORIGINAL, luamon = LUAMON } do
    local label = name == 'original' and 'the original forkmon' or name
    if small[name] then
      add_peer(('%s (%s)'):format(label, commit(source)), work, seconds(small[name]),
        'forkmon: ' .. seconds(small.default))
    end
  end
  runner.stop_all()

  local large = alternate { at_once = saved(ways.at_once, programs.large()), bare = bare(200) }
  compare('save → first resumed line, 200 MB heap, `restart_delay = 0`', large.at_once, 'floor', large.bare, 1.5)
  runner.stop_all()

  local folder, times = programs.small(), {}
  for run = 1, SAVES do
    local program = ways.plain(folder)
    times[run] = program:line '^shown' - program.began
    program:stop()
  end
  add_peer('a cold restart by hand', work, seconds(median(times)) .. ' and your way to the other window',
    'forkmon: ' .. seconds(small.default))
end

----------------------------------------------------------------------------------------------
-- Whole runs

--- Runs each contender in turn, in each round another first: whoever comes after one that leaves
-- much memory to be given back would always be the slower for it. `run(name)` returns figures by
-- name; the result is a table contender -> figure -> median.
local function take_turns(contenders, run)
  local all, failed = {}, {}
  for round = 0, RUNS do
    for place = 1, #contenders do
      local name = contenders[(place + round) % #contenders + 1]
      local figures = not failed[name] and attempt(name, run, name)
      failed[name] = not figures
      if failed[name] then all[name] = nil end
      for figure, value in pairs(figures or {}) do
        all[name] = all[name] or {}
        all[name][figure] = all[name][figure] or {}
        -- The first round fills the caches.
        if round > 0 then table.insert(all[name][figure], value) end
      end
    end
  end
  for _, figures in pairs(all) do
    for figure, values in pairs(figures) do figures[figure] = median(values) end
  end
  return all
end

local EDITED = 108 -- of 118 modules: at 90 % of the work

--- One session of the compiler-like program: the first run, memory, the second edit.
local function compile(name)
  local folder = programs.compiler()
  local program = ways[name](folder)
  local figures = { run = program:line '^end 0$' - program.began }
  runner.pause(250)
  figures.memory, figures.tables = program:memory()
  if name ~= 'plain' then
    for edit = 1, 2 do
      runner.pause(250)
      local path = ('%s/module%d.lua'):format(folder, EDITED)
      local began = runner.save(path, programs.compiler_module(EDITED, edit))
      figures.edit = program:line(('^end %d$'):format(edit)) - began
    end
  end
  program:stop()
  return figures
end

local function compiler()
  local contenders = { 'plain', 'default', 'exact', ORIGINAL and 'original' }
  local found = take_turns(contenders, compile)
  local plain, default, exact, original = found.plain, found.default, found.exact, found.original
  local work = 'compiler-like program (120 files, 200 MB): '
  compare(work .. 'first run', default.run, 'plain', plain.run, 1.05)
  compare(work .. 'first run, `exact`', exact.run, 'plain', plain.run)
  compare(work .. 'memory of everything (PSS)', default.memory, 'plain', plain.memory, 1.5, megabytes)
  compare(work .. 'the same and the page tables', default.memory + default.tables, 'plain',
    plain.memory + plain.tables, nil, megabytes)
  compare(work .. 'memory of everything (PSS), `exact`', exact.memory, 'plain', plain.memory, nil, megabytes)
  compare(work .. 'second edit of the file at 90 % → end', default.edit, 'cold start', plain.run, 0.15)
  if original then
    compare(work .. 'what `exact` costs', exact.run - plain.run, 'what the original costs',
      original.run - plain.run, 0.8)
    local label = ('the original forkmon (%s)'):format(commit(ORIGINAL))
    add_peer(label, work .. 'first run', seconds(original.run),
      ('plain: %s, forkmon: %s'):format(seconds(plain.run), seconds(default.run)))
    add_peer(label, work .. 'memory of everything', megabytes(original.memory),
      ('plain: %s, forkmon: %s'):format(megabytes(plain.memory), megabytes(default.memory)))
    add_peer(label, work .. 'second edit of the file at 90 %', seconds(original.edit),
      'forkmon: ' .. seconds(default.edit))
  end
end

local function many()
  local folder = programs.many(10000)
  local found = take_turns({ 'plain', 'default' }, function(name)
    local program = ways[name](folder)
    local figures = { run = program:line '^end' - program.began }
    program:stop()
    return figures
  end)
  compare('10,000 small modules: first run', found.default.run, 'plain', found.plain.run, 1.25)
end

local function enable()
  local folder, times = programs.enable(), {}
  for run = 1, SAVES do
    local program = ways.default(folder)
    local _, nanoseconds = program:line '^took (%d+)'
    times[run] = nanoseconds / 1e9
    program:stop()
  end
  state('`require` and `enable()`', median(times), 0.003, seconds)
end

ways.joining = forkmon { OVERHEAD = '0.000001' } -- so small that every stop point joins

local function joins()
  local count = 5000
  local folder = programs.opens(count)
  local found = take_turns({ 'plain', 'joining' }, function(name)
    local program = ways[name](folder)
    local _, nanoseconds = program:line '^took (%d+)'
    program:stop()
    return { open = nanoseconds / 1e9 / count }
  end)
  state('a stop point that joins, on top of the open', found.joining.open - found.plain.open, 20e-6,
    function(value) return ('%.1f µs'):format(value * 1e6) end)
end

local function asks()
  local count, folders = 10000, 10
  local folder = programs.asks(count, folders)
  local found = take_turns({ 'plain', 'joining' }, function(name)
    local program = ways[name](folder)
    local _, took = program:line '^took (.*)'
    local other, first, again, list = took:match '^(%d+) (%d+) (%d+) (%d+)$'
    program:stop()
    return { other = other / 1e9 / count, first = first / 1e9 / count, again = again / 1e9 / count,
      list = list / 1e9 / folders }
  end)
  local plain, joining = found.plain, found.joining
  local function microseconds(value) return ('%.1f µs'):format(value * 1e6) end
  state('`lfs.attributes` of what the filter leaves, on top', joining.other - plain.other, 1e-6, microseconds)
  state('the same of what it takes, asked before', joining.again - plain.again, 6e-6, microseconds)
  state('the same, asked for the first time', joining.first - plain.first, 20e-6, microseconds)
  compare('`lfs.dir` of 1,000 names, for the first time', joining.list, 'plain', plain.list, 1.3)
end

----------------------------------------------------------------------------------------------
-- Parts of a file

--- The command, as it comes.
function ways.command(folder, ...)
  local env = environment()
  env.LUA_PATH, env.LUA_CPATH = nil, nil
  local command = { rock .. '/bin/forkmon', ... }
  command[#command + 1] = 'main.lua'
  command.cwd, command.env = folder, env
  return runner.start(command)
end

--- Saves `text(n)` and waits until `n` is shown; the first edits, which run the script from its start, do not count.
local function edited(folder, name, text, ...)
  local way = { ... }
  return { edited = function()
    local number = 0
    local program = ways.command(folder, table.unpack(way))
    program:line '^shown'
    return function()
      number = number + 1
      local began = runner.save(folder .. '/' .. name, text(number))
      return program:line('^shown ' .. number .. '$') - began
    end
  end }
end

--- From the start of a plain run until it shows something.
local function cold(folder)
  local times = {}
  for run = 1, RUNS do
    local program = ways.plain(folder)
    times[run] = program:line '^shown' - program.began
    program:stop()
  end
  return median(times)
end

local function parts()
  local function measure(work, folder, name, text, reach, ...)
    local whole = cold(folder)
    local ours = alternate(edited(folder, name, text, ...)).edited
    runner.stop_all()
    compare(work, ours, 'plain', whole)
    state(work, ours, reach, seconds)
  end
  local function statements(text) return programs.folder { ['main.lua'] = text } end
  measure('one script, 600 ms in 10 statements, its last line edited', statements(programs.statements(0, 0)),
    'main.lua', function(number) return programs.statements(0, number) end, 0.015)
  measure('the same, its middle statement edited', statements(programs.statements(0, 0)), 'main.lua',
    function(number) return programs.statements(number, number) end, 0.3 + 0.015)
  measure('main script with 100 `require`s (1 s), its last line edited', programs.requires(0), 'main.lua',
    function(number) return programs.requiring(0, number) end, 0.015)
  measure('the same with a heap of 200 MB', programs.requires(1110000), 'main.lua',
    function(number) return programs.requiring(1110000, number) end, 0.025)

  local folder = programs.list()
  local file = assert(io.open(folder .. '/list.txt'))
  local text = file:read 'a'
  file:close()
  file = assert(io.open(folder .. '/list.txt', 'a'))
  file:write 'shown 0\n'
  file:close()
  measure('600 lines at 1 ms each, used by `consumed`, one appended', folder, 'list.txt', function(number)
    for shown = 0, number do text = shown == number and text .. ('shown %d\n'):format(number) or text end
    return text
  end, 0.02, '--filter=%.lua$;%.txt$')

  folder = programs.folder { ['main.lua'] = programs.ASKING }
  local program = runner.start { LUA, 'main.lua', cwd = folder, env = environment() }
  local _, load = program:line '^load%s+(%S+)'
  state('a script of 5,000 lines: to load it so that it can go on in the middle', tonumber(load), 0.03, seconds)
  for kind = 1, 7 do
    local _, ratio = program:line '^loop%s+(%S+)'
    state(('a loop in a script that asks, kind %d, beside one that does not'):format(kind), tonumber(ratio), 1.05,
      function(value) return ('%.3f'):format(value) end)
  end
  runner.stop_all()
end

----------------------------------------------------------------------------------------------
-- The Nelua compiler

local NELUA_EDITED = 'tests/hash_test.nelua'

--- Nelua checks its own tests, then says so and waits.
local function nelua_folder()
  local folder = programs.folder {}
  os.execute(("cp -R '%s/.' '%s' && rm -rf '%s/.git'"):format(NELUA, folder, folder))
  local file = assert(io.open(folder .. '/tests/all_test.nelua', 'a'))
  file:write "\n## after_analyze(function() io.stdout:write('end\\n') io.stdout:flush() io.open 'wait' end)\n"
  file:close()
  programs.age(folder)
  return folder
end

local function nelua()
  if not NELUA then return end
  local job = { './nelua', '--analyze', 'tests/all_test.nelua' }
  local watching = { PATH = rock .. '/bin:' .. os.getenv 'PATH' }
  local function start(folder, env, ...)
    local options = { ... }
    options.cwd, options.env = folder, env or {}
    options.env.LUA_INIT = programs.BALLAST
    for _, word in ipairs(job) do options[#options + 1] = word end
    return runner.start(options)
  end
  local starts = {
    plain = function(folder) return start(folder) end,
    default = function(folder) return start(folder, watching, 'forkmon') end,
    exact = function(folder) return start(folder, watching, 'forkmon', '--exact') end,
    original = ORIGINAL and function(folder)
      return start(folder, { LD_PRELOAD = ORIGINAL, FORKMON_FILTER = '%.lua$;%.nelua$' })
    end,
  }
  local found = take_turns({ 'plain', 'default', 'exact', ORIGINAL and 'original' }, function(name)
    local folder = nelua_folder()
    local program = starts[name](folder)
    local figures = { run = program:line '^end$' - program.began }
    runner.pause(250)
    figures.memory = program:memory()
    if name ~= 'plain' then
      local file = assert(io.open(folder .. '/' .. NELUA_EDITED))
      local text = file:read 'a'
      file:close()
      for edit = 1, 2 do
        runner.pause(250)
        text = text .. ('local edit%d: integer = %d\n'):format(edit, edit)
        local began = runner.save(folder .. '/' .. NELUA_EDITED, text)
        figures.edit = program:line '^end$' - began
      end
    end
    program:stop()
    return figures
  end)
  local label = ('Nelua (%s)'):format(commit(NELUA .. '/'))
  local plain, original = found.plain, found.original
  local function line(work, unit, figure, base)
    local texts = {}
    for _, name in ipairs { 'default', 'exact', 'original' } do
      if found[name] then
        local value = found[name][figure]
        local who = name == 'original' and 'the original ' .. commit(ORIGINAL) or 'forkmon, ' .. name
        texts[#texts + 1] = ('%s: %s (%.2f)'):format(who, unit(value), value / base)
      end
    end
    add_peer(label, work, 'plain: ' .. unit(base), table.concat(texts, '; '))
  end
  line('`--analyze tests/all_test.nelua`', seconds, 'run', plain.run)
  line('the same, memory of everything (PSS)', megabytes, 'memory', plain.memory)
  line(('the same, second edit of `%s`, beside a cold start'):format(NELUA_EDITED), seconds, 'edit', plain.run)
  if original then
    compare('Nelua: what `exact` costs', found.exact.run - plain.run, 'what the original costs',
      original.run - plain.run, 0.8)
  end
end

----------------------------------------------------------------------------------------------
-- Telling

local function table_of(heads, lines)
  local out = { '| ' .. table.concat(heads, ' | ') .. ' |', '|' .. ('---|'):rep(#heads) }
  for _, cells in ipairs(lines) do out[#out + 1] = '| ' .. table.concat(cells, ' | ') .. ' |' end
  return table.concat(out, '\n')
end

local function first_match(path, pattern)
  local file = io.open(path)
  local text = file and file:read 'a' or ''
  if file then file:close() end
  return text:match(pattern) or '?'
end

local function machine()
  local _, processors = first_match('/proc/cpuinfo', '.*'):gsub('\nprocessor', '')
  return ('%d × %s, %.0f GB of memory, Linux %s, %s; %s'):format(processors + 1,
    first_match('/proc/cpuinfo', 'model name%s*:%s*([^\n]+)'),
    first_match('/proc/meminfo', 'MemTotal:%s*(%d+)') / 1e6,
    first_match('/proc/sys/kernel/osrelease', '%d+%.%d+'), LUA, os.date '!%Y-%m-%d')
end

local function report()
  local text = ('Measured on %s.\n\n%s\n'):format(machine(),
    table_of({ 'work', 'forkmon', 'beside', 'ratio', 'to reach', 'reached' }, rows))
  if #peers > 0 then
    text = text .. '\n' .. table_of({ 'who', 'work', 'takes', 'beside' }, peers) .. '\n'
  end
  return text
end

--- Puts the tables between the markers; all around them is written by hand.
local function write(text)
  local file = assert(io.open(DOCUMENT))
  local before, after = file:read('a'):match '^(.*<!%-%- measured %-%->\n).*(<!%-%- end %-%->.*)$'
  file:close()
  assert(before, DOCUMENT .. ' has lost its markers')
  file = assert(io.open(DOCUMENT, 'w'))
  file:write(before, text, after)
  file:close()
end

----------------------------------------------------------------------------------------------

local sections = { resume = resume, compiler = compiler, many = many, enable = enable, joins = joins, asks = asks,
  parts = parts, nelua = nelua }
local all = { 'resume', 'enable', 'joins', 'asks', 'many', 'parts', 'compiler', 'nelua' }

programs.begin()
local ok, message = xpcall(function()
  for _, name in ipairs(#arg > 0 and arg or all) do
    io.stderr:write('measuring: ', name, '\n')
    local section = sections[name] or error('there is no section ' .. name, 0)
    section()
  end
end, function(message) return type(message) == 'string' and message or debug.traceback(message) end)
runner.stop_all()
programs.discard()
local text = report()
print(text)
if not ok then
  io.stderr:write('bench: ', message, '\n')
  os.exit(1)
end
if #arg == 0 then write(text) end
