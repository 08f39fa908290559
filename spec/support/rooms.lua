--- How the source is laid out: which file imports which, and what is wrong with that.
--
-- A tree is a table of paths and texts, such as { ['src/lib.rs'] = 'mod sys;' }, so that one can be
-- made up. Rust is read as tokens and not as a grammar: enough for `use`, paths, `mod` and what is
-- for tests only. A room is a folder of src/, or a file of its own there; of Lua, the command and the rest.

local rooms = {}

--- From what a room may import, besides itself. A room that is not here is a fault.
rooms.ORDER = {
  { 'lib' },
  { 'lua', 'guard', 'supervisor', 'client', 'program', 'session', 'wire', 'files', 'report', 'json', 'sys' },
  { 'guard', 'session', 'sys' },
  { 'supervisor', 'session', 'wire', 'files', 'report', 'json', 'sys' },
  { 'client', 'session', 'wire', 'sys' },
  { 'program', 'session', 'wire', 'files', 'report', 'sys' },
  { 'session', 'wire', 'files', 'report', 'sys' },
  { 'wire', 'files', 'sys' },
  { 'files', 'sys' },
  { 'report', 'sys' },
  { 'json', 'sys' },
  { 'sys' },
  { 'lua/forkmon/cli', 'lua/forkmon' },
  { 'lua/forkmon' },
}

--- The most lines that a file in src/ has, those for tests aside.
rooms.MOST_LINES = 500

