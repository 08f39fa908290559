--- Prints what a program can see of the functions that forkmon hooks: the specs compare it with and without forkmon.

-- ENABLE=1: forkmon is enabled by the program and not by the command. (The line has the same number in both cases.)
if os.getenv 'ENABLE' then require('forkmon').enable { filter = '.', exact = true } end

-- Both streams in their true order.
io.stdout:setvbuf 'no'

local unpack = table.unpack or unpack -- luacheck: ignore 143

local function show(label, ...)
  local shown = {}
  for index = 1, select('#', ...) do
    shown[index] = tostring((select(index, ...)))
  end
  print(label .. ': ' .. table.concat(shown, ' | '))
end

local function try(label, action, ...)
  show(label, pcall(action, ...))
end

-- Arguments that are wrong, by the message and its position.
local functions = {
  dofile = dofile, loadfile = loadfile, require = require,
  open = io.open, lines = io.lines, input = io.input, output = io.output, popen = io.popen,
  remove = os.remove, rename = os.rename, loadlib = package.loadlib, searchpath = package.searchpath,
}
local names = {}
for name in pairs(functions) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  -- Without arguments some read from the standard input, which is empty.
  for _, arguments in ipairs { {}, { {} }, { 'no such file' }, { 'no such file', {} }, { 'no such file', 'odd mode' },
                               { '' }, { 'zero\0byte' }, { 12 }, { true }, { 'folder' } } do
    local is_path = type(arguments[1]) == 'string' or type(arguments[1]) == 'number'
    -- These would not be refused.
    if not (is_path and (name == 'popen' or name == 'output')) then
      try(name .. ' ' .. #arguments .. ' ' .. type(arguments[1]), functions[name], unpack(arguments))
    end
  end
end
io.output(io.stdout)
io.input(io.stdin)

-- Called by name, so that messages have one.
try('named', function() dofile({}) end)
try('named', function() io.open({}) end)
try('named', function() io.open('ok.lua', 'odd') end)
try('named', function() io.lines 'no such file' end)
try('named', function() for line in io.lines 'no such file' do print(line) end end)
try('named', function() io.input 'no such file' end)
try('named', function() require 'no.such.module' end)
try('named', function() require 'broken' end)
try('named', function() dofile 'broken.lua' end)
try('method', function() local t = { open = io.open } t:open('x') end)

-- Varargs and results.
try('results', function() return dofile 'results.lua' end)
try('count', function() return select('#', dofile 'results.lua') end)
try('chunk', function() return loadfile('arguments.lua')('one', nil, 'three', nil) end)
try('module', function() return require 'arguments' end)
try('module again', function() return require 'arguments' end)
try('module false', function() return require 'returns_false', require 'returns_false' end)
try('modes', function() return loadfile('ok.lua', 'b') end)
try('environment', function()
  local environment = { print = print }
  local chunk = loadfile('sets_global.lua', 't', environment)
  if setfenv then setfenv(chunk, environment) end -- luacheck: ignore 113
  chunk()
  return environment.GLOBAL, GLOBAL -- luacheck: ignore 113
end)
try('failed open', io.open, 'no such file')
try('failed load', loadfile, 'no such file')
try('failed load', loadfile, 'broken.lua')
try('lines', function()
  local all = {}
  for a, b in io.lines('text', _VERSION == 'Lua 5.1' and '*l' or '*n', 4) do all[#all + 1] = a .. '+' .. tostring(b) end
  return unpack(all)
end)
try('input', function() io.input 'text' return io.read '*l', io.input():read '*a', io.close(io.input()) end)
io.input(io.stdin)
try('searchpath', function() return package.searchpath('folder.inner', './?.lua;./?/x') end)
try('searchpath', function() return package.searchpath('no-such', './?.lua;./?/x', '-', '+') end)
show('searchers', #(package.searchers or package.loaders), type((package.searchers or package.loaders)[2]))
for slot = 1, 4 do
  try('searcher ' .. slot, (package.searchers or package.loaders)[slot], 'ok')
  try('searcher ' .. slot, (package.searchers or package.loaders)[slot], 'no.such')
  try('searcher ' .. slot, (package.searchers or package.loaders)[slot])
end
package.preload.preloaded = function(...) return { select('#', ...) } end
try('preload', function() return require('preloaded')[1] end)

-- Searches in which the first places are empty, hold what cannot be read, or are no paths.
for _, path in ipairs {
  './none/?.lua;./?.lua', '/none/?/init.lua;;./none/?;./folder/?.lua;./?.lua', './?;./folder/?.lua',
  './none/?.lua;./?/?', './none/?\0/?.lua;./?.lua', './none/?.lua;./?.lua/inner.lua',
} do
  local before = package.path
  package.path = path
  for _, name in ipairs { 'ok', 'inner', 'taken', 'folder.inner', 'broken', 'none', 'text', 'none;./ok', '?', '' } do
    package.loaded[name] = nil
    try('search ' .. path:gsub('%z', '0') .. ' for ' .. name, require, name)
    try('searcher', (package.searchers or package.loaders)[2], name)
  end
  -- Nothing of a search that ended in an error is left for the next.
  try('search', require, 'broken')
  package.path = './no/?.lua'
  try('search', require, 'nowhere')
  package.path = before
end
do
  local before = package.path
  package.path = nil
  try('search', require, 'nowhere')
  package.path = setmetatable({}, { __tostring = function() return './?.lua' end })
  try('search', require, 'nowhere')
  package.path = before
end

-- Levels: whom an error blames, and what a traceback shows.
try('level', dofile, 'levels.lua')
try('level', function() require 'levels' end)
show('traceback', xpcall(function() dofile 'errors.lua' end, debug.traceback))
show('traceback', xpcall(function() require 'errors' end, debug.traceback))
show('traceback', xpcall(function() io.lines 'no such file' end, debug.traceback))
show('traceback', xpcall(function() return (loadfile 'errors.lua')() end, debug.traceback))
dofile 'stack.lua'
require 'stack'
for _, f in ipairs { dofile, loadfile, io.open, io.lines, io.input, os.remove } do
  local info = debug.getinfo(f, 'Su')
  show('info', info.what, info.short_src, info.isvararg, pcall(string.dump, f))
end

-- Coroutines.
local function resumed(body)
  local thread = coroutine.create(body)
  for step = 1, 4 do
    show('coroutine ' .. step, coroutine.status(thread), coroutine.resume(thread, 'value ' .. step))
  end
end
resumed(function() return dofile 'yields.lua' end)
resumed(function() return pcall(dofile, 'yields.lua') end)
resumed(function() return require 'yields' end)
resumed(function() return loadfile 'yields.lua' () end)
show('wrap', coroutine.wrap(function(...) return select('#', ...), dofile(...) end)('results.lua'))

-- As deep as it goes.
DEPTH = 0 -- luacheck: ignore 111
local ok, message = pcall(dofile, 'deep.lua')
show('deep', ok, DEPTH, message:match '[^:]*$') -- luacheck: ignore 113

-- Subprocesses, in the ways of each version.
show('execute', os.execute 'exit 3')
local pipe = io.popen 'echo from a subprocess; exit 4'
show('popen', pipe:read '*a', pipe:close())
show('rename', os.rename('no such file', 'other'))
show('remove', os.remove 'no such file')
show('type', io.type(io.stdout), io.type(io.open 'text'), tostring(io.stdin):match '^file')

-- The end: an error nobody catches, through frames of hooked functions.
dofile 'outer.lua'
