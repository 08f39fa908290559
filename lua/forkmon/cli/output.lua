--- What the command prints, and the exit status that goes with it.

local native = require 'forkmon.native'

local format = string.format
local stderr, stdout = io.stderr, io.stdout

local output = {}

--- Prints a message.
---@param status integer
---@param message string a format, with its values after it
---@return integer status
function output.fail(status, message, ...)
  stderr:write('forkmon: ', format(message, ...), '\n')
  return status
end

--- Prints a text as a whole; says so if that fails.
---@param text string
---@return integer status
function output.print(text)
  local written, message = stdout:write(text)
  if written then written, message = stdout:flush() end
  if not written then return output.fail(1, 'cannot write: %s', message) end
  return 0
end

--- Loads the native core; prints what is wrong, and the remedy, if that fails.
---@return table|nil core
function output.core()
  local core, message = native.load()
  if not core then stderr:write(message, '\n') end
  return core
end

return output
