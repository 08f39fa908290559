--- The oracle (spec/support/oracle.lua) for a number of minutes, on every Lua in turn.
--
--     lua5.3 spec/soak.lua MINUTES [SEED]
--
-- Ends with the first failure, whose seed it tells, or with the number of edits survived.

local clock = require 'spec.support.clock'
local oracle = require 'spec.support.oracle'
local support = require 'spec.support'

local BURSTS = 12

local minutes = assert(tonumber(arg[1]), 'usage: soak.lua MINUTES [SEED]')
local seed = tonumber(arg[2]) or oracle.seed()
local luas = support.luas()
local until_then = clock.now() + minutes * 60
local sessions, edits = 0, 0

repeat
  local lua = luas[sessions % #luas + 1]
  local ok, result = pcall(oracle.play, lua, seed + sessions // #luas, BURSTS)
  local clean, left = pcall(support.finish)
  if not (ok and clean) then
    print(ok and left or result)
    print(('failed after %d edits in %d sessions'):format(edits, sessions))
    os.exit(1)
  end
  sessions, edits = sessions + 1, edits + result
until clock.now() > until_then

print(('survived %d edits in %d sessions on %s, from FORKMON_SEED=%d')
  :format(edits, sessions, os.getenv 'FORKMON_TEST_LUAS' or 'every Lua', seed))
