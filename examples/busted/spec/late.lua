--- A helper for busted: loads each spec file just before its specs run.
--
-- By itself busted loads all files first and runs them afterwards, so that a change to any
-- file means to run all specs again. With this helper the specs of a file are done before
-- the next file is opened, and a change resumes behind them.

local lua_files = require 'busted.modules.files.lua'
local load_now = lua_files.load

function lua_files.load(busted, filename)
  local get_trace
  local function file(...)
    local loaded
    loaded, get_trace = load_now(busted, filename)
    if not loaded then return end -- which has been reported
    busted.wrap(loaded)
    return loaded(...)
  end
  return file, function(...) return get_trace(...) end
end
