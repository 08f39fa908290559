--- docs/architecture.md: what it says of files, functions and figures is so.

local rooms = require 'spec.support.rooms'

--- Constants that are no figures: what is the kernel's or another's, follows from others, or is a name for a number.
local NO_FIGURES = {
  ATOMIC = true, INFO = true, ENTRY = true, ORDER_RESUME = true, ORDER_SPARE = true, CANNOT_RUN = true,
  DEPENDENCIES = true, PROTOCOL = true, LIST_HEAD = true, MAIL_BYTES = true, LONGEST_PATH = true, LONGEST_NAME = true,
  ALL = true, SEPARATOR = true, MARK = true, MAX_UPVALUES = true, VERSION = true,
}

--- A figure in its own unit: nanoseconds, bytes, or one.
local UNITS = { ns = 1, ['µs'] = 1e3, ms = 1e6, s = 1e9, KiB = 1024, MiB = 1024 * 1024 }
local DURATIONS = { from_nanos = 1, from_micros = 1e3, from_millis = 1e6, from_secs = 1e9 }

local function number(expression)
  expression = expression:gsub('(%d)_(%d)', '%1%2'):gsub('(%d+) << (%d+)', '%1 * 2 ^ %2')
  local chunk = not expression:find '[^%d%s%.%*%^%+%-/]' and (loadstring or load)('return ' .. expression)
  return chunk and chunk()
end

--- The value of a constant, and whether it is a time; nil for what is no number.
local function value(expression)
  local unit, inner = expression:match '^Duration::(from_%l+)%((.*)%)$'
  if unit then return number(inner) * DURATIONS[unit], true end
  return number(expression), false
end

--- What the table says of one, likewise. A plain number of milliseconds is one in the code, too.
local function told(text, is_time)
  local figure, unit = text:match '^([%d.]+)%s*(%S*)$'
  local scale = UNITS[unit]
  if scale and not is_time and unit:find 's$' then scale = 1 end
  return tonumber(figure) * (scale or 1)
end

--- The constants of a tree with a number: path .. ' ' .. name -> { value, is_time }.
local function constants(tree)
  local found = {}
  for path, text in pairs(tree) do
    if path:find '%.rs$' and not path:find '^src/sys/slots/' then
      text = text:gsub('#%[cfg%(test%)%]\n[%l%s()]*mod tests {.*', '')
      for name, expression in text:gmatch '\n[%l() ]-const ([%u_]+): [%w:]+ =%s+([^;]+);' do
        local amount, is_time = value(expression)
        if amount and not NO_FIGURES[name] then found[path .. ' ' .. name] = { amount, is_time } end
      end
    elseif path:find '%.lua$' then
      for name, expression in text:gmatch '\nlocal ([%u_]+) = ([^\n]+)' do
        local amount = value(expression)
        if amount then found[path .. ' ' .. name] = { amount, false } end
      end
    end
  end
  return found
end

