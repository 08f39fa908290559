--- Makes the programs that are measured, each in a folder of its own.
--
-- A program prints what the bench waits for as soon as it can (standard output is not buffered),
-- and then waits to be stopped, as one does that has something to show: it opens a FIFO that
-- nobody writes to. Its files are an hour old: a checkout of a moment ago is not the usual case.

local posix = require 'posix'

local programs = {}

local root -- where the folders are
local number = 0

--- The folders are not in /tmp: some systems hold it in memory, and the original forkmon passes
-- over what is there.
function programs.begin()
  root = assert(posix.mkdtemp((os.getenv 'TMPDIR' or '/var/tmp') .. '/forkmon-bench-XXXXXX'))
end

function programs.discard()
  os.execute(("rm -rf '%s'"):format(root))
end

--- A new folder with these files: name -> text.
function programs.folder(files)
  number = number + 1
  local folder = ('%s/%d'):format(root, number)
  posix.mkdir(folder)
  posix.mkfifo(folder .. '/wait')
  for name, text in pairs(files) do
    if name:find '/' then posix.mkdir(folder .. '/' .. name:match '^(.*)/') end
    local file = assert(io.open(folder .. '/' .. name, 'w'))
    assert(file:write(text))
    file:close()
  end
  programs.age(folder)
  return folder
end

--- Makes everything in a folder an hour old.
function programs.age(folder)
  os.execute(("find '%s' -type f -exec touch -d '1 hour ago' {} +"):format(folder))
end

local ENABLE = [[
if os.getenv 'BENCH_ENABLE' then require('forkmon').enable() end
io.stdout:setvbuf 'no'
]]

--- Lua's collector begins a cycle whenever the heap has grown by a factor. So whatever is in the heap
-- early on decides at which sizes it will mark all of it, and so how often until a program ends: the
-- hundred kilobytes that forkmon adds to the twenty of an empty Lua can mean one large cycle more, or
-- one less, which has nothing to do with checkpoints and exceeds what they cost. Beside this ballast,
-- which all contenders have, they do not matter.
programs.BALLAST = "ballast = ('x'):rep(8e6)\n"

--- 20 small modules and `last.lua`, which prints a number: save `programs.last(n)` there.
function programs.small()
  local files = { ['last.lua'] = programs.last(0) }
  files['main.lua'] = ENABLE .. [[
for i = 1, 20 do require('m' .. i) end
dofile 'last.lua'
io.open 'wait'
]]
  for i = 1, 20 do files[('m%d.lua'):format(i)] = ('return { number = %d }\n'):format(i) end
  return programs.folder(files)
end

function programs.last(value)
  return ("print 'shown %d'\n"):format(value)
end

--- The same with a heap of 200 MB.
function programs.large()
  return programs.folder {
    ['last.lua'] = programs.last(0),
    ['main.lua'] = ENABLE .. [[
heap = {}
for i = 1, 1110000 do heap[i] = { i, tostring(i) } end
dofile 'last.lua'
io.open 'wait'
]],
  }
end

