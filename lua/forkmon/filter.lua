--- Which files are watched.
--
-- `filter` and `ignore` are Lua patterns or a function of the path. Patterns are matched by the interpreter's own
-- string.find, but Lua tells of a malformed one only when a match gets as far as the fault, which may be never. So
-- `fault` checks patterns beforehand, and lets Lua itself do it: it takes the pattern apart into pieces that are
-- sure to be looked at, and asks string.find about each.

local ipairs, pcall, tostring, type = ipairs, pcall, tostring, type
local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local filter = {}

--- Finds what is wrong with a Lua pattern.
---@param pattern string
---@return string|nil message in Lua's own words; nil when the pattern is well-formed
function filter.fault(pattern)
  -- A single item (a character, a class, a set, %b, %f) is read in full before it is compared with the subject, so
  -- even an empty subject brings its fault to light, and the shortest prefix that has no fault is one whole item.
  -- Captures can be judged only together: they are kept, around items that match the empty subject.
  local captures, from = '', 1
  while from <= #pattern do
    local to = from
    local capture = match(pattern, '^[()]', from) or match(pattern, '^%%%d', from)
    if capture then
      captures = captures .. capture
      to = from + #capture - 1
    else
      local sound, message = pcall(find, '', sub(pattern, from, to))
      while not sound and to < #pattern do
        to = to + 1
        sound, message = pcall(find, '', sub(pattern, from, to))
      end
      if not sound then return message end
      -- One stand-in is enough for a run of items; a long row of them would be 'too complex' for Lua.
      if sub(captures, -2) ~= 'x*' then captures = captures .. 'x*' end
    end
    from = to + 1
  end
  local sound, message = pcall(find, '', captures)
  if not sound then return message end
end

--- The ends of the paths that a rule takes: for patterns such as '%.lua$', that are plain text up to the end.
---@return string[]|nil
local function ends(rule)
  if type(rule) ~= 'table' then return nil end
  local found = {}
  for index, pattern in ipairs(rule) do
    if not find(gsub(pattern, '%%%p', 'x'), '^[%w_/ ]*%$$') then return nil end
    found[index] = gsub(sub(pattern, 1, -2), '%%(%p)', '%1')
  end
  return found
end

--- Joins both rules to one decision per path.
---@param wanted string[]|fun(path: string): boolean
---@param ignored string[]|fun(path: string): boolean
---@param warn fun(message: string) called at most once, when a rule raises an error: it then accepts nothing
---@return fun(path: string): boolean|nil watched nil where patterns can not decide now
---@return fun(path: string): boolean|nil is_ignored
---@return string[]|nil wanted the ends of the paths that are wanted and
---@return string[]|nil ignored of those that are ignored, where no more matters
function filter.compile(wanted, ignored, warn)
  local decisions, deciding, warned = {}, false, false

  -- nil when it is no fault of the rule: a program at the end of its stack will not get far with the file either, and
  -- may be back with more room.
  local function failed(message)
    if find(tostring(message), 'stack overflow', 1, true) then return nil end
    if not warned then warn('the filter failed: ' .. tostring(message)) end
    warned = true
    return false
  end

  -- A sound pattern can still be too complex for a path.
  local function matches(patterns, path)
    for _, pattern in ipairs(patterns) do
      local ok, found = pcall(find, path, pattern)
      if not ok then return failed(found) end
      if found then return true end
    end
    return false
  end

  -- A function is asked once about each path: it may be slow. It may also open files itself, whose hooks would ask it
  -- again, without end.
  local function ask(rule, path)
    if type(rule) == 'table' then return matches(rule, path) end
    local known = decisions[rule] or {}
    decisions[rule] = known
    if known[path] == nil then
      if deciding then return false end
      local ok, answer = pcall(function()
        -- Set where an error is caught, so that it cannot stay set.
        deciding = true
        return rule(path)
      end)
      deciding = false
      if ok then known[path] = not not answer else known[path] = failed(answer) end
    end
    return known[path] or false
  end

  local function is_ignored(path)
    return ask(ignored, path)
  end

  local function watched(path)
    local out = ask(ignored, path)
    if out then return false end
    local is_in = ask(wanted, path)
    if out ~= nil then return is_in end
  end

  return watched, is_ignored, ends(wanted), ends(ignored)
end

return filter