--- What the table of figures and the code do not agree on, in order.
local function differences(document, tree)
  local found, list = constants(tree), {}
  for name, text, path in document:gmatch '\n| `([%u_]+)` | ([^|]-) | `([^`]+)` |' do
    local known = found[path .. ' ' .. name]
    if not known then
      list[#list + 1] = ('%s is not in %s'):format(name, path)
    elseif math.abs(known[1] - told(text, known[2])) > 1e-9 then
      list[#list + 1] = ('%s in %s is not %s'):format(name, path, text)
    end
    found[path .. ' ' .. name] = nil
  end
  for key in pairs(found) do
    -- Positions in a drawing need no explanation.
    if not key:find 'picture.lua TOP$' then list[#list + 1] = key .. ' is not in the table' end
  end
  table.sort(list)
  return list
end

--- The rows of the two ways: { room, path, name }.
local function steps(document)
  local list, room = {}, nil
  for its, path, name in document:gmatch '\n| %d+ | ([^|]-) ?| `([^`]+)` | `([%w_]+)` |' do
    room = its ~= '' and its or room
    list[#list + 1] = { room, path, name }
  end
  return list
end

local function exists(path)
  local file = io.open(path, 'rb')
  if file then file:close() end
  return file ~= nil
end

describe('docs/architecture.md', function()
  local document, tree

  setup(function()
    local file = assert(io.open('docs/architecture.md', 'rb'))
    document = file:read '*a'
    file:close()
    tree = rooms.read '.'
  end)

  it('has every figure of the code, with its value', function()
    assert.same({}, differences(document, tree))
  end)

  it('would be found to have another one', function()
    local made_up = {
      ['src/a.rs'] = '\nconst A: Duration = Duration::from_millis(5);\npub const B: usize = 24 << 20;\n'
        .. 'const C: u32 = 7;\nconst D: f64 = 1.5;\nconst E: &str = "5";\nconst F: u16 = 100;\n'
        .. '#[cfg(test)]\nmod tests {\n\nconst G: u8 = 1;',
      ['lua/forkmon/b.lua'] = '\nlocal H = 2 ^ 4 - 1\nlocal I, J = 1, 2\n',
    }
    local function row(name, text, path) return ('\n| `%s` | %s | `%s` | x |'):format(name, text, path) end
    local right = row('A', '5 ms', 'src/a.rs') .. row('B', '24 MiB', 'src/a.rs') .. row('C', '7 files', 'src/a.rs')
      .. row('D', '1.5', 'src/a.rs') .. row('F', '100 ms', 'src/a.rs') .. row('H', '15', 'lua/forkmon/b.lua')
    assert.same({}, differences(right, made_up))
    local wrong = row('A', '5 s', 'src/a.rs') .. row('B', '24 KiB', 'src/a.rs') .. row('C', '8 files', 'src/a.rs')
      .. row('D', '1.4', 'src/a.rs') .. row('F', '99 ms', 'src/a.rs') .. row('K', '1', 'src/a.rs')
    assert.same({
      'A in src/a.rs is not 5 s', 'B in src/a.rs is not 24 KiB', 'C in src/a.rs is not 8 files',
      'D in src/a.rs is not 1.4', 'F in src/a.rs is not 99 ms', 'K is not in src/a.rs',
      'lua/forkmon/b.lua H is not in the table',
    }, differences(wrong, made_up))
  end)

  it('names the functions of the two ways, in their rooms', function()
    local list = steps(document)
    assert.equal(40, #list)
    for _, step in ipairs(list) do
      local room, path, name = step[1], step[2], step[3]
      local text = assert(tree[path], path)
      assert.equal(room, rooms.room(path), path)
      assert.truthy(text:find('fn ' .. name .. '[<(]') or text:find('function ' .. name .. '%('), path .. ': ' .. name)
    end
  end)

  it('names files and folders that are there', function()
    local count = 0
    for path in document:gmatch '`([%l_]+/[%w_/.]*)`' do
      count = count + 1
      assert.truthy(exists(path), path)
    end
    assert.truthy(count > 60, count)
  end)

  it('says of every file in which room it is', function()
    local named = {}
    for places, text in document:gmatch '\n| (`[%l]+/[^|]-) | ([^|]-) |' do
      for place in places:gmatch '`([^`]+)`' do
        named[place] = true
        if place:find '/$' then
          for name in text:gmatch '`([%l_]+)`' do named[place .. name] = true end
        end
      end
    end
    for path in pairs(tree) do
      local folder, name = path:match '^(.*/)([^/]+)%.%w+$'
      local parent, inner = folder:match '^(.*/)([^/]+)/$'
      local is_named = named[path] or named[folder .. name] or parent and named[parent .. inner]
      if path ~= 'src/lib.rs' and name ~= 'mod' and not path:find '^src/sys/' then assert.truthy(is_named, path) end
    end
    for place in pairs(named) do
      if place:find '^src/' or place:find '^lua/' then
        local found = exists(place) or exists(place .. '.rs') or exists(place .. '.lua')
        assert.truthy(found, place)
      end
    end
  end)
end)
