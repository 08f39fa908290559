--- The subcommands: what each does with its arguments.

local completion = require 'forkmon.cli.completion'
local flags = require 'forkmon.cli.flags'
local help = require 'forkmon.cli.help'
local native = require 'forkmon.native'
local options = require 'forkmon.options'
local output = require 'forkmon.cli.output'
local picture = require 'forkmon.cli.picture'
local sessions = require 'forkmon.cli.sessions'
local status = require 'forkmon.cli.status'
local subcommands = require 'forkmon.cli.subcommands'
local text = require 'forkmon.cli.text'

local concat = table.concat
local getenv, open = os.getenv, io.open
local ipairs, tonumber = ipairs, tonumber

local client = {}

local help_flag = flags.actions[1]

--- Takes the arguments of a subcommand apart.
---@param subcommand forkmon.Subcommand
---@param arguments string[] the first is its name
---@return { values: table<string, string>, words: string[], last?: string }|nil parsed see `flags.read`
---@return string|nil message
function client.parse(subcommand, arguments)
  local known = { help_flag }
  for _, flag in ipairs(subcommand.flags) do known[#known + 1] = flag end
  local parsed, message = flags.read(arguments, 2, known, true)
  if not parsed then return nil, message end
  local count = #parsed.words
  local wrong = count < subcommand.least and 'not enough' or count > subcommand.most and 'too many'
  if wrong and not parsed.last then return nil, wrong .. ' arguments' end
  return parsed
end

local function width(core)
  local columns = tonumber(getenv('COLUMNS') or '') or core.width(1)
  return columns and columns > 0 and columns or 80
end

--- Draws a session into a file.
local function draw(session, path)
  local file, message = open(path, 'wb')
  if not file then return output.fail(1, 'cannot write %s', message) end
  local written, failure = file:write(picture.draw(session))
  local closed, other = file:close()
  if written and closed then return 0 end
  return output.fail(1, 'cannot write %s: %s', path, failure or other)
end

-- What each subcommand does, and what those do that need no core.
local runners, printers = {}, {}

function runners.status(core, values, words)
  local list, silent, pid, message = {}, {}
  if words[1] then
    pid, message = sessions.pid(words[1])
    if not pid then return output.fail(2, '%s', message) end
  elseif values['--svg'] then
    pid, message = sessions.here(core, 'forkmon status --svg FILE PID')
    if not pid then return output.fail(1, '%s', message) end
  end
  if pid then
    list[1], message = core.ask(pid, 'status')
    if not list[1] then return output.fail(1, 'cannot ask %d: %s', pid, message) end
  else
    list, silent = sessions.all(core, 'status')
    for _, line in ipairs(silent) do output.fail(1, '%s', line) end
  end

  if values['--svg'] then
    local failed = draw(list[1], values['--svg'])
    if failed ~= 0 or not values['--json'] then return failed end
  end
  if values['--json'] then
    local failed = output.print(core.json(list) .. '\n')
    return #list > 0 and failed or 1
  end
  if #list == 0 then return silent[1] and 1 or output.fail(1, 'no forkmon is running') end
  local tables = {}
  for index, session in ipairs(list) do
    tables[index] = status.table(session, width(core), text.is_unicode(getenv), values['--files'] ~= nil)
  end
  return output.print(concat(tables, '\n\n') .. '\n')
end

--- The session that a word names, or the one here.
local function session_of(core, word, usage)
  if word then return sessions.pid(word) end
  return sessions.here(core, usage)
end

function runners.resume(core, _, words)
  local what = words[#words]
  local pid, problem = session_of(core, words[2] and words[1], 'forkmon resume PID ' .. what)
  if not pid then return output.fail(words[2] and 2 or 1, '%s', problem) end
  local done, message = sessions.resume(core, pid, what)
  return done and 0 or output.fail(1, '%s', message)
end

for _, verb in ipairs { 'restart', 'stop' } do
  runners[verb] = function(core, _, words)
    local pid, problem = session_of(core, words[1], 'forkmon ' .. verb .. ' PID')
    if not pid then return output.fail(words[1] and 2 or 1, '%s', problem) end
    local done, message = sessions.tell(core, pid, verb)
    return done and 0 or output.fail(1, '%s', message)
  end
end

function printers.help(values, words)
  if values['--man'] then return output.print(help.manual(native.VERSION)) end
  if not words[1] then return output.print(help.general()) end
  if words[1] == 'integrations' then return output.print(help.integrations()) end
  local subcommand = subcommands.by_name[words[1]]
  if subcommand then return output.print(help.of(subcommand)) end
  return output.fail(2, "no subcommand is called '%s'%s", words[1], options.suggestion(words[1], subcommands.by_name))
end

function printers.completion(_, words)
  local script = completion[words[1]]
  if script then return output.print(script()) end
  return output.fail(2, "no completion for '%s': bash, zsh and fish are known", words[1])
end

--- Runs a subcommand.
---@param subcommand forkmon.Subcommand
---@param arguments string[] the first is its name
---@return integer status
function client.run(subcommand, arguments)
  local name = subcommand.name
  local parsed, message = client.parse(subcommand, arguments)
  if not parsed then return output.fail(2, "%s; try 'forkmon help %s'", message, name) end
  if parsed.last then return output.print(help.of(subcommand)) end
  if printers[name] then return printers[name](parsed.values, parsed.words) end
  local core = output.core()
  if not core then return 1 end
  return runners[name](core, parsed.values, parsed.words)
end

return client
