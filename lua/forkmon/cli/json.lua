--- Writes JSON.

local text = require 'forkmon.cli.text'

local byte, floor, format, gsub = string.byte, math.floor, string.format, string.gsub
local concat, sort = table.concat, table.sort
local ipairs, next, pairs, tostring, type = ipairs, next, pairs, tostring, type

local json = {}

local escapes = { ['"'] = '\\"', ['\\'] = '\\\\', ['\n'] = '\\n', ['\t'] = '\\t' }

local function escape(character)
  return escapes[character] or format('\\u%04x', byte(character))
end

-- As Python's surrogateescape reads it: file names need not be UTF-8.
local function lone(number) return format('\\udc%02x', number) end

local function quote(bytes)
  return '"' .. text.mend(gsub(bytes, '[%c"\\\127]', escape), lone) .. '"'
end

--- A value as JSON text. A table is a list unless it has named fields, which come in the order of their names.
---@param value any
---@return string
function json.encode(value)
  if type(value) == 'string' then return quote(value) end
  if type(value) == 'number' then return format(floor(value) == value and '%d' or '%.14g', value) end
  if type(value) ~= 'table' then return tostring(value) end
  local items = {}
  if value[1] ~= nil or next(value) == nil then
    for index, item in ipairs(value) do items[index] = json.encode(item) end
    return '[' .. concat(items, ',') .. ']'
  end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  sort(names)
  for index, name in ipairs(names) do items[index] = quote(name) .. ':' .. json.encode(value[name]) end
  return '{' .. concat(items, ',') .. '}'
end

return json
