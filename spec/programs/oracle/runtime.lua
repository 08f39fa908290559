--- What the oracle's random programs do, one function for each kind of statement.
--
-- All that a program reads goes into one sum, in the order in which it is read, and into memory
-- that is looked at in the end: two runs that print the same END have the same state. Every line
-- of output carries its number in the run, so that a line that is repeated or missing shows.
--
-- With ORACLE_TRACE=<file>, a run notes how many lines it had printed when it came to each file.

local trace_file = os.getenv 'ORACLE_TRACE'
local has_lfs, lfs = pcall(require, 'lfs') -- not every Lua has it

local o = {}
local forkmon -- nil in a cold run of a program that does not enable it itself
local printed, sum, labels = 0, 7, 0
local heaps, held, owned, log = {}, {}, {}, nil
local reached = {}

local function note(path)
  reached[path] = reached[path] or printed
end

local function mix(value)
  value = tostring(value)
  for i = 1, #value do sum = (sum * 31 + value:byte(i)) % 4294967291 end
end

function o.say(text)
  printed = printed + 1
  print(('out %d %s;'):format(printed, (text:gsub('\n', '|'))))
end

--- The first statement of every file.
function o.begin(name, version)
  mix(name .. version)
end

--- The program may find itself elsewhere later: what forkmon is told must be what is read.
function o.require(name)
  for template in package.path:gmatch '[^;]+' do note((template:gsub('%?', name))) end
  local value = require(name)
  mix(value)
  return value
end

function o.optional(name)
  local found, value = pcall(o.require, name)
  mix(found)
  mix(value)
end

function o.together(names)
  local step = coroutine.wrap(function()
    for _, name in ipairs(names) do
      o.require(name)
      coroutine.yield(name)
    end
  end)
  for _ = 1, #names do mix(step()) end
  held[#held + 1] = step
end

function o.part(name)
  note(name)
  mix(dofile(name))
end

function o.chunk(name)
  note(name)
  local chunk, message = loadfile(name)
  mix(chunk and chunk() or message)
end

function o.lines(name)
  note(name)
  for line in io.lines(name) do mix(line) end
end

--- A file that may be missing.
function o.open(name)
  note(name)
  local file, message = io.open(name)
  mix(file and file:read '*a' or message)
  if file then file:close() end
end

--- What is there, without opening it. Another file may be resumed from for a change of it.
function o.ask(name, field)
  if not has_lfs then return end
  note('asked ' .. name)
  mix(lfs.attributes(name, field))
end

--- What is in a folder. Names that editors make beside files do not count.
function o.list(name)
  if not has_lfs then return end
  note('asked ' .. name)
  local names = {}
  for entry in lfs.dir(name) do
    if not entry:find '^[.#]' and not entry:find '~$' then names[#names + 1] = entry end
  end
  table.sort(names)
  mix(table.concat(names, ' '))
end

--- A file that stays open and is read on by whoever comes later.
function o.hold(name)
  note(name)
  local file, message = io.open(name)
  mix(file and file:read '*l' or message)
  if file then held[#held + 1] = file end
end

function o.more()
  for _, file in ipairs(held) do
    if io.type(file) then mix(file:read '*l') end
  end
end

--- A file outside of the filter, made a dependency by name.
function o.conf(name)
  if forkmon then forkmon.watch(name) end
  o.open(name)
end

function o.checkpoint(label)
  if label then
    labels = labels + 1
    label = label .. '#' .. labels
    note(label)
  end
  if forkmon then forkmon.checkpoint(label) end
end

local function write(path, text, mode)
  local file = assert(io.open(path, mode or 'w'))
  file:write(text)
  file:close()
end

--- A file of the program's own, written and read back; some by a detour.
function o.own(name, way)
  name = ('../own/%s-%d.own'):format(name, #owned + 1)
  owned[#owned + 1] = name
  local text = name .. sum .. '\n'
  if way == 'detour' then
    write(name .. '.part', text)
    assert(os.rename(name .. '.part', name))
  else
    write(name, text)
  end
  if way == 'gone' then assert(os.remove(name)) end
  o.open(name)
  if way == 'twice' then
    write(name, text)
    o.lines(name)
  end
end

--- Changes a file of its own that it may have read meanwhile, and reads it. A disk does not go
-- back in time with the program: it has to be resumed from before the first change.
function o.again(way)
  if #owned == 0 then return end
  local name = owned[sum % #owned + 1]
  local text = ('%s %.0f\n'):format(way, sum)
  local found = io.open(name)
  mix(found and found:read '*a')
  if found then found:close() end
  if way == 'rewrite' or not found then
    write(name, text)
  elseif way == 'append' then
    write(name, text, 'a')
  elseif way == 'update' then
    write(name, text, 'r+')
  elseif way == 'replace' then
    write(name .. '.part', text)
    assert(os.rename(name .. '.part', name))
  else
    assert(os.remove(name))
  end
  o.open(name)
end

--- A file that stays open for writing and is read in the end.
function o.log(text)
  log = log or assert(io.open('../own/log.out', 'w'))
  log:write(text, sum, '\n')
end

function o.command(text)
  local pipe = io.popen('echo ' .. text)
  mix(pipe:read '*a')
  pipe:close()
end

function o.heap(name, kilobytes)
  local heap = {}
  for i = 1, kilobytes * 64 do heap[i] = (sum + i) % 1009 end
  heaps[#heaps + 1] = heap
  mix(name .. #heap)
end

function o.spin(milliseconds)
  local till = os.clock() + milliseconds / 1000
  repeat until os.clock() >= till
end

local function look_at_everything()
  for _, heap in ipairs(heaps) do
    for i = 1, #heap, 97 do mix(heap[i]) end
  end
  for _, thing in ipairs(held) do
    if io.type(thing) then
      mix(thing:seek())
      mix(thing:read '*a')
      thing:close()
    else
      mix(pcall(thing))
    end
  end
  if log then
    log:close()
    o.lines '../own/log.out'
  end
  local names = {}
  for name, value in pairs(package.loaded) do
    if type(value) == 'string' then names[#names + 1] = name .. value end
  end
  table.sort(names)
  mix(table.concat(names, ' '))
end

local function save_trace()
  if not trace_file then return end
  local file = assert(io.open(trace_file, 'w'))
  for path, count in pairs(reached) do file:write(('%d %s\n'):format(count, path)) end
  file:close()
end

--- Runs the program. `stay`: it does not end by itself.
function o.run(body, stay)
  forkmon = package.loaded.forkmon
  note 'enable()'
  package.path, package.cpath = './first/?.lua;./?.lua;./current/?.lua;./last/?.lua', ''
  local ok, message = pcall(body)
  if ok then ok, message = pcall(look_at_everything) end
  o.say('END ' .. (ok and ('%d'):format(sum) or message))
  io.stdout:flush()
  save_trace()
  if stay then io.read() end
  os.exit(ok and 0 or 1)
end

return o