--- Works as a compiler does: it splits a text into words, makes a tree of them, resolves names in
-- a table of all symbols (and thereby writes to what other modules made), and keeps everything.
local COMPILER = [[
local compiler = { symbols = {}, trees = {}, sum = 0 }
local symbols = compiler.symbols

local function parse(text, module)
  local tree, scope = {}, nil
  for repetition = 1, 7 do
    for word in text:gmatch '%w+' do
      local node = { tag = 'Id', word, attr = { module = module, type = false }, line = repetition }
      if word == 'function' then
        scope = node
        tree[#tree + 1] = node
      elseif scope then
        scope[#scope + 1] = node
      else
        tree[#tree + 1] = node
      end
    end
  end
  return tree
end

local function analyze(node)
  local name = node[1]
  local symbol = symbols[name]
  if not symbol then
    symbol = { name = name, uses = 0, first = node }
    symbols[name] = symbol
  end
  symbol.uses = symbol.uses + 1
  node.attr.symbol = symbol
  node.attr.type = #name % 3 == 0 and 'integer' or 'any'
  symbol.first.attr.type = node.attr.type
  for i = 2, #node do analyze(node[i]) end
end

function compiler.compile(text, module, value)
  local tree = parse(text, module)
  for pass = 1, 7 do
    for _, node in ipairs(tree) do analyze(node) end
  end
  compiler.trees[module] = tree
  compiler.sum = compiler.sum + value
end

return compiler
]]

local function source(module)
  local lines = {}
  for i = 1, 40 do
    lines[i] = ('function f%d_%d(a, b) local c = a + b * %d return c, g%d(a) end'):format(module, i % 7, i, i % 5)
  end
  return table.concat(lines, '\n')
end

--- 120 files, 200 MB, about a second of work. It prints "end N" with the sum of all modules'
-- values: module 108 of the 118 is the one to edit, see `programs.edited_module`.
function programs.compiler()
  local files = { ['compiler.lua'] = COMPILER }
  files['main.lua'] = ENABLE .. programs.BALLAST .. [[
compiler = require 'compiler'
for i = 1, 118 do require('module' .. i) end
print('end ' .. compiler.sum)
io.open 'wait'
]]
  for i = 1, 118 do files[('module%d.lua'):format(i)] = programs.compiler_module(i, 0) end
  return programs.folder(files)
end

function programs.compiler_module(module, value)
  return ('compiler.compile([[\n%s\n]], %d, %d)\n'):format(source(module), module, value)
end

--- So many modules of 50 lines, 100 to a folder.
function programs.many(count)
  local files = { ['main.lua'] = ENABLE .. ([[
for i = 1, %d do require('d' .. i // 100 .. '.m' .. i) end
print 'end'
io.open 'wait'
]]):format(count) }
  for i = 1, count do
    files[('d%d/m%d.lua'):format(i // 100, i)] = ('local module = { number = %d }\n'):format(i) .. ([[

function module.add(a, b)
  local sum = a + b
  module.number = sum
  return sum
end

function module.name(prefix)
  return prefix .. ':' .. module.number
end

]]):rep(4) .. 'return module\n'
  end
  return programs.folder(files)
end

--- Prints how many nanoseconds `enable` took, the loading of forkmon included.
function programs.enable()
  return programs.folder { ['main.lua'] = [[
local now = require('system').monotime
local before = now()
require('forkmon').enable()
print(('took %.0f'):format((now() - before) * 1e9))
io.open 'wait'
]] }
end

--- Opens so many files and prints how many nanoseconds that took.
function programs.opens(count)
  local files = { ['main.lua'] = ENABLE .. ([[
local now = require('system').monotime
local open = io.open
local before = now()
for i = 1, %d do open('d' .. i // 100 .. '/f' .. i .. '.lua'):close() end
print(('took %%.0f'):format((now() - before) * 1e9))
io.open 'wait'
]]):format(count) }
  for i = 1, count do files[('d%d/f%d.lua'):format(i // 100, i)] = 'return 1\n' end
  return programs.folder(files)
end

local WORK = [[
local function work(milliseconds)
  local till = os.clock() + milliseconds / 1000
  repeat until os.clock() >= till
end
]]

--- One script with 600 ms of work in ten statements. `middle` stands in the fifth, `last` in the last line.
function programs.statements(middle, last)
  local lines = { "io.stdout:setvbuf 'no'", WORK }
  for i = 1, 10 do lines[#lines + 1] = ('work(60)%s'):format(i == 5 and ' print(' .. middle .. ')' or '') end
  lines[#lines + 1] = ("print 'shown %d'\nio.open 'wait'\n"):format(last)
  return table.concat(lines, '\n')
end

--- 100 modules that take 10 ms each, at the top of a main script; before them a heap of so many elements.
function programs.requires(elements)
  local files = { ['main.lua'] = programs.requiring(elements, 0) }
  for i = 1, 100 do files[('m%d.lua'):format(i)] = WORK .. 'work(10)\nreturn {}\n' end
  return programs.folder(files)
end

function programs.requiring(elements, last)
  local lines = { "io.stdout:setvbuf 'no'" }
  if elements > 0 then
    lines[#lines + 1] = ('heap = {} for i = 1, %d do heap[i] = { i, tostring(i) } end'):format(elements)
  end
  for i = 1, 100 do lines[#lines + 1] = ("local m%d = require 'm%d'"):format(i, i) end
  lines[#lines + 1] = ("print 'shown %d'\nio.open 'wait'\n"):format(last)
  return table.concat(lines, '\n')
end

--- 600 lines at 1 ms each, and how many have been used is told. The last is a number to be shown.
function programs.list()
  local lines = {}
  for i = 1, 600 do lines[i] = 'line ' .. i end
  return programs.folder {
    ['list.txt'] = table.concat(lines, '\n') .. '\n',
    ['main.lua'] = WORK .. [[
io.stdout:setvbuf 'no'
local function read()
  local file = io.open 'list.txt'
  local text = file:read '*a'
  file:close()
  return text
end
local text, from = read(), 1
while true do
  local line, after = text:match('([^\n]*)\n()', from)
  if not line then break end
  work(1)
  if line:find '^shown' then print(line) end
  from = after
  local forkmon = package.loaded.forkmon
  if forkmon and forkmon.consumed('list.txt', from - 1) then text = read() end
end
print 'end'
io.open 'wait'
]],
  }
end

--- What is run within one process of the Lua that is measured: how long it takes to load a script of 5,000 lines so
-- that it can go on in the middle, and loops in a script that asks beside the same in one that does not.
programs.ASKING = [[
local core, script = require 'forkmon.core', require 'forkmon.script'
local host = { cut = core.cut, boundary = function() end }
local clock = os.clock
local function median(list) table.sort(list) return list[(#list + 1) / 2] end

local lines = {}
for i = 1, 1000 do
  lines[#lines + 1] = ("local function f%d(a, b)\n  return a + b * %d\nend\nvalue = f%d(1, 2) .. 'text'\nprint(value)")
    :format(i % 100, i, i % 100):gsub('^local ', i > 100 and '' or 'local ')
end
local text, times = table.concat(lines, '\n'), {}
for i = 1, 21 do
  local began = clock()
  local chunk, reason = script.load(host, text, '@text', nil, text:sub(1, -10))
  assert(chunk and not reason, reason)
  times[i] = clock() - began
end
print('load', median(times))

local loops = {
  "local sum = 0 for i = 1, 3000000 do sum = sum + i % 7 end RESULT = tostring(sum)",
  "local t = {} for i = 1, 300000 do t[i] = { i } end RESULT = tostring(#t)",
  "local n = 0 while n < 3000000 do n = n + 1 end RESULT = tostring(n)",
  "local t, n = {}, 0 for i = 1, 100000 do t[i] = i end for k, v in pairs(t) do n = n + v end RESULT = tostring(n)",
  "local s, n = ('x'):rep(1000), 0 for i = 1, 100000 do n = n + #s:sub(1, i % 50) end RESULT = tostring(n)",
  "local a, b = 0, 1 local function f() a, b = b, (a + b) % 1000 end for i = 1, 999999 do f() end RESULT = tostring(a)",
  "local n = 0 repeat n = n + 1 local x = n * 2 until x > 4000000 RESULT = tostring(n)",
}
for number, loop in ipairs(loops) do
  local plain, asking = {}, {}
  for i = 1, 15 do
    for _, way in ipairs(i % 2 == 0 and { 'plain', 'asking' } or { 'asking', 'plain' }) do
      collectgarbage()
      local chunk = way == 'plain' and (loadstring or load)(loop, '@loop') or script.load(host, loop, '@loop')
      local began = clock()
      chunk()
      local list = way == 'plain' and plain or asking
      list[i] = clock() - began
    end
  end
  print('loop', median(asking) / median(plain))
end
]]

--- Asks for the sizes of files that the filter does not take and of files that it takes, these so many for the first
-- time and then once more, and lists so many folders of 1,000 names. Prints how many nanoseconds each of it took.
function programs.asks(count, folders)
  local files = { ['data.txt'] = '', ['main.lua'] = ENABLE .. ([[
local now = require('system').monotime
local lfs = require 'lfs'
local attributes, dir = lfs.attributes, lfs.dir
local paths = {}
for i = 1, %d do paths[i] = 'd' .. i // 1000 .. '/f' .. i .. '.lua' end
local function measure(ask)
  local before = now()
  ask()
  return (now() - before) * 1e9
end
local function ask_all()
  for i = 1, #paths do attributes(paths[i], 'size') end
end
print(('took %%.0f %%.0f %%.0f %%.0f'):format(measure(function()
  for _ = 1, #paths do attributes('data.txt', 'size') end
end), measure(ask_all), measure(ask_all), measure(function()
  for i = 0, %d do
    for _ in dir('d' .. i) do end
  end
end)))
io.open 'wait'
]]):format(count, folders - 1) }
  for i = 1, count do files[('d%d/f%d.lua'):format(i // 1000, i)] = 'return 1\n' end
  return programs.folder(files)
end

return programs