--- The tokens of a Rust text, without comments and literals: { text, line }.
local function tokens(text)
  local list, at, line = {}, 1, 1
  local function skip_to(last)
    local _, lines = text:sub(at, last):gsub('\n', '')
    line, at = line + lines, last + 1
  end
  local function last_of(pattern)
    return select(2, text:find('^' .. pattern, at))
  end
  while at <= #text do
    local hashes = text:match('^b?c?r(#*)"', at)
    if last_of '//' then
      skip_to(last_of '[^\n]*')
    elseif last_of '/%*' then
      skip_to(select(2, text:find('*/', at, true)) or #text)
    elseif hashes then
      skip_to(select(2, text:find('"' .. hashes, text:find('"', at, true) + 1, true)) or #text)
    elseif last_of '"' then
      local ending = at + 1
      while ending <= #text and text:sub(ending, ending) ~= '"' do
        ending = ending + (text:sub(ending, ending) == '\\' and 2 or 1)
      end
      skip_to(ending)
    elseif last_of "'\\.[^']*'" or last_of "'[^'\\]'" or last_of "'[\194-\244][\128-\191]+'" then
      skip_to(last_of "'\\.[^']*'" or last_of "'[^'\\]'" or last_of "'[\194-\244][\128-\191]+'")
    elseif last_of "'[%a_]" then
      skip_to(last_of "'[%w_]+")
    elseif last_of '%s+' then
      skip_to(last_of '%s+')
    else
      local last = last_of '[%w_]+' or last_of '::' or at
      list[#list + 1] = { text:sub(at, last), line }
      at = last + 1
    end
  end
  return list
end

--- The index of the token that closes the bracket at `at`.
local function closing(list, at)
  local pairs_of = { ['{'] = '}', ['('] = ')', ['['] = ']' }
  local open, close, depth = list[at][1], pairs_of[list[at][1]], 0
  for i = at, #list do
    if list[i][1] == open then depth = depth + 1 end
    if list[i][1] == close then depth = depth - 1 end
    if depth == 0 then return i end
  end
  return #list
end

--- The tokens that are not for tests only, and how many lines they leave.
local function without_tests(list, lines)
  local kept, i = {}, 1
  while i <= #list do
    local is_test = list[i][1] == '#' and list[i + 1] and list[i + 1][1] == '[' and list[i + 2][1] == 'cfg'
      and list[i + 4] and list[i + 4][1] == 'test'
    if is_test then
      local first = list[i][2]
      -- The item ends with its braces, or with a semicolon before any.
      while list[i] and list[i][1] ~= ';' and list[i][1] ~= '{' do
        local bracket = list[i][1] == '[' or list[i][1] == '('
        i = (bracket and closing(list, i) or i) + 1
      end
      if not list[i] then break end
      if list[i][1] == '{' then i = closing(list, i) end
      lines = lines - (list[i][2] - first + 1)
    else
      kept[#kept + 1] = list[i]
    end
    i = i + 1
  end
  return kept, lines
end

--- The module that a file in src/ is, as a list of names.
local function module_of(path)
  local names = {}
  for name in path:gsub('^src/', ''):gsub('%.rs$', ''):gmatch '[^/]+' do names[#names + 1] = name end
  if names[#names] == 'mod' or (names[#names] == 'lib' and #names == 1) then names[#names] = nil end
  return names
end

--- Adds the paths that a `use` names, from `at` on; returns the index after it.
local function use_tree(list, at, before, add)
  local names = {}
  for _, name in ipairs(before) do names[#names + 1] = name end
  while list[at] do
    local token = list[at][1]
    if token == '{' then
      local ending = closing(list, at)
      at = at + 1
      while at < ending do
        at = use_tree(list, at, names, add)
        if list[at][1] == ',' then at = at + 1 end
      end
      return ending + 1
    elseif token == ',' or token == ';' or token == '}' then
      break
    elseif token == 'as' then
      at = at + 2
    else
      if token ~= '::' and token ~= '*' and token ~= '$' then names[#names + 1] = token end
      at = at + 1
    end
  end
  add(names)
  return at
end

--- What a Rust file says: the paths that it names (with the modules that `super` leaves), its
--- lines, and the lines with `unsafe`.
local function read_rust(path, text)
  local list, lines = without_tests(tokens(text), select(2, text:gsub('\n', '')))
  local own, children, inline, unsafe, named = module_of(path), {}, {}, {}, {}
  for i, token in ipairs(list) do
    if token[1] == 'mod' and list[i + 2] and list[i + 2][1] == ';' then children[list[i + 1][1]] = true end
  end

  local depth = 0
  local function add(names)
    local from = {}
    if children[names[1]] or names[1] == 'super' or names[1] == 'self' then
      for _, name in ipairs(own) do from[#from + 1] = name end
      for _ in ipairs(inline) do from[#from + 1] = '' end
    elseif names[1] ~= 'crate' then
      return
    end
    for _, name in ipairs(names) do
      if name == 'super' then
        from[#from] = nil
      elseif name ~= 'crate' and name ~= 'self' then
        from[#from + 1] = name
      end
    end
    named[#named + 1] = from
  end

  local i = 1
  while i <= #list do
    local token, next_token = list[i][1], list[i + 1] and list[i + 1][1]
    local previous = i > 1 and list[i - 1][1]
    if token == 'unsafe' then unsafe[#unsafe + 1] = list[i][2] end
    if token == '{' then
      depth = depth + 1
      local name = list[i - 1] and list[i - 2] and list[i - 2][1] == '$' and i - 3 or i - 2
      if list[name] and list[name][1] == 'mod' then inline[#inline + 1] = depth end
    elseif token == '}' then
      if inline[#inline] == depth then inline[#inline] = nil end
      depth = depth - 1
    end
    if token == 'use' then
      i = use_tree(list, i + 1, {}, add)
    elseif next_token == '::' and previous ~= '::' and token:find '^[%a_]' then
      local names = { token }
      i = i + 1
      while list[i] and list[i][1] == '::' and list[i + 1][1]:find '^[%a_]' do
        names[#names + 1] = list[i + 1][1]
        i = i + 2
      end
      add(names)
    else
      i = i + 1
    end
  end
  return named, lines, unsafe
end

--- The file in which a module is, or the nearest one above it.
local function file_of(tree, names)
  for last = #names, 1, -1 do
    local path = 'src/' .. table.concat(names, '/', 1, last)
    if tree[path .. '.rs'] then return path .. '.rs' end
    if tree[path .. '/mod.rs'] then return path .. '/mod.rs' end
  end
  return 'src/lib.rs'
end

--- The modules of forkmon that a Lua text requires.
local function read_lua(text)
  local names = {}
  for name in text:gmatch [=[require[%s(,]*['"](forkmon[%w_.]*)['"]]=] do
    -- The core is not of Lua.
    if name ~= 'forkmon.core' then names[#names + 1] = name end
  end
  return names
end

--- The room that a file is in.
function rooms.room(path)
  if path:find '^lua/' then return path:find '^lua/forkmon/cli/' and 'lua/forkmon/cli' or 'lua/forkmon' end
  return path:match '^src/([^/]+)/' or path:match '^src/(.*)%.rs$'
end

--- Reads the files of src/ and lua/ below a folder.
function rooms.read(root)
  local tree = {}
  local pipe = assert(io.popen(("cd '%s' && find src lua -name '*.rs' -o -name '*.lua'"):format(root)))
  for path in pipe:lines() do
    local file = assert(io.open(root .. '/' .. path, 'rb'))
    tree[path] = file:read '*a'
    file:close()
  end
  pipe:close()
  return tree
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The circles of a graph, each once, as lines.
local function circles(graph, what)
  local found, state = {}, {}
  local function visit(node, way)
    way[#way + 1] = node
    if state[node] == 'on the way' then
      local first = 1
      while way[first] ~= node do first = first + 1 end
      found[#found + 1] = ('%s in a circle: %s'):format(what, table.concat(way, ' > ', first))
    elseif not state[node] then
      state[node] = 'on the way'
      for _, name in ipairs(sorted(graph[node] or {})) do visit(name, way) end
      state[node] = 'done'
    end
    way[#way] = nil
  end
  for _, node in ipairs(sorted(graph)) do visit(node, {}) end
  return found
end

--- Which file imports which, and which room which: { files = { path = { path = true } }, rooms =
--- …, faults = { … } }. The faults are lines, in order.
function rooms.look(tree)
  local faults, files, between = {}, {}, {}
  local function fault(...)
    faults[#faults + 1] = (...):format(select(2, ...))
  end

  local may = {}
  for _, allowed in ipairs(rooms.ORDER) do
    may[allowed[1]] = {}
    for i = 2, #allowed do may[allowed[1]][allowed[i]] = true end
  end

  for _, path in ipairs(sorted(tree)) do
    files[path] = {}
    between[rooms.room(path)] = between[rooms.room(path)] or {}
    if path:find '%.lua$' then
      for _, name in ipairs(read_lua(tree[path])) do
        local wanted, found = 'lua/' .. name:gsub('%.', '/'), false
        for other in pairs(tree) do
          -- What ends in a dot is put together: any file of that folder.
          if other == wanted .. '.lua' or name:find '%.$' and other:sub(1, #wanted) == wanted then
            files[path][other], found = true, true
          end
        end
        if not found then fault('%s requires %s, which is not there', path, name) end
      end
    elseif not path:find '/tests%.rs$' then
      local named, lines, unsafe = read_rust(path, tree[path])
      for _, names in ipairs(named) do
        local other = file_of(tree, names)
        if other ~= path then files[path][other] = true end
      end
      if lines > rooms.MOST_LINES then fault('%s has %d lines, tests aside', path, lines) end
      if rooms.room(path) ~= 'sys' then
        for _, line in ipairs(unsafe) do fault('%s:%d: unsafe outside of src/sys', path, line) end
      end
    end
  end

  for path, others in pairs(files) do
    local room = rooms.room(path)
    for other in pairs(others) do
      local its = rooms.room(other)
      if its ~= room then
        between[room][its] = true
        if not (may[room] and may[room][its]) then fault('%s imports %s, against the order', path, other) end
      end
    end
  end
  for room in pairs(between) do
    if not may[room] then fault('%s is not in the order of the rooms', room) end
  end

  for _, circle in ipairs(circles(files, 'files')) do faults[#faults + 1] = circle end
  for _, circle in ipairs(circles(between, 'rooms')) do faults[#faults + 1] = circle end
  table.sort(faults)
  return { files = files, rooms = between, faults = faults }
end

--- The imports between rooms as lines, in the order of the rooms.
function rooms.lines(seen)
  local lines = {}
  for _, allowed in ipairs(rooms.ORDER) do
    local others = seen.rooms[allowed[1]]
    if others then
      local named = {}
      for i = 2, #allowed do
        if others[allowed[i]] then named[#named + 1] = allowed[i] end
      end
      lines[#lines + 1] = ('%-16s %s'):format(allowed[1], #named > 0 and table.concat(named, ' ') or '-')
    end
  end
  return lines
end

return rooms
