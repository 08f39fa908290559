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

return programs
