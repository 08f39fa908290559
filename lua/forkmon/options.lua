--- The options, defined once.
--
-- `definitions` says all there is to know about each option. The checks of enable{}, the environment variables, the
-- flags of the command and its help text are all derived from it. A value passes through its kind: `parse` makes a
-- Lua value of text (from a variable or a flag), `convert` checks a Lua value and brings it to the one form that the
-- rest of forkmon sees.
--
-- Precedence: an explicit option or flag, then the environment, then a project's file (`config`), then the default.

local filter = require 'forkmon.filter'

local ipairs, pairs, tonumber, tostring, type = ipairs, pairs, tonumber, tostring, type
local floor, min = math.floor, math.min
local byte, format, gmatch, gsub, lower, match, upper =
  string.byte, string.format, string.gmatch, string.gsub, string.lower, string.match, string.upper

local options = {}

-- Bounds what the native core takes; as milliseconds it is 24 days.
local LARGEST = 2 ^ 31 - 1

local signals = { HUP = 1, INT = 2, QUIT = 3, KILL = 9, USR1 = 10, USR2 = 12, TERM = 15 }

local negatives = { ['0'] = true, ['false'] = true, no = true, off = true }

--- Reads a text as a truth value, as every FORKMON_ variable that switches something is read.
---@param text string|nil
---@return boolean
function options.truthy(text)
  return text ~= nil and text ~= '' and not negatives[lower(text)]
end

--- The integration of a program, if there is one that is wanted.
---@param script string|nil the program's
---@param unwanted string[] names of some that are not
---@return string|nil name
function options.integration(script, unwanted)
  local name = script and match(script, '[^/]*$')
  for _, other in ipairs(unwanted) do
    if other == name then return nil end
  end
  for _, known in ipairs(options.integrations) do
    if known.name == name then return name end
  end
end

--- A whole number in the interpreter's integer type, where it has one.
local function whole(value, least, most)
  if type(value) == 'number' and value >= least and value <= (most or LARGEST) and floor(value) == value then
    return floor(value)
  end
end

