--- The command `forkmon`: runs a script or a command under forkmon, or a subcommand.
--
-- It checks its flags, puts them into FORKMON_ variables and replaces itself with the program, whose interpreter finds
-- the bootstrap in LUA_INIT. The bootstrap undoes these variables, as far as the program and its children see them:
-- FORKMON_COMMAND lists their names, and FORKMON_SAVED_<name> holds what the user had in each.
--
-- The exit status is told in forkmon.cli.help; that of the program is forkmon's only when it cannot start.

local client = require 'forkmon.cli.client'
local help = require 'forkmon.cli.help'
local native = require 'forkmon.native'
local options = require 'forkmon.options'
local output = require 'forkmon.cli.output'
local search = require 'forkmon.search'
local subcommands = require 'forkmon.cli.subcommands'

local concat, insert, sort = table.concat, table.insert, table.sort
local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local getenv, stderr = os.getenv, io.stderr
local ipairs, pairs = ipairs, pairs
local package = package

local bootstrap = search.home .. 'forkmon/bootstrap.lua'

local command = {}

local actions = {}
for _, action in ipairs(help.actions) do
  actions[action.flag], actions[action.short] = sub(action.flag, 3), sub(action.flag, 3)
end

local known_flags = {}
for _, action in ipairs(help.actions) do known_flags[action.flag] = true end
for flag in pairs(options.by_flag) do known_flags[flag] = true end

--- Takes the command line apart.
---@param arguments string[]
---@return { action: string, texts: table<string, string>, program: string[] }|nil parsed texts by option name
---@return string|nil message
function command.parse(arguments)
  local texts, index = {}, 1
  while arguments[index] and find(arguments[index], '^%-.') do
    local argument = arguments[index]
    index = index + 1
    if argument == '--' then break end
    if actions[argument] then return { action = actions[argument], texts = texts, program = {} } end

    local flag, text = match(argument, '^(%-%-[^=]+)=(.*)$')
    flag = flag or argument
    local definition = options.by_flag[flag]
    if not definition then
      return nil, format("unknown option '%s'", flag) .. options.suggestion(flag, known_flags)
    end
    local name = definition.name
    if definition.kind == 'switch' then
      if text then return nil, format('option %s takes no value', flag) end
      texts[name] = '1'
    else
      if not text then
        text = arguments[index]
        index = index + 1
      end
      if not text then return nil, format('option %s needs a value', flag) end
      local value, message = options.from_text(definition, text, 'option ' .. flag)
      if value == nil then return nil, message end
      texts[name] = definition.repeated and texts[name] and texts[name] .. ';' .. text or text
    end
  end
  -- Not unpack, which has a limit that the shell's * can exceed.
  local program = {}
  for position = index, #arguments do program[#program + 1] = arguments[position] end
  return { action = 'run', texts = texts, program = program }
end

--- The filter for a program when the user gave none: Lua files, and what is of the kind of its file arguments.
---@param program string[]
---@param readable fun(path: string): boolean
---@return string patterns
function command.default_filter(program, readable)
  local patterns, seen = { '%.lua$' }, { lua = true }
  for index = 2, #program do
    local extension = match(program[index], '%.([%w_]+)$')
    if extension and not seen[extension] and readable(program[index]) then
      seen[extension] = true
      patterns[#patterns + 1] = format('%%.%s$', extension)
    end
  end
  return concat(patterns, ';')
end

--- The changes to the environment that bring forkmon into the program.
---@param variables table<string, string> what forkmon is to see there
---@param file string absolute path of the bootstrap
---@param getvariable fun(name: string): string|nil
---@return table<string, string|false> changes false for a variable to remove
function command.environment(variables, file, getvariable)
  local wanted = { LUA_INIT = '@' .. file }
  -- From Lua 5.2 on a variable of the version goes before LUA_INIT.
  for minor = 2, 9 do
    local name = 'LUA_INIT_5_' .. minor
    if getvariable(name) then wanted[name] = wanted.LUA_INIT end
  end
  for name, value in pairs(variables) do wanted[name] = value end

  local changes, names = {}, { 'FORKMON_COMMAND' }
  for name, value in pairs(wanted) do
    changes[name] = value
    changes['FORKMON_SAVED_' .. name] = getvariable(name) or false
    names[#names + 1] = name
  end
  sort(names)
  changes.FORKMON_COMMAND = concat(names, ' ')
  return changes
end

--- The variables that stand for the flags, and for what the bootstrap cannot know.
local function variables(parsed, core)
  local result = {}
  for _, definition in ipairs(options.definitions) do
    result[definition.env] = parsed.texts[definition.name]
  end
  local filter = result.FORKMON_FILTER or getenv('FORKMON_FILTER')
  if not filter or filter == '' then
    result.FORKMON_FILTER = command.default_filter(parsed.program, search.readable)
  end
  local library = search.find('forkmon.core', package.cpath)
  if library then
    result.FORKMON_CPATH = gsub(core.absolute(library), '^(.*)forkmon/core', '%1?')
  end
  return result
end

--- Becomes the program; returns only when that fails.
local function run(parsed, core)
  local changes = {}
  if not options.truthy(getenv('FORKMON_DISABLE')) then
    local _, message = options.from_environment(getenv)
    if message then return output.fail(2, '%s', message) end
    changes = command.environment(variables(parsed, core), core.absolute(bootstrap), getenv)
  end

  local program = parsed.program
  local name = program[1]
  local readable, reason = search.readable(name)
  if find(name, '%.lua$') then
    if not readable then return output.fail(127, "cannot open '%s': %s", name, reason) end
  else
    -- The system knows best what can be executed; a readable file that cannot is a script of another name.
    local _, message = core.exec(program, changes)
    if not readable then
      return output.fail(127, "cannot run '%s': %s%s", name, message, options.suggestion(name, subcommands.by_name))
    end
  end
  local interpreter, missing = core.exe()
  if not interpreter then return output.fail(127, "cannot run '%s': %s", name, missing) end
  insert(program, 1, interpreter)
  local _, message = core.exec(program, changes)
  return output.fail(127, "cannot run '%s': %s", program[1], message)
end

--- Runs the command.
---@param arguments string[]
---@return integer status
function command.main(arguments)
  local subcommand = subcommands.by_name[arguments[1]]
  if subcommand then return client.run(subcommand, arguments) end
  local parsed, message = command.parse(arguments)
  if not parsed then return output.fail(2, "%s; try 'forkmon --help'", message) end
  if parsed.action == 'help' then
    return output.print(help.general())
  elseif parsed.action == 'version' then
    return output.print(format('forkmon %s (%s)\n', native.VERSION, native.LUA))
  elseif #parsed.program == 0 then
    stderr:write(help.usage())
    return 2
  end
  local core = output.core()
  if not core then return 1 end
  return run(parsed, core)
end

return command
