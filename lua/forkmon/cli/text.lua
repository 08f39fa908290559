--- Text for people: bytes made printable, cut to a width, broken into lines; numbers with units.
--
-- File names are bytes, and what a terminal or a picture shows is UTF-8. Widths are counted in characters.

local byte, find, format, gmatch, gsub, lower, rep, sub =
  string.byte, string.find, string.format, string.gmatch, string.gsub, string.lower, string.rep, string.sub
local concat = table.concat

local text = {}

-- The well-formed sequences of UTF-8 that are longer than a byte.
local sequences = {
  '^[\194-\223][\128-\191]',
  '^\224[\160-\191][\128-\191]',
  '^[\225-\236\238\239][\128-\191][\128-\191]',
  '^\237[\128-\159][\128-\191]',
  '^\240[\144-\191][\128-\191][\128-\191]',
  '^[\241-\243][\128-\191][\128-\191][\128-\191]',
  '^\244[\128-\143][\128-\191][\128-\191]',
}

local function sequence_end(bytes, position)
  for index = 1, #sequences do
    local _, last = find(bytes, sequences[index], position)
    if last then return last end
  end
end

--- Replaces each byte that is no part of UTF-8.
---@param bytes string
---@param replacement fun(byte: integer): string
---@return string
function text.mend(bytes, replacement)
  return (gsub(bytes, '[\128-\255]+', function(run)
    local pieces, position = {}, 1
    while position <= #run do
      local last = sequence_end(run, position)
      pieces[#pieces + 1] = last and sub(run, position, last) or replacement(byte(run, position))
      position = (last or position) + 1
    end
    return concat(pieces)
  end))
end

local function unknown() return '\239\191\189' end -- U+FFFD, the replacement character

--- Text that cannot do anything to a terminal and is valid UTF-8, or plain ASCII where that is all it shows.
---@param bytes string
---@param ascii boolean|nil
---@return string
function text.printable(bytes, ascii)
  bytes = gsub(bytes, '%c', '?')
  bytes = text.mend(bytes, unknown)
  -- The controls from U+0080 to U+009F.
  bytes = gsub(bytes, '\194[\128-\159]', '?')
  if ascii then bytes = gsub(bytes, '[\194-\244][\128-\191]*', '?') end
  return bytes
end

--- Number of characters.
---@param line string valid UTF-8
---@return integer
function text.width(line)
  local _, continuations = gsub(line, '[\128-\191]', '')
  return #line - continuations
end

--- The end of a text that is too wide, after a mark: the end of a path tells more than its beginning.
---@param line string
---@param width integer
---@param mark string
---@return string
function text.tail(line, width, mark)
  local excess = text.width(line) - width
  if excess <= 0 then return line end
  local dropped = excess + text.width(mark)
  return mark .. gsub(line, '[^\128-\191][\128-\191]*', function()
    dropped = dropped - 1
    if dropped >= 0 then return '' end
  end)
end

--- Fills up with spaces, on the left for a negative width.
---@param line string
---@param width integer
---@return string
function text.pad(line, width)
  if width < 0 then return rep(' ', -width - text.width(line)) .. line end
  return line .. rep(' ', width - text.width(line))
end

--- Breaks a text between words. The first line goes on after `head`, the others are indented as far.
---@param words string
---@param head string
---@param indent integer
---@param width integer
---@return string
function text.wrap(words, head, indent, width)
  local lines = {}
  local line = head .. rep(' ', indent - #head)
  local is_empty = #head <= indent
  for word in gmatch(words, '%S+') do
    if #line + #word + (is_empty and 0 or 1) > width and #line > indent then
      lines[#lines + 1] = gsub(line, '%s+$', '')
      line, is_empty = rep(' ', indent), true
    end
    line = line .. (is_empty and '' or ' ') .. word
    is_empty = false
  end
  lines[#lines + 1] = line
  return concat(lines, '\n')
end

--- A time, with three digits or so.
---@param seconds number
---@return string
function text.time(seconds)
  if seconds < 0.00995 then return format('%.1f ms', seconds * 1000) end
  if seconds < 0.9995 then return format('%.0f ms', seconds * 1000) end
  if seconds < 9.995 then return format('%.2f s', seconds) end
  if seconds < 99.95 then return format('%.1f s', seconds) end
  if seconds < 5940 then return format('%.0f min', seconds / 60) end
  return format('%.1f h', seconds / 3600)
end

--- An amount of memory, in units of 1024.
---@param bytes number
---@return string
function text.memory(bytes)
  local unit = 'kB'
  local amount = bytes / 1024
  if amount >= 999.5 then unit, amount = 'MB', amount / 1024 end
  if amount >= 999.5 then unit, amount = 'GB', amount / 1024 end
  return format(amount < 9.95 and '%.1f %s' or '%.0f %s', amount, unit)
end

--- 'file' or 'files', with their number.
---@param number integer
---@param noun string
---@return string
function text.count(number, noun)
  return format('%d %s%s', number, noun, number == 1 and '' or 's')
end

--- Whether the user's locale says that terminals show UTF-8.
---@param getenv fun(name: string): string|nil
---@return boolean
function text.is_unicode(getenv)
  for _, name in ipairs { 'LC_ALL', 'LC_CTYPE', 'LANG' } do
    local value = getenv(name)
    if value and value ~= '' then return find(lower(value), 'utf%-?8') ~= nil end
  end
  return false
end

return text
