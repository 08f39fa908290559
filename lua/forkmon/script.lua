--- Scripts that go on with another text: from a place between two statements of their top level.
--
-- A script is loaded as a whole, with a question put behind those of its statements that may take time: has the text
-- changed from here on? Nobody but `debug` can tell: lines, levels and locals are those of the text as it stands, and
-- the question is one call. When the text has changed, what comes behind the place is loaded as a chunk of the same
-- name: blank lines first, so that its lines are right, then a declaration of the locals that are known there, with
-- their values, then the rest. The running chunk hands on to it by a tail call, with its own arguments.
--
-- A local is another variable then. That matters where functions have the old one and somebody assigns it, now or
-- later: such a local is *shared*, and becomes an upvalue of the new chunk, joined to that of the functions. Lua 5.1
-- cannot do that; there, and wherever else the new chunk would not be exact, the caller is told, who goes back further.
--
-- What the questions and the new chunk need of us is a local of the script that is declared before all others. Its
-- value comes from the chunk's environment, which is one of ours until then.

local byte, find, format, gsub, rep, sub = string.byte, string.find, string.format, string.gsub, string.rep, string.sub
local floor = math.floor
local concat, sort = table.concat, table.sort
local error, ipairs, rawget, select, type = error, ipairs, rawget, select, type
local getlocal, getupvalue, setupvalue, join = debug.getlocal, debug.getupvalue, debug.setupvalue, debug.upvaluejoin
local load, loadstring, getfenv, setfenv = load, rawget(_G, 'loadstring'), rawget(_G, 'getfenv'), rawget(_G, 'setfenv')
local unpack = rawget(table, 'unpack') or rawget(_G, 'unpack')
local globals, is_luajit = _G, rawget(_G, 'jit') ~= nil
local marks_order = _VERSION ~= 'Lua 5.1' or is_luajit

local script = {}

--- The local of ours. A text that has the name is left whole.
local NAME = '_FORKMON'

-- Upvalues that one function may have; LuaJIT and 5.1 take 60.
local MOST_UPVALUES = 50

---@class forkmon.Boundary
---@field offset integer bytes before it
---@field used integer bytes of the file that must stay as they are for this to remain a boundary, as far as that can
--- be known: the next one too, where there is one, as `x = 1` might become `x = 10`
---@field is_fence boolean it is the last one before what was edited, so the next edit is likely to be right behind it

---@class forkmon.ScriptHost what a script needs of who runs it
---@field cut fun(text: string, offset: integer, is_open: boolean, names: string[]): table|nil, string|nil the core's
---@field boundary fun(boundary: forkmon.Boundary): string|nil the script is at a boundary; returns the file's new
--- content when the script is to go on with that, else nothing
---@field refuse fun(reason: string) the script cannot go on exactly with the new text; must not return
---@field stale fun() what is before the boundary is another in the new text; must not return
---@field fail fun(message: string) the new text has a syntax error, or the like of it: the message is that of the
--- plain loader. Must not return.

