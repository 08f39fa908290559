--- What `forkmon --help`, `forkmon help SUBCOMMAND` and the manual page say, made from the definitions.

local flags = require 'forkmon.cli.flags'
local options = require 'forkmon.options'
local subcommands = require 'forkmon.cli.subcommands'
local text = require 'forkmon.cli.text'

local format, gsub, upper = string.format, string.gsub, string.upper
local concat = table.concat
local ipairs, type = ipairs, type

local help = {}

local WIDTH = 80

local usages = {
  'forkmon [options] [--] SCRIPT.lua [arguments]',
  'forkmon [options] [--] COMMAND [arguments]',
  'forkmon SUBCOMMAND [arguments]',
}

local introduction = 'Runs a Lua script, or a command that is a Lua program. When a file that it has read changes, '
  .. 'it goes on from just before it read that file.'

local words = 'A first word that is one of these is not the name of a program: `forkmon -- status` and '
  .. '`forkmon ./status` run one that is called so.'

local environment = 'Each option can be set in the environment too, as in FORKMON_RESTART_DELAY=20; --no-color is '
  .. 'FORKMON_NO_COLORS there. With FORKMON_DISABLE=1 the program is run without forkmon.'

help.statuses = {
  { '0', 'A subcommand has done what it was asked for.' },
  { '1', 'A subcommand could not do what it was asked for, or forkmon is not installed as it should be.' },
  { '2', 'The command line is wrong.' },
  { '127', 'There is no such script or command.' },
  { '128+N', 'The session was ended by signal N: 130 after Ctrl+C, 143 after SIGTERM and `forkmon stop`. The status of '
    .. 'the program is shown by a line of forkmon, and is that of the command only with FORKMON_DISABLE=1.' },
}

--- What an option does, with its default.
---@param definition table
---@return string
function help.doc(definition)
  local default = definition.shown or type(definition.default) == 'number' and definition.default
  return definition.doc .. (default and format(' (default %s)', default) or '')
end

local function flag_line(flag, value, doc)
  return text.wrap(doc, '  ' .. flag .. (value and ' ' .. value or ''), 28, WIDTH)
end

--- The lines that tell of the options.
---@return string
function help.options()
  local lines = {}
  for index, definition in ipairs(options.definitions) do
    lines[index] = flag_line(definition.flag, definition.value, help.doc(definition))
  end
  return concat(lines, '\n')
end

--- The usage lines alone.
---@return string
function help.usage()
  return 'Usage: ' .. concat(usages, '\n       ') .. '\n'
end

--- The text of --help.
---@return string
function help.general()
  local parts = { help.usage(), text.wrap(introduction, '', 0, WIDTH), '\nOptions:', help.options(), '' }
  for _, action in ipairs(flags.actions) do
    parts[#parts + 1] = flag_line(action.short .. ', ' .. action.flag, nil, action.doc)
  end
  parts[#parts + 1] = '\nSubcommands (more with `forkmon help SUBCOMMAND`):'
  for _, subcommand in ipairs(subcommands.list) do
    parts[#parts + 1] = flag_line(subcommand.name, nil, subcommand.summary)
  end
  parts[#parts + 1] = '\n' .. text.wrap(words, '', 0, WIDTH)
  parts[#parts + 1] = '\n' .. text.wrap(environment, '', 0, WIDTH) .. '\n'
  return concat(parts, '\n')
end

--- The text of `help integrations`.
---@return string
function help.integrations()
  local about = 'What forkmon does for these programs; --no-integration NAME has it leave that.'
  local lines = { text.wrap(about, '', 0, WIDTH), '' }
  for _, integration in ipairs(options.integrations) do
    lines[#lines + 1] = flag_line(integration.name, nil, integration.doc)
  end
  return concat(lines, '\n') .. '\n'
end

--- The text of `help SUBCOMMAND`.
---@param subcommand forkmon.Subcommand
---@return string
function help.of(subcommand)
  local parts = { 'Usage: ' .. subcommands.usage(subcommand), '' }
  for _, paragraph in ipairs(subcommand.text) do
    parts[#parts + 1] = text.wrap(paragraph, '', 0, WIDTH) .. '\n'
  end
  if subcommand.flags[1] then
    parts[#parts + 1] = 'Options:'
    for _, flag in ipairs(subcommand.flags) do parts[#parts + 1] = flag_line(flag.flag, flag.value, flag.doc) end
    parts[#parts + 1] = ''
  end
  return concat(parts, '\n')
end

----------------------------------------------------------------------------------------------
-- The manual page

-- Text in troff: no line may look like a request, no hyphen be taken for a typographic one.
local function troff(line)
  line = gsub(line, '\\', '\\e')
  line = gsub(line, '%-', '\\-')
  line = gsub(line, "^([.'])", '\\&%1')
  return line
end

local function bold(word) return '\\fB' .. troff(word) .. '\\fR' end
local function italic(word) return '\\fI' .. troff(word) .. '\\fR' end

local function with_value(flag, value)
  return bold(flag) .. (value and ' ' .. italic(value) or '')
end

--- The manual page, in troff.
---@param version string
---@return string
function help.manual(version)
  local lines = {}
  local function put(...)
    for _, line in ipairs { ... } do lines[#lines + 1] = line end
  end
  local function section(name) put('.SH ' .. upper(name)) end
  local function item(head, doc) put('.TP', head, troff(doc)) end

  put('.TH FORKMON 1 "" "forkmon ' .. version .. '"')
  section 'name'
  put('forkmon \\- run a Lua program that goes on from the middle when its files change')
  section 'synopsis'
  for index, usage in ipairs(usages) do
    if index > 1 then put '.br' end
    put(bold 'forkmon' .. troff(gsub(usage, '^forkmon', '')))
  end
  section 'description'
  put(troff(introduction))
  put('.PP', 'While the program runs, forkmon takes checkpoints: frozen copies of it, from just before it opened a',
    'watched file. When such a file is saved, the copy from before it was opened goes on in the place of the program.')
  section 'options'
  for _, definition in ipairs(options.definitions) do
    item(with_value(definition.flag, definition.value), help.doc(definition))
  end
  for _, action in ipairs(flags.actions) do item(bold(action.short) .. ', ' .. bold(action.flag), action.doc) end
  section 'subcommands'
  put(troff(words))
  for _, subcommand in ipairs(subcommands.list) do
    put('.SS ' .. troff(subcommands.usage(subcommand)))
    for index, paragraph in ipairs(subcommand.text) do
      if index > 1 then put '.PP' end
      put(troff(paragraph))
    end
    for _, flag in ipairs(subcommand.flags) do item(with_value(flag.flag, flag.value), flag.doc) end
  end
  section 'exit status'
  for _, status in ipairs(help.statuses) do item(bold(status[1]), status[2]) end
  section 'environment'
  put(troff(environment))
  for _, definition in ipairs(options.definitions) do
    item(bold(definition.env), 'As ' .. definition.flag .. '.')
  end
  item(bold 'FORKMON_DISABLE', 'Run the program as if forkmon were not there.')
  section 'files'
  item(bold '$XDG_RUNTIME_DIR/forkmon/NAMESPACE-PID.sock',
    'Where a session listens for subcommands; in forkmon-UID in the temporary folder where that cannot be.')
  return concat(lines, '\n') .. '\n'
end

return help
