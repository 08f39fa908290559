--- Flags: those of the command itself, and how they are read, on its own command line and on that of a subcommand.

local options = require 'forkmon.options'

local find, format, match = string.find, string.format, string.match
local ipairs = ipairs

local flags = {}

---@class forkmon.Flag the definition of an option is one, too
---@field flag string
---@field short? string
---@field value? string what the help shows after it; a flag without it takes no value
---@field repeated? boolean its values add up, with ; between them
---@field ends? boolean nothing behind it is read
---@field doc string

--- What the command can be asked for besides running a program.
---@type forkmon.Flag[]
flags.actions = {
  { flag = '--help', short = '-h', ends = true, doc = 'print this text' },
  { flag = '--version', short = '-V', ends = true, doc = 'print the version, and for which Lua it was built' },
}

--- All flags of the command.
---@type forkmon.Flag[]
flags.of_command = {}
for _, definition in ipairs(options.definitions) do flags.of_command[#flags.of_command + 1] = definition end
for _, action in ipairs(flags.actions) do flags.of_command[#flags.of_command + 1] = action end

--- Takes a command line apart. `--` ends the flags, and so does the first word, unless both may be mixed.
---@param arguments string[]
---@param from integer the first argument that counts
---@param known forkmon.Flag[]
---@param mixed boolean whether flags may stand behind words
---@param check? fun(flag: forkmon.Flag, value: string): string|nil gives a message for a value that is none
---@return { values: table<string, string>, words: string[], last?: string }|nil parsed values by flag, '1' for a flag
--- that takes none; `last` is the flag that ended the reading
---@return string|nil message
function flags.read(arguments, from, known, mixed, check)
  local by_name, long = {}, {}
  for _, flag in ipairs(known) do
    by_name[flag.flag], long[flag.flag] = flag, true
    if flag.short then by_name[flag.short] = flag end
  end

  local values, words, index, is_literal = {}, {}, from, false
  while arguments[index] do
    local argument = arguments[index]
    index = index + 1
    if is_literal or not find(argument, '^%-.') then
      words[#words + 1] = argument
      is_literal = is_literal or not mixed
    elseif argument == '--' then
      is_literal = true
    else
      local name, value = match(argument, '^(%-%-[^=]+)=(.*)$')
      name = name or argument
      local flag = by_name[name]
      if not flag then return nil, format("unknown option '%s'", name) .. options.suggestion(name, long) end
      if not flag.value then
        if value then return nil, format('option %s takes no value', name) end
        value = '1'
      elseif not value then
        value = arguments[index]
        index = index + 1
        if not value then return nil, format('option %s needs a value', name) end
      end
      local message = flag.value and check and check(flag, value)
      if message then return nil, message end
      local present = flag.repeated and values[flag.flag]
      values[flag.flag] = present and present .. ';' .. value or value
      if flag.ends then return { values = values, words = words, last = flag.flag } end
    end
  end
  return { values = values, words = words }
end

return flags
