--- The client's side of status, resume, restart and stop: which session is meant, and what to say when none is.

local options = require 'forkmon.options'
local text = require 'forkmon.cli.text'

local find, format, match, sub = string.find, string.format, string.match, string.sub
local concat, sort = table.concat, table.sort
local ipairs, tonumber = ipairs, tonumber

local sessions = {}

local function line(session)
  return text.printable(format('  %d  %s  (in %s)', session.pid, session.command, session.directory))
end

--- A message with the sessions below it, so that the user can choose one.
local function with_list(message, list)
  local lines = { message }
  for _, session in ipairs(list) do lines[#lines + 1] = line(session) end
  return concat(lines, '\n')
end

--- Reads a PID from the command line.
---@param word string
---@return integer|nil pid
---@return string|nil message
function sessions.pid(word)
  local pid = find(word, '^[1-9]%d*$') and tonumber(word)
  if pid and pid < 2 ^ 31 then return pid end
  return nil, format("'%s' is no PID", text.printable(word))
end

--- Whether a session is still there; what is left of one that is not is cleared away.
local function lives(core, pid)
  for _, other in ipairs(core.sessions()) do
    if other == pid then return true end
  end
  return false
end

--- What each session of this user says of itself. One that ends meanwhile is none.
---@param core table
---@param verb 'summary'|'status'
---@return table[] list
---@return string[] silent a line for each that does not answer
function sessions.all(core, verb)
  local list, silent = {}, {}
  for _, pid in ipairs(core.sessions()) do
    local session, message = core.ask(pid, verb)
    if session then
      list[#list + 1] = session
    elseif lives(core, pid) then
      silent[#silent + 1] = format('cannot ask %d: %s', pid, message)
    end
  end
  return list, silent
end

--- The session that is meant where no PID is given: the only one in this folder.
---@param core table
---@param usage string how the command would name another
---@return integer|nil pid
---@return string|nil message
function sessions.here(core, usage)
  local here, cwd, list, silent = {}, core.getcwd(), sessions.all(core, 'summary')
  for _, session in ipairs(list) do
    if session.directory == cwd then here[#here + 1] = session end
  end
  if #here == 1 then return here[1].pid end
  if #list == 0 then return nil, silent[1] and concat(silent, '\n') or 'no forkmon is running' end
  if #here == 0 then
    return nil, with_list(format('no forkmon runs in this folder; `%s` names one of those elsewhere:', usage), list)
  end
  return nil, with_list(format('%d of them run in this folder; `%s` names one:', #here, usage), here)
end

--- Has a session do something.
---@return boolean|nil done
---@return string|nil message
function sessions.tell(core, pid, verb, what)
  local done, message = core.ask(pid, verb, what)
  if done then return true end
  return nil, format('cannot %s %d: %s', verb, pid, text.printable(message))
end

--- The files of a session that have this name at their end, in order, or else the places where one was looked for; and
--- what can be named besides: labels, and the last names of all files.
local function called(session, name)
  local found, missing, names = {}, {}, {}
  local function look(list, into)
    for _, file in ipairs(list) do
      names[match(file, '[^/]*$')] = true
      if sub(file, -#name - 1) == '/' .. name then into[#into + 1] = file end
    end
  end
  look(session.restart_files, found)
  for _, checkpoint in ipairs(session.checkpoints) do
    if checkpoint.explicit then names[checkpoint.name] = true end
    look(checkpoint.files, found)
    look(checkpoint.missing, missing)
  end
  if #found == 0 then found = missing end
  sort(found)
  return found, names
end

--- Has a session resume. What looks like a relative path may be a label, so it is tried as it is first, and last as
--- the end of a path.
---@return boolean|nil done
---@return string|nil message
function sessions.resume(core, pid, what)
  local done, message = sessions.tell(core, pid, 'resume', what)
  if done then return true end
  if find(what, '^%d+$') then
    for _, running in ipairs(core.sessions()) do
      if tonumber(what) == running then message = message .. ' (a PID goes before a checkpoint)' end
    end
  end
  if sub(what, 1, 1) ~= '/' and sessions.tell(core, pid, 'resume', core.absolute(what)) then return true end
  local session = core.ask(pid, 'status')
  if not session or find(what, '^%d+$') then return nil, message end
  local found, names = called(session, what)
  if #found == 1 then return sessions.tell(core, pid, 'resume', found[1]) end
  if #found == 0 then return nil, message .. text.printable(options.suggestion(match(what, '[^/]*$'), names)) end
  local lines = { format("cannot resume %d: %d watched files are called '%s':", pid, #found, text.printable(what)) }
  for _, file in ipairs(found) do lines[#lines + 1] = '  ' .. text.printable(file) end
  return nil, concat(lines, '\n')
end

return sessions