--- The text in a file, as the loader reads it: without a first line for the shell, or a mark of the byte order, which
--- leave blanks behind so that all offsets stay.
---@param content string
---@return string|nil text nil when it is no text but compiled
function script.text(content)
  local start = 1
  if marks_order and sub(content, 1, 3) == '\239\187\191' then start = 4 end
  local first = byte(content, start)
  if first == 27 then return nil end
  local last = start - 1
  if first == 35 then -- '#'
    last = (find(content, '\n', start, true) or #content + 1) - 1
    if byte(content, last + 2) == 27 then return nil end
  end
  if last == 0 then return content end
  return rep(' ', last) .. sub(content, last + 1)
end

--- Loads a text as plain Lua does.
local function load_plain(text, name, environment)
  if setfenv then
    local chunk, message = loadstring(text, name)
    if chunk and environment then setfenv(chunk, environment) end
    return chunk, message
  end
  return load(text, name, 't', environment or globals)
end

--- Where a function has the upvalue with a name.
local function upvalue(chunk, wanted)
  for index = 1, 255 do
    local name = getupvalue(chunk, index)
    if not name or name == wanted then return name and index end
  end
end

-- What a main chunk may look at itself with, besides what tells the line it is at.
local LOOKS = { 'getlocal', 'setlocal', 'getupvalue', 'setupvalue', 'upvalueid', 'upvaluejoin', 'sethook', 'getfenv',
  'setfenv' }

--- By which of these names a text may do so.
local function looks_at(text)
  for _, name in ipairs(LOOKS) do
    if find(text, name, 1, true) then return name end
  end
end

--- How many bytes two texts have in common at their beginning.
local function common(one, other)
  local low, high = 0, #one < #other and #one or #other
  while low < high do
    local middle = high - floor((high - low) / 2)
    if sub(one, 1, middle) == sub(other, 1, middle) then low = middle else high = middle - 1 end
  end
  return low
end

-- Everything about a chunk that is loaded to be changed while it runs:
-- host, name          see script.load
-- chunk               the function
-- text, found         the text, and what the core found in it
-- edited_at           how many bytes it has in common with the text before it
-- kept                what its predecessors' locals held, which a plain run would keep alive, too
-- getters             by variable: the function and the index of the upvalue that is this local
-- origins             by name: the variables (of texts before) that are known where the chunk begins

--- Gives a chunk's environment to another, for good: what is assigned to `_ENV` counts for both.
local function share_environment(from, to)
  if setfenv then return setfenv(to, getfenv(from)) end
  local theirs = upvalue(to, '_ENV')
  if theirs then join(to, theirs, from, upvalue(from, '_ENV')) end
end

--- The functions that have the locals in a list, one for each so many.
local function getters_of(names)
  local functions = {}
  for first = 1, #names, MOST_UPVALUES do
    local list = concat(names, ',', first, first + MOST_UPVALUES - 1 < #names and first + MOST_UPVALUES - 1 or #names)
    functions[#functions + 1] = format(',function()return %s end', list)
  end
  return concat(functions)
end

--- Whether a variable is what its name stands for at an offset.
local function is_known(variable, offset)
  return variable.from <= offset and (not variable.to or variable.to > offset)
end

--- Whether a variable was known where the chunk begins.
local function is_given(state, variable)
  return state.found.given[variable.name] == variable
end

--- Puts the questions into a text, from an offset on.
local function with_questions(state, text, from)
  local found, pieces, last = state.found, {}, from
  local captured = {}
  for number, variable in ipairs(found.variables) do
    variable.number, variable.when = number, variable.constant and variable.from or variable.captured
    -- What a constant that came with the place is, is known.
    if variable.when and not (variable.constant and is_given(state, variable)) then
      captured[#captured + 1] = variable
    end
  end
  sort(captured, function(one, other)
    if one.when ~= other.when then return one.when < other.when end
    return one.number < other.number
  end)
  local next_captured = 1
  for index, offset in ipairs(found.offsets) do
    local names, constants = {}, {}
    while captured[next_captured] and captured[next_captured].when <= offset do
      local variable = captured[next_captured]
      local origin = state.origins[variable.name]
      local is_outside = origin and is_given(state, variable) and origin.is_outside
      if is_known(variable, offset) and not is_outside then
        if variable.constant then
          -- One function for each: those that the compiler has replaced by their value are no upvalue of it.
          constants[#constants + 1] = format(',function()return %s end', variable.name)
        else
          names[#names + 1] = variable.name
        end
      end
      next_captured = next_captured + 1
    end
    pieces[#pieces + 1] = sub(text, last + 1, offset)
    pieces[#pieces + 1] = format(' if %s(%d%s%s)then return %s()(...)end ', NAME, index, concat(constants),
      getters_of(names), NAME)
    last = offset
  end
  pieces[#pieces + 1] = sub(text, last + 1)
  return concat(pieces)
end

--- A value that the compiler took for a constant, as it can be written.
local function literal(value)
  if type(value) == 'number' and value ~= value then return '0/0' end
  if value == math.huge then return '1e999' end
  if value == -math.huge then return '-1e999' end
  return (gsub(format('%q', value), '\\\n', '\\n'))
end

local new_chunk

--- Loads the rest of a new text behind a boundary of the running chunk, which is `level` levels above.
local function continue(state, index, content, level)
  local host, found = state.host, state.found
  local offset, line = found.offsets[index], found.lines[index]
  local function refuse(reason)
    host.refuse(reason)
    error('forkmon.script: refused, and yet asked to go on: ' .. reason)
  end
  local text = script.text(content)
  if not text then return refuse 'it is compiled now' end
  -- What a plain run could not load is told in its words, whatever of that lies where.
  local whole, wrong = load_plain(text, state.name)
  if not whole then return host.fail(wrong) end
  local used = offset < #state.text and offset + 1 or offset
  local shared = common(state.text, text)
  if shared < used then
    host.stale()
    error 'forkmon.script: stale, and yet asked to go on'
  end
  if find(text, NAME, 1, true) then return refuse('it mentions ' .. NAME) end

  -- The values of the locals, the later of one name last.
  local values, held = {}, {}
  for slot = 1, 255 do
    local name, value = getlocal(level + 1, slot)
    if not name then break end
    held[slot] = value
    if byte(name) ~= 40 then values[name] = { value } end -- '('
  end

  local known, names = {}, {}
  for _, variable in ipairs(found.variables) do
    if is_known(variable, offset) then
      known[#known + 1] = variable
      names[#names + 1] = variable.name
    end
  end
  local rest, reason = host.cut(text, offset, found.open[index], names)
  if not rest then return refuse(reason) end

  local origins, locals, constants, upvalues = {}, {}, {}, {}
  local given = {}
  for number, variable in ipairs(known) do
    local name, later = variable.name, rest.variables[number]
    given[name] = later
    -- What was before may have been found in a text before.
    local before = found.given[name] == variable and state.origins[name] or nil
    local origin = {
      name = name,
      constant = before and before.constant or variable.constant,
      constant_value = before and before.constant_value,
      is_captured = before and before.is_captured or variable.captured and variable.captured < offset,
      is_assigned_inside = before and before.is_assigned_inside
        or variable.assigned_inside and variable.assigned_inside < offset,
      is_variable = before and before.is_outside and before.is_variable or not (before and before.is_outside)
        and variable.assigned ~= nil,
      is_split = before and before.is_split,
      getter = before and before.is_outside and before.getter or state.getters[variable],
    }
    origins[name] = origin
    if origin.constant then
      later.constant = true
      constants[#constants + 1] = origin
    elseif origin.is_captured then
      local is_shared = origin.is_assigned_inside or later.assigned
      if is_shared and origin.is_split then return refuse(format("'%s' is shared", name)) end
      if not origin.getter then return refuse(format("'%s' cannot be reached", name)) end
      if not later.mentioned then
        origin.is_outside = true
      elseif is_shared then
        if not join then return refuse(format("'%s' is shared", name)) end
        -- LuaJIT compiles a variable that nobody assigns as if it were its value.
        if is_luajit and not origin.is_variable then return refuse(format("'%s' is assigned now", name)) end
        origin.is_outside = true
        upvalues[#upvalues + 1] = origin
      else
        origin.is_split = true
        locals[#locals + 1] = origin
      end
    else
      locals[#locals + 1] = origin
    end
  end

  local head, results = {}, {}
  local declarations = {}
  for _, declared in ipairs(state.globals) do declarations[#declarations + 1] = declared end
  for _, declared in ipairs(found.globals) do
    if declared.from <= offset then declarations[#declarations + 1] = declared.declaration end
  end
  for _, declared in ipairs(declarations) do head[#head + 1] = declared .. ' ' end
  if #locals > 0 then
    local list = {}
    for place, origin in ipairs(locals) do
      list[place] = origin.name
      local value = values[origin.name]
      -- It may have been none of this chunk, as only functions had a use for it.
      if not value then value = { select(2, getupvalue(origin.getter[1], origin.getter[2])) } end
      results[place] = value[1]
    end
    head[#head + 1] = format('local %s=%s(0); ', concat(list, ','), NAME)
  end
  local constant_values, given_constants = {}, 0
  for _, origin in ipairs(constants) do
    local value = origin.constant_value
    if not value then
      local getter = state.constants[origin.name]
      if not getter then return refuse(format("'%s' cannot be reached", origin.name)) end
      value = { getter = getter, is_literal = getupvalue(getter, 1) ~= origin.name, getter() }
    end
    origin.constant_value = value
    if value.is_literal then
      head[#head + 1] = format('local %s <const> = %s; ', origin.name, literal(value[1]))
    else
      given_constants = given_constants + 1
      constant_values[given_constants] = value[1]
      head[#head + 1] = format('local %s <const> = %s(0,%d); ', origin.name, NAME, given_constants)
    end
  end

  local later = {
    host = host, name = state.name, text = text, edited_at = shared, found = rest, origins = origins,
    globals = declarations, constants = {},
    kept = { held, state.kept },
  }
  rest.given = given
  later.results = function(place)
    if place then return constant_values[place] end
    return unpack(results, 1, #locals)
  end
  return new_chunk(later, text, offset, line, concat(head), upvalues, state.chunk)
    or refuse 'its rest cannot be loaded by itself'
end

--- The function that a chunk has as `_FORKMON`. Called without arguments when the chunk begins, and to get the chunk
-- that it hands on to; with 0 for the locals that are declared before a rest; else at a boundary, with functions that
-- have those of the constants and captured locals that are new since the last one.
local function questioner(state, begin)
  local following
  local question

  local function remember(index, ...)
    local offset = state.found.offsets[index]
    local by_name = {}
    for _, variable in ipairs(state.found.variables) do
      if is_known(variable, offset) then by_name[variable.name] = variable end
    end
    local constants = select('#', ...) > 0 and state.order[index] or {}
    for place = 1, select('#', ...) do
      local getter = select(place, ...)
      if constants[place] then
        state.constants[constants[place]] = getter
      else
        for number = 1, MOST_UPVALUES do
          local name = getupvalue(getter, number)
          if not name then break end
          if by_name[name] then state.getters[by_name[name]] = { getter, number } end
        end
      end
    end
  end

  function question(index, ...)
    if not index then
      if following then return following end
      begin()
      return question
    elseif index == 0 then
      return state.results(...)
    end
    if ... then remember(index, ...) end
    local found = state.found
    local offset = found.offsets[index]
    local content = state.host.boundary {
      offset = offset, used = offset < #state.text and offset + 1 or offset, is_fence = index == state.fence,
    }
    if not content then return false end
    following = continue(state, index, content, 2)
    return true
  end

  return question
end

--- Which constants each question tells of, in order.
local function order_of(state)
  local order = {}
  local offsets = state.found.offsets
  for _, variable in ipairs(state.found.variables) do
    if variable.constant and variable.from then
      for index, offset in ipairs(offsets) do
        if offset >= variable.from then
          if is_known(variable, offset) and not is_given(state, variable) then
            order[index] = order[index] or {}
            order[index][#order[index] + 1] = variable.name
          end
          break
        end
      end
    end
  end
  return order
end

--- Loads a text with questions in it: all of it, or what is behind an offset, then with a head, upvalues that are
--- joined, and the environment of the chunk before.
function new_chunk(state, text, offset, line, head, upvalues, before)
  state.getters = state.getters or {}
  for index, boundary in ipairs(state.found.offsets) do
    if state.edited_at and boundary < state.edited_at then state.fence = index end
  end
  state.order = order_of(state)
  local body = with_questions(state, text, offset)
  local blank = rep('\n', line - 1)
  if upvalues and #upvalues > 0 then
    local list = { NAME }
    for place, origin in ipairs(upvalues) do list[place + 1] = origin.name end
    local maker, message = load_plain(
      format('%slocal %s return function(...)%s', blank, concat(list, ','), head) .. body .. '\nend', state.name)
    if not maker then return nil, message end
    local chunk = maker()
    state.chunk = chunk
    share_environment(before, chunk)
    -- It has those that it has a use for.
    local own = upvalue(chunk, NAME)
    if own then setupvalue(chunk, own, (questioner(state, function() end))) end
    for _, origin in ipairs(upvalues) do
      local index = upvalue(chunk, origin.name)
      if index then join(chunk, index, origin.getter[1], origin.getter[2]) end
    end
    return chunk
  end

  local chunk, message
  local private = {}
  private[NAME] = questioner(state, function()
    if before then return share_environment(before, chunk) end
    local environment = state.environment
    if setfenv then return setfenv(chunk, environment or getfenv(0)) end
    setupvalue(chunk, 1, environment or globals)
  end)
  local source = format('%slocal %s=%s(); %s', blank, NAME, NAME, head) .. body
  chunk, message = load_plain(source, state.name, private)
  state.chunk = chunk
  return chunk, message
end

--- Loads a script so that it can go on with another text. Where there is nothing to be won, or it could not be exact,
--- it is loaded as always.
---@param host forkmon.ScriptHost
---@param content string what is in the file
---@param name string the name of the chunk, as '@main.lua'
---@param environment table|nil the global one when nil
---@param former string|nil what was in the file before, if that is known
---@return function|nil chunk
---@return string|nil message the plain loader's when there is no chunk; else why it can only be run as a whole
function script.load(host, content, name, environment, former)
  local text = script.text(content)
  if not text then
    if setfenv then return loadstring(content, name) end
    return load(content, name, 'bt', environment or globals)
  end
  local found, reason
  local looks = looks_at(text)
  if find(text, NAME, 1, true) then
    reason = 'it mentions ' .. NAME
  elseif looks then
    reason = 'it mentions ' .. looks
  else
    found, reason = host.cut(text, 0, false, {})
    if found and #found.offsets == 0 then found, reason = nil, 'nothing in it takes time' end
  end
  local chunk, message = load_plain(text, name, environment)
  if not chunk then return nil, message end
  if found then
    found.given = {}
    local state = {
      host = host, name = name, text = text, found = found, environment = environment, origins = {}, globals = {},
      constants = {},
    }
    former = former and script.text(former)
    if former then state.edited_at = common(former, text) end
    local asking = new_chunk(state, text, 0, 1, '')
    if asking then return asking end
    reason = 'there is no room for questions in it'
  end
  return chunk, reason
end

return script
