--- Waiting with a deadline.
--
-- Deadlines are generous, for they only matter when something is wrong: a spec goes on the
-- moment that what it waits for is there. Who works on what is wrong has less patience:
-- FORKMON_TEST_PATIENCE=3.

local poll = require('posix').poll
local monotime = require('system').monotime

local clock = {
  now = monotime, -- seconds, never set back
  patience = tonumber(os.getenv 'FORKMON_TEST_PATIENCE') or 60, -- seconds until a wait is given up
}

--- Waits for a condition that no descriptor announces.
-- @param what says in the error what was waited for: a string or a function that returns one
-- @param condition its first true result is returned
-- @param patience seconds, `clock.patience` unless given
function clock.wait_until(what, condition, patience)
  local deadline = monotime() + (patience or clock.patience)
  repeat
    local result = condition()
    if result then return result end
    poll({}, 5)
  until monotime() > deadline
  error('waited in vain: ' .. (type(what) == 'function' and what() or what), 2)
end

return clock
