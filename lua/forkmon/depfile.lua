--- What a subprocess has read, as compilers write it down (`cc -MMD`): rules for make.
--
--     out/main.o: main.c my\ header.h \
--       config.h
--     config.h:
--
-- A path ends at a blank. A backslash before a blank or a # makes that part of the path, and backslashes before one are
-- doubled; $ is written twice. A backslash at the end of a line continues it.

local find, gmatch, gsub, match, rep, sub =
  string.find, string.gmatch, string.gsub, string.match, string.rep, string.sub

local depfile = {}

--- Takes the next word of a line from a position on: a path, or ':'.
---@return string|nil word
---@return integer position behind it
local function next_word(line, position)
  position = find(line, '[^ \t]', position)
  if not position then return nil, #line + 1 end
  local word = ''
  while position <= #line do
    -- A colon within a path is part of it.
    if find(line, '^:[ \t]', position) or sub(line, position) == ':' then
      if word == '' then return ':', position + 1 end
      break
    end
    local backslashes, blank = match(line, '^(\\+)([ \t#])', position)
    if backslashes and #backslashes % 2 == 1 then
      word = word .. rep('\\', (#backslashes - 1) / 2) .. blank
      position = position + #backslashes + 1
    elseif backslashes then
      word = word .. rep('\\', #backslashes / 2)
      position = position + #backslashes
    elseif find(line, '^[ \t#]', position) then
      break
    elseif find(line, '^%$%$', position) then
      word = word .. '$'
      position = position + 2
    else
      word = word .. sub(line, position, position)
      position = position + 1
    end
  end
  -- What comes behind a # is a comment.
  if word == '' then return nil, #line + 1 end
  return word, position
end

--- The paths that the rules in a text depend on, in order, each once.
---@param text string
---@return string[]
function depfile.paths(text)
  local paths, seen = {}, {}
  text = gsub(gsub(text, '\r\n', '\n'), '\\\n', ' ')
  for line in gmatch(text, '[^\n]+') do
    local is_needed, word, position = false, next_word(line, 1)
    while word do
      if word == ':' and not is_needed then
        is_needed = true
      elseif word and is_needed and not seen[word] then
        seen[word] = true
        paths[#paths + 1] = word
      end
      word, position = next_word(line, position)
    end
  end
  return paths
end

return depfile
