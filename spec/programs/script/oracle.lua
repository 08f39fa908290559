--- Random scripts, edited at random: one that goes on with another text in the middle ends as a plain run of that text.
--
--     lua oracle.lua SEED COUNT
--
-- Runs in the Lua under test and needs nothing of a session: at a place that both texts have in common the script is
-- told that the text has changed, as a resumed one is. Prints what it did, and the first difference.

local core = require 'forkmon.core'
local script = require 'forkmon.script'

local version = tonumber(_VERSION:match '%d+%.%d+')
local is_jit = rawget(_G, 'jit') ~= nil
local load = rawget(_G, 'setfenv') and function(text, name, _, environment)
  local chunk, message = rawget(_G, 'loadstring')(text, name)
  if chunk then rawget(_G, 'setfenv')(chunk, environment) end
  return chunk, message
end or load
local unpack = rawget(_G, 'unpack') or table.unpack

-- A generator of its own, so that a seed means the same in every Lua.
local state = 1
local function random(limit)
  state = (state * 16807) % 2147483647
  return state % limit + 1
end

local function pick(list) return list[random(#list)] end
local function chance(percent) return random(100) <= percent end

local names = { 'a', 'b', 'c', 'd', 'e' }

local expression

local function call(depth)
  return pick {
    function() return ('id(%s)'):format(expression(depth)) end,
    function() return ('(%s or id)(%s)'):format(pick { 'id', 'num' }, expression(depth)) end,
    function() return ('tab:m(%s)'):format(expression(depth)) end,
    function() return 'id"text"' end,
    function() return 'id{1, x = 2; 3}' end,
    function() return 'id[[long\n]=] text]]' end,
    function() return '#id(\'a\\z\n  b\')' end,
    function() return 'select("#", ...)' end,
  }()
end

function expression(depth)
  depth = (depth or 0) + 1
  if depth > 3 then return pick { '1', 'a', 'b', 'nil', '0x1F', '"s"', '2.5e1' } end
  return pick {
    function() return pick(names) end,
    function() return tostring(random(99)) end,
    function() return ('num(%s) %s num(%s)'):format(expression(depth), pick { '+', '-', '*' }, expression(depth)) end,
    function() return ('%s %s %s'):format(pick(names), pick { 'and', 'or', '==', '~=' }, expression(depth)) end,
    function() return ('not %s'):format(expression(depth)) end,
    function() return ('(%s)'):format(expression(depth)) end,
    function() return ('str(%s) .. str(%s)'):format(expression(depth), expression(depth)) end,
    function() return ('(function(...) %s = %s return %s end)(%s)'):format(pick(names), pick(names), pick(names),
      expression(depth)) end,
    function() return '...' end,
    function() return call(depth) end,
    function() return ('tab.x[%s]'):format(random(3)) end,
    function()
      if version >= 5.3 then return ('num(%s) %s 3'):format(pick(names), pick { '//', '&', '|', '~', '<<', '>>' }) end
      return '2 ^ 3'
    end,
  }()
end

local statement

local function block(depth)
  local list = {}
  for index = 1, random(3) do list[index] = statement(depth + 1) end
  return table.concat(list, pick { ' ', '\n', '; ' })
end

function statement(depth)
  local name, other = pick(names), pick(names)
  local kinds = {
    function() return ('out(%s, %s)'):format(name, expression()) end,
    function() return ('out(line())') end,
    function() return call() end,
    function() return ('local %s = %s'):format(name, expression()) end,
    function() return ('local %s, %s'):format(name, other) end,
    function() return ('local %s, %s = %s'):format(name, other, call()) end,
    function() return ('%s = %s'):format(name, expression()) end,
    function() return ('%s, tab.x[1] = %s, %s'):format(name, other, expression()) end,
    function() return ('tab.fs[#tab.fs + 1] = function() %s = num(%s) + 1 return %s end'):format(name, name, other) end,
    function() return 'for i = 1, #tab.fs do out(i, tab.fs[i]()) end' end,
    function()
      return ('local function f(n) if num(n) > 2 then return f(2) end %s = n return %s end'):format(name, other)
    end,
    function() return ('function g(...) %s = ... return %s, ... end'):format(name, other) end,
    function() return ('function tab:m(n) self.x[1] = n return %s end'):format(name) end,
    function() return ('out(pcall(function() %s = nil; return %s.x end))'):format(name, other) end,
    function() return ('out(co(function() local y = yield(%s) %s = y end))'):format(name, other) end,
    function() return '-- a comment' end,
    function() return '--[==[ a long\n one ]] ]==]' end,
    function() return ';' end,
    function()
      if version >= 5.4 then return ('local %s <const> = %s'):format(name, expression()) end
      return ('local %s = %s'):format(name, expression())
    end,
    function() return 'out(select("#", ...), ...)' end,
    function() return ('if %s then out(1) elseif %s then out(2) end'):format(expression(), expression()) end,
    function() return ('out(%s)'):format(call()) end,
  }
  local deep = {
    function() return ('for i = 1, 3 do local %s = i %s end'):format(name, block(depth)) end,
    function() return ('for k, v in pairs({%s}) do %s out(k, v) end'):format(random(9), block(depth)) end,
    function() return ('do %s end'):format(block(depth)) end,
    function() return ('if %s then %s else %s end'):format(expression(), block(depth), block(depth)) end,
    function() return ('repeat local z = 1 %s until z == 1'):format(block(depth)) end,
    function() return ('do local w = 0 while w < 2 do w = w + 1 %s end end'):format(block(depth)) end,
  }
  local rare = {
    function() return ('error(%q .. str(%s))'):format('oops ', name) end,
    function() return ('%s.x = 1'):format(name) end,
    function() return ('undefined(%s)'):format(name) end,
    function() return ('do return %s end'):format(expression()) end,
    function() return ('if %s then return %s end'):format(name, other) end,
    function()
      if version == 5.1 and not is_jit then return 'out(1)' end
      return 'for i = 1, 3 do if i == 2 then goto next end out(i) ::next:: end'
    end,
    function()
      if version == 5.1 and not is_jit then return 'out(1)' end
      return ('goto l%d out(1) ::l%d::'):format(depth, depth)
    end,
    function()
      if version >= 5.4 then return 'local z <close> = closing()' end
      return 'out(2)'
    end,
  }
  if depth < 2 and chance(25) then return pick(deep)() end
  if depth < 2 and chance(2) then return pick(rare)() end
  return pick(kinds)()
end

local heads = { '', '', '', '', '#!/usr/bin/lua\n', '\239\187\191', '-- head\r\n' }

local function new_script()
  local list = {}
  for index = 1, 3 + random(12) do list[index] = statement(0) end
  local separators = {}
  for index = 1, #list do separators[index] = pick { '\n', '\n', '\n', '\n\n', ' ', '; ', ' -- x\n', '\r\n' } end
  local last = chance(20) and 'return ' .. expression() or ''
  if version >= 5.5 and chance(15) then table.insert(list, 1, 'global *') table.insert(separators, 1, '\n') end
  return { head = pick(heads), list = list, separators = separators, last = last }
end

local function text_of(it)
  local pieces = { it.head }
  for index, one in ipairs(it.list) do pieces[#pieces + 1] = one .. it.separators[index] end
  pieces[#pieces + 1] = it.last
  return table.concat(pieces)
end

--- Another text, mostly like the first.
local function edited(it, text)
  local copy = { head = it.head, last = it.last, list = { unpack(it.list) }, separators = { unpack(it.separators) } }
  local at = random(#copy.list)
  local how = random(7)
  if how <= 2 then
    copy.list[at] = statement(0)
  elseif how == 3 then
    table.insert(copy.list, at, statement(0))
    table.insert(copy.separators, at, '\n')
  elseif how == 4 and #copy.list > 1 then
    table.remove(copy.list, at)
    table.remove(copy.separators, at)
  elseif how == 5 then
    copy.separators[at] = pick { '\n', ' -- other\n', '\n\n\n', '; ', ' ' }
  elseif how == 6 then
    return text:sub(1, random(#text))
  else
    -- Some bytes at some place.
    local place = random(#text)
    local bytes = pick { '(', ')', ' x', '1', '.y', '"', '\n', ' and 1', ' end', '--', '[[', '= 2', ' :m()' }
    return text:sub(1, place) .. bytes .. text:sub(place + random(3))
  end
  return text_of(copy)
end

local function shown(value)
  local kind = type(value)
  if kind == 'function' or kind == 'table' or kind == 'thread' then return kind end
  return tostring(value)
end

--- What a script may use, and where what it puts out goes.
local function new_world(lines)
  local world = {}
  function world.out(...)
    local list = {}
    for index = 1, select('#', ...) do list[index] = shown((select(index, ...))) end
    lines[#lines + 1] = table.concat(list, ' ')
    assert(#lines < 2000, 'too much')
  end
  function world.id(...) return ... end
  function world.num(value)
    return type(value) == 'number' and value % 1000 == value and value % 1 == 0 and value or 1
  end
  function world.str(value) return type(value) == 'string' and value:sub(1, 50) or 's' end
  function world.line() return debug.getinfo(2, 'l').currentline end
  function world.co(body)
    local thread = coroutine.create(body)
    coroutine.resume(thread)
    return coroutine.resume(thread, 7)
  end
  function world.closing() return setmetatable({}, { __close = function() world.out 'closed' end }) end
  world.yield, world.select, world.pcall, world.error, world.pairs = coroutine.yield, select, pcall, error, pairs
  world.tab = { x = { 1, 2, 3 }, fs = {}, m = function(_, n) return n end }
  return world
end

-- A local that has become an upvalue is called that by messages, and a function by where it is defined.
local function told(message)
  return (tostring(message):gsub("local '", "variable '"):gsub("upvalue '", "variable '"))
end

local function finish(lines, ok, ...)
  local list = { ok and 'returned' or 'failed' }
  for index = 1, select('#', ...) do
    local value = select(index, ...)
    list[#list + 1] = ok and shown(value) or told(value)
  end
  lines[#lines + 1] = table.concat(list, ' ')
  return lines
end

-- A script may go on for ever.
local function run(chunk)
  debug.sethook(function()
    debug.sethook()
    error({ refused = 'takes too long' }, 0)
  end, '', 1000000)
  local function pack(...)
    debug.sethook()
    return { n = select('#', ...), ... }
  end
  return pack(pcall(chunk, 'one', nil, 3))
end

local function plain(text)
  local lines = {}
  local chunk, message = load(script.text(text), '@script.lua', 't', new_world(lines))
  if not chunk then return { 'refused ' .. message } end
  local results = run(chunk)
  return finish(lines, unpack(results, 1, results.n))
end

--- A run of `texts[1]` that goes on with the next text at the place with the first of these numbers, of those that both
-- have, and so on. Returns what it did, or nil and why not, and how often it went on.
local function continued(texts, wanted)
  local lines, count, at = {}, 0, 1
  local host = {
    cut = core.cut,
    boundary = function(boundary)
      local now, later = texts[at], texts[at + 1]
      if not later or now:sub(1, boundary.used) ~= later:sub(1, boundary.used) then return end
      count = count + 1
      if count ~= wanted[at] then return end
      at, count = at + 1, 0
      return later
    end,
    refuse = function(reason) error({ refused = reason }, 0) end,
    stale = function() error 'stale' end,
    fail = function(message) error({ failed = message }, 0) end,
  }
  local chunk, reason = script.load(host, texts[1], '@script.lua', new_world(lines), texts[2])
  if not chunk then return nil, 'refused' end
  local results = run(chunk)
  local thrown = not results[1] and type(results[2]) == 'table' and results[2]
  if thrown and thrown.refused then return nil, thrown.refused end
  if thrown and thrown.failed then return { 'refused ' .. thrown.failed }, reason, at - 1 end
  return finish(lines, unpack(results, 1, results.n)), reason, at - 1
end

if is_jit then rawget(_G, 'jit').off() end -- what is compiled calls no hook

local seed, count = tonumber(arg[1]), tonumber(arg[2])
local done = { edits = 0, syntax = 0 }
local reasons = {}
for number = 1, count do
  state = (seed * 1000003 + number * 7919) % 2147483646 + 1
  local it = new_script()
  local first = text_of(it)
  local second = edited(it, first)
  local third = edited(it, chance(50) and second or first)
  for wanted = 1, 40 do
    local texts, places = { first, second, third }, { wanted, random(3) }
    local lines, reason, times = continued(texts, places)
    if not lines then
      reasons[reason] = (reasons[reason] or 0) + 1
      if os.getenv 'SHOW' == reason then print(second, '\n------', third) end
      if reason == 'refused' then break end
    else
      local expected = plain(texts[times + 1])
      if expected[1] and expected[1]:find '^refused' then done.syntax = done.syntax + 1 end
      done.edits = done.edits + times
      if table.concat(lines, '\n') ~= table.concat(expected, '\n') then
        print(('differs: seed %s, number %d, places %d and %d'):format(seed, number, places[1], places[2]))
        for index = 1, times + 1 do print('--- text ' .. index .. '\n' .. texts[index]) end
        print('--- ran\n' .. table.concat(lines, '\n') .. '\n--- expected\n' .. table.concat(expected, '\n'))
        os.exit(1)
      end
      -- There are no more places.
      if times == 0 then break end
    end
  end
end
local list = {}
for reason, times in pairs(reasons) do list[#list + 1] = ('%s: %d'):format(reason, times) end
table.sort(list)
print(('%d edits of %d scripts, %d of them to what cannot be loaded'):format(done.edits, count, done.syntax))
print(table.concat(list, '\n'))
