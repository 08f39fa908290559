--- The command `forkmon`: runs a script or a command under forkmon, or a subcommand.
--
-- It checks its flags, puts them into FORKMON_ variables and replaces itself with the program, whose interpreter finds
-- the bootstrap in LUA_INIT. The bootstrap undoes these variables, as far as the program and its children see them:
-- FORKMON_COMMAND lists their names, and FORKMON_SAVED_<name> holds what the user had in each.
--
-- The exit status is told in forkmon.cli.help; that of the program is forkmon's only when it cannot start.

local client = require 'forkmon.cli.client'
local config = require 'forkmon.config'
local flags = require 'forkmon.cli.flags'
local help = require 'forkmon.cli.help'
local native = require 'forkmon.native'
local options = require 'forkmon.options'
local output = require 'forkmon.cli.output'
local search = require 'forkmon.search'
local subcommands = require 'forkmon.cli.subcommands'

local concat, insert, sort = table.concat, table.insert, table.sort
local find, format, gmatch, gsub, match, sub =
  string.find, string.format, string.gmatch, string.gsub, string.match, string.sub
local getenv, open, stderr = os.getenv, io.open, io.stderr
local ipairs, pairs = ipairs, pairs
local package = package

local bootstrap = search.home .. 'forkmon/bootstrap.lua'

local command = {}

local function check(flag, value)
  local _, message = options.from_text(flag, value, 'option ' .. flag.flag)
  return message
end

--- Takes the command line apart.
---@param arguments string[]
---@return { action: string, texts: table<string, string>, program: string[] }|nil parsed texts by option name
---@return string|nil message
function command.parse(arguments)
  local parsed, message = flags.read(arguments, 1, flags.of_command, false, check)
  if not parsed then return nil, message end
  local texts = {}
  for _, definition in ipairs(options.definitions) do texts[definition.name] = parsed.values[definition.flag] end
  return { action = parsed.last and sub(parsed.last, 3) or 'run', texts = texts, program = parsed.words }
end

--- The filter for a program when the user gave none: Lua files, what is of the kind of its file arguments, and what an
--- integration knows.
---@param program string[]
---@param readable fun(path: string): boolean
---@return string patterns
function command.default_filter(program, readable)
  local patterns, seen = { '%.lua$' }, { lua = true }
  local name = match(program[1] or '', '[^/]*$')
  for _, integration in ipairs(options.integrations) do
    if integration.name == name then patterns[#patterns + 1] = integration.files end
  end
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
local function variables(parsed, core, file)
  local result = {}
  for _, definition in ipairs(options.definitions) do
    result[definition.env] = parsed.texts[definition.name]
  end
  -- Where the program goes, the path leads there, too.
  result.FORKMON_CONFIG = file
  local filter = result.FORKMON_FILTER or getenv('FORKMON_FILTER')
  if not filter or filter == '' then
    -- What the file says of it comes first.
    local name = file and 'FORKMON_DEFAULT_FILTER' or 'FORKMON_FILTER'
    result[name] = command.default_filter(parsed.program, search.readable)
  end
  local _, library = search.tried('forkmon.core', package.cpath)
  if library then
    result.FORKMON_CPATH = gsub(core.absolute(library), '^(.*)forkmon/core', '%1?')
  end
  return result
end

-- Programs whose trade it is to start others.
local starters = {}
for name in gmatch('ash bash busybox dash doas docker env fish gdb gmake ionice ksh ltrace make nice ninja nohup perf '
  .. 'podman script sh setsid stdbuf strace sudo taskset tcsh time timeout tmux unshare valgrind watch xargs zsh',
  '%S+') do
  starters[name] = true
end

--- Whether a program is one that forkmon cannot get into: an executable that never asks for LUA_INIT, as every
--- interpreter of Lua does. Of a script nothing is known, nor of what starts others.
---@param name string as the shell would look for it
---@param path string|nil where programs are
---@return boolean
function command.is_foreign(name, path)
  if starters[match(name, '[^/]*$')] then return false end
  local folders = find(name, '/', 1, true) and { '' } or {}
  if not folders[1] then
    for folder in gmatch(path or '', '[^:]+') do folders[#folders + 1] = folder .. '/' end
  end
  for _, folder in ipairs(folders) do
    local file = open(folder .. name, 'rb')
    local bytes = file and file:read(4)
    if bytes then
      local rest = bytes == '\127ELF' and file:read('*a')
      file:close()
      return rest and not find(rest, 'LUA_INIT', 1, true) or false
    end
    if file then file:close() end
  end
  return false
end

--- The file of options that counts, if there is one.
---@return string|nil path absolute
---@return string|nil message what is wrong with it
local function options_file(parsed, core)
  local path = parsed.texts.config or getenv('FORKMON_CONFIG')
  path = path and path ~= '' and core.absolute(path) or config.find(core.getcwd())
  if not path then return nil end
  local given, message = config.read(path)
  if given then given, message = options.from_file(given, path) end
  if not given then return nil, message end
  return path
end

--- Becomes the program; returns only when that fails.
local function run(parsed, core)
  local changes = {}
  if not options.truthy(getenv('FORKMON_DISABLE')) then
    local _, message = options.from_environment(getenv)
    if message then return output.fail(2, '%s', message) end
    local file, fault = options_file(parsed, core)
    if fault then return output.fail(2, '%s', fault) end
    changes = command.environment(variables(parsed, core, file), core.absolute(bootstrap), getenv)
  end

  local program = parsed.program
  local name = program[1]
  local readable, reason = search.readable(name)
  if find(name, '%.lua$') then
    if not readable then return output.fail(127, "cannot open '%s': %s", name, reason) end
  else
    if changes.FORKMON_COMMAND and command.is_foreign(name, getenv('PATH')) then
      core.warn(format("'%s' is no Lua program: only a Lua that it starts is watched", name))
    end
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