--- A list of strings that are not empty; a single string has ';' between them, as package.path has.
local function list(value)
  local items = {}
  if type(value) == 'string' then
    for item in gmatch(value, '[^;]+') do items[#items + 1] = item end
  elseif type(value) == 'table' then
    for key, item in pairs(value) do
      if not whole(key, 1, #value) or type(item) ~= 'string' or item == '' then return nil end
    end
    for index, item in ipairs(value) do items[index] = item end
  else
    return nil
  end
  return items
end

local function patterns(value)
  if type(value) == 'function' then return value end
  local items = list(value)
  for _, pattern in ipairs(items or {}) do
    local fault = filter.fault(pattern)
    if fault then return nil, format(": pattern '%s': %s", pattern, fault) end
  end
  return items
end

local function number(text)
  return tonumber(text) or text
end

--- What forkmon does for single programs: see forkmon.integrations. `files` are patterns for what else of theirs the
--- command watches by default.
options.integrations = {
  { name = 'busted', files = '/%.busted$',
    doc = 'loads each spec file just before its specs run, and runs those last that were edited last' },
}

local function integrations(value)
  local items, known = list(value), {}
  for _, integration in ipairs(options.integrations) do known[integration.name] = true end
  for _, name in ipairs(items or {}) do
    if not known[name] then
      return nil, format(": there is no integration '%s'%s; `forkmon help integrations` lists them", name,
        options.suggestion(name, known))
    end
  end
  return items
end

-- kind -> what it expects, in the words of an error message; `convert` gives nil when the value is something else,
-- with a message of its own when it knows better; `parse` where the text is not the value.
local kinds = {
  switch = {
    expected = 'true or false',
    convert = function(value)
      if type(value) == 'boolean' then return value end
    end,
  },
  patterns = {
    expected = 'Lua patterns (a string with ; between, or a list) or a function',
    convert = patterns,
  },
  some_patterns = {
    expected = 'at least one Lua pattern (a string with ; between, or a list) or a function',
    convert = function(value)
      local items, message = patterns(value)
      if type(items) == 'table' and #items == 0 then return nil end
      return items, message
    end,
  },
  paths = {
    expected = 'paths (a string with ; between, or a list)',
    convert = list,
  },
  milliseconds = {
    expected = 'a whole number of milliseconds >= 0',
    parse = number,
    convert = function(value) return whole(value, 0) end,
  },
  interval = {
    expected = 'a whole number of milliseconds >= 1, or 0 for off',
    parse = function(text)
      return options.truthy(text) and number(text)
    end,
    convert = function(value) return whole(value or 0, 0) end,
  },
  megabytes = {
    expected = 'a whole number of megabytes >= 0',
    parse = number,
    convert = function(value) return whole(value, 0) end,
  },
  count = {
    expected = 'a whole number >= 1',
    parse = number,
    convert = function(value) return whole(value, 1) end,
  },
  -- Not 0: without any checkpoint a change could only restart the program.
  fraction = {
    expected = 'a number greater than 0 and at most 1',
    parse = number,
    convert = function(value)
      if type(value) == 'number' and value > 0 and value <= 1 then return value end
    end,
  },
  signal = {
    expected = 'TERM, INT, HUP, QUIT, USR1, USR2, KILL or a number from 1 to 64',
    parse = number,
    convert = function(value)
      if type(value) == 'string' then return signals[gsub(upper(value), '^SIG', '')] end
      return whole(value, 1, 64)
    end,
  },
  file = {
    expected = "true, false or a path",
    convert = function(value)
      if type(value) == 'boolean' or type(value) == 'string' and value ~= '' then return value end
    end,
  },
  integrations = {
    expected = 'names of integrations (a string with ; between, or a list)',
    convert = integrations,
  },
  sink = {
    expected = "a path or 'fd:N'",
    convert = function(value)
      if type(value) == 'string' and value ~= '' then return value end
    end,
  },
}

-- `value` is what the help shows after the flag. A `negated` option is switched off by its flag and variable. The
-- values of a `repeated` flag add up.
local definitions = {
  { name = 'filter', kind = 'some_patterns', value = 'PATTERNS', repeated = true,
    doc = 'watch files whose absolute path matches one of these Lua patterns, with ; between (default %.lua$ and'
      .. ' the extensions of file arguments)' },
  { name = 'ignore', kind = 'patterns', value = 'PATTERNS', repeated = true, default = {},
    doc = 'but not those that match one of these' },
  { name = 'quiet', kind = 'switch', default = false,
    doc = 'print no [forkmon] lines but warnings' },
  { name = 'watch_lines', kind = 'switch', negated = true, default = true, env = 'FORKMON_NO_WATCH_LINES',
    flag = '--no-watch-lines', doc = 'print no lines about files that are watched' },
  { name = 'verbose', kind = 'switch', default = false,
    doc = 'print such a line for every file, also for what is installed, and not one for all when they are many' },
  { name = 'colors', kind = 'switch', negated = true, env = 'FORKMON_NO_COLORS', flag = '--no-color',
    doc = 'print plain lines; so it is off a terminal and with NO_COLOR set' },
  { name = 'restart_delay', kind = 'milliseconds', value = 'MS', default = 5,
    doc = 'wait until nothing changed for so long before resuming' },
  { name = 'ignore_delay', kind = 'milliseconds', value = 'MS', default = 0,
    doc = 'hold changes for so long after a resume' },
  { name = 'exact', kind = 'switch', default = false,
    doc = 'take a checkpoint before every watched file' },
  { name = 'overhead', kind = 'fraction', value = 'FRACTION', default = 0.05,
    doc = 'share of the run time that checkpoints may cost, from above 0 to 1' },
  { name = 'max_checkpoints', kind = 'count', value = 'N', default = 64,
    doc = 'keep no more checkpoints than this' },
  { name = 'max_memory', kind = 'megabytes', value = 'MB', shown = 'a quarter of what is free',
    doc = 'thin checkpoints that only save time when all may come to hold more than this' },
  { name = 'content', kind = 'switch', default = false,
    doc = 'ignore saves that change no byte' },
  { name = 'poll', kind = 'interval', value = 'MS', default = 0,
    doc = 'look at the files every so often instead of using inotify; 0 is off' },
  { name = 'stop_signal', kind = 'signal', value = 'SIGNAL', default = signals.TERM, shown = 'TERM',
    doc = 'what stops the old run before a resume: a name or a number' },
  { name = 'stop_timeout', kind = 'milliseconds', value = 'MS', default = 2000,
    doc = 'time the old run has for it before it is killed' },
  { name = 'clear', kind = 'switch', default = false,
    doc = 'clear the screen before a resumed run' },
  { name = 'native_hooks', kind = 'switch', negated = true, env = 'FORKMON_NO_NATIVE_HOOKS', flag = '--no-native-hooks',
    default = true,
    doc = 'do not hear of what C code opens and asks for' },
  { name = 'no_integration', kind = 'integrations', value = 'NAME', repeated = true, default = {},
    doc = 'do not do for this program what forkmon help integrations says' },
  { name = 'watch', kind = 'paths', value = 'PATHS', repeated = true, default = {},
    doc = 'watch these files and directories too, with ; between; a change resumes from the first checkpoint' },
  { name = 'config', kind = 'file', value = 'FILE',
    doc = 'take options from this file, and not from .forkmon in the project' },
  { name = 'events', kind = 'sink', value = 'PATH|fd:N',
    doc = 'write what happens there as JSON lines' },
}

local by_name = {}
for _, definition in ipairs(definitions) do
  definition.env = definition.env or 'FORKMON_' .. upper(definition.name)
  definition.flag = definition.flag or '--' .. gsub(definition.name, '_', '-')
  by_name[definition.name] = definition
end

options.definitions = definitions
options.signals = signals

--- Number of letters to insert, remove or replace to make one word of the other.
local function distance(left, right)
  local row = {}
  for column = 0, #right do row[column] = column end
  for line = 1, #left do
    local diagonal = row[0]
    row[0] = line
    for column = 1, #right do
      local replaced = diagonal + (byte(left, line) == byte(right, column) and 0 or 1)
      diagonal = row[column]
      row[column] = min(replaced, diagonal + 1, row[column - 1] + 1)
    end
  end
  return row[#right]
end

--- The tail of a message about an unknown name: the known one it was probably meant to be, or nothing.
---@param name string
---@param known table<string, any> its keys are the known names
---@return string
function options.suggestion(name, known)
  local nearest, least = nil, #name / 2
  for candidate in pairs(known) do
    local steps = distance(name, candidate)
    -- Names at the same distance are put in order, so that a message does not depend on the order of `pairs`.
    if steps < least or steps == least and nearest and candidate < nearest then
      nearest, least = candidate, steps
    end
  end
  return nearest and format(" (did you mean '%s'?)", nearest) or ''
end

local function describe(value)
  if type(value) == 'string' then return format("string '%s'", value) end
  if type(value) == 'table' or type(value) == 'function' then return type(value) end
  return type(value) .. ' ' .. tostring(value)
end

--- `subject` and `got` are what the message calls the option and the value.
local function convert(definition, value, subject, got)
  local kind = kinds[definition.kind]
  local converted, message = kind.convert(value)
  if converted ~= nil then return converted end
  return nil, subject .. (message or format(' must be %s, got %s', kind.expected, got))
end

--- Checks the text of a flag or variable that has a value.
---@return any|nil value
---@return string|nil message
function options.from_text(definition, text, subject)
  local parse = kinds[definition.kind].parse
  local value = text
  if parse then value = parse(text) end
  return convert(definition, value, subject, format("'%s'", text))
end

--- Checks the table given to enable.
---@param given table
---@return table|nil settings
---@return string|nil message
function options.from_table(given)
  local settings = {}
  for name, value in pairs(given) do
    local definition = by_name[name]
    if not definition then
      local unknown = tostring(name)
      return nil, format("unknown option '%s'", unknown) .. options.suggestion(unknown, by_name)
    end
    local converted, message = convert(definition, value, format("option '%s'", name), describe(value))
    if converted == nil then return nil, message end
    settings[name] = converted
  end
  return settings
end

--- Reads the variables. An empty one counts as unset.
---@param getenv fun(name: string): string|nil
---@return table|nil settings
---@return string|nil message
function options.from_environment(getenv)
  local settings = {}
  for _, definition in ipairs(definitions) do
    local text = getenv(definition.env)
    if definition.kind == 'switch' then
      if options.truthy(text) then
        settings[definition.name] = not definition.negated
      elseif text and text ~= '' then
        -- Which wins over a file.
        settings[definition.name] = definition.default
      end
    elseif text and text ~= '' then
      local value, message = options.from_text(definition, text, 'environment variable ' .. definition.env)
      if value == nil then return nil, message end
      settings[definition.name] = value
    end
  end
  return settings
end

--- Checks what a file of options gives.
---@param given table
---@param path string
---@return table|nil settings
---@return string|nil message
function options.from_file(given, path)
  local settings, message = options.from_table(given)
  if settings and settings.config ~= nil then settings, message = nil, "option 'config' has no place in it" end
  if not settings then return nil, format('%s: %s', path, message) end
  return settings
end

--- The settings after enable was called with `given`.
---@param given table
---@param present table|nil the settings of an earlier call, which `given` changes
---@param getenv fun(name: string): string|nil
---@param read? fun(config: string|true): table|nil, string|nil reads the file of options: what it gives and its path,
--- or nil and a message; nothing at all when there is none
---@return table|nil settings
---@return string|nil message
function options.resolve(given, present, getenv, read)
  local explicit, message = options.from_table(given)
  if not explicit then return nil, message end
  local file, path = {}, nil
  if not present then
    present, message = options.from_environment(getenv)
    if not present then return nil, message end
    local wanted = explicit.config
    if wanted == nil then wanted = present.config end
    if wanted and read then
      given, path = read(wanted)
      if path and not given then return nil, path end
      if given then
        file, message = options.from_file(given, path)
        if not file then return nil, message end
      end
    end
  end
  local settings = {}
  for _, definition in ipairs(definitions) do
    local value = explicit[definition.name]
    if value == nil then value = present[definition.name] end
    if value == nil then value = file[definition.name] end
    if value == nil then value = definition.default end
    settings[definition.name] = value
  end
  if path then settings.config = path end
  -- What the command would watch by itself.
  local fallback = not settings.filter and getenv('FORKMON_DEFAULT_FILTER')
  if fallback and fallback ~= '' then settings.filter = options.from_text(by_name.filter, fallback, '') end
  if not settings.filter then
    return nil, "option 'filter' is missing: it says which files to watch, e.g. "
      .. "forkmon.enable { filter = '%.lua$' }"
  end
  return settings
end

return options
