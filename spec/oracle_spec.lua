--- The oracle (spec/support/oracle.lua): a few random sessions for each Lua, and proof that it
-- finds what is wrong.
--
-- A failure tells its seed; FORKMON_SEED=<seed> begins with it. `make soak` plays many.

local oracle = require 'spec.support.oracle'
local support = require 'spec.support'

local SESSIONS = 6
local BURSTS = 8

support.each_lua(function(lua)
  local seed = oracle.seed()
  for i = 0, SESSIONS - 1 do
    it(('ends as a cold run would (FORKMON_SEED=%d)'):format(seed + i), function()
      assert.is_true(oracle.play(lua, seed + i, BURSTS) > 0)
    end)
  end

  it('would be found out if a dependency were overlooked', function()
    assert.error_matches(function()
      oracle.play(lua, 1, 0, { ignore = 'sentinel%.txt$' }, 1)
    end, 'disagrees with a cold run: line %d+ is')
  end)
end)

support.describe('the oracle', function()
  local run = oracle.parse_run([[
out 1 main;
out 2 a v1;
out 3 b v1;
out 4 END 77;
]], '1 ./a.lua\n2 b.lua\n')

  --- What the oracle says about a session that begins as the cold run above.
  local function verdict(rest, imprecise)
    local transcript = oracle.new_transcript('/p', { ['a.lua'] = true, ['b.lua'] = true })
    local _, message = pcall(function()
      transcript:read("out 1 main;\nout 2 a v1;\nout 3 b v0;\nout 4 END 66;\n" .. rest)
      return transcript:difference(run, imprecise)
    end)
    return message
  end

  it('takes a run that goes on from the file that changed', function()
    assert.is_nil(verdict "[forkmon] file '/p/b.lua' changed, resuming from it..\nout 3 b v1;\nout 4 END 77;\n")
  end)

  it('takes what is begun again because of another edit', function()
    assert.is_nil(verdict("[forkmon] file '/p/b.lua' changed, resuming from it..\nout 3 b v"
      .. "[forkmon] file '/p/a.lua' changed, resuming from it..\nout 2 a v1;\nout 3 b v1;\nout 4 END 77;\n"))
  end)

  it('finds an edit that was lost', function()
    assert.matches('line 3 is\n  b v0\nand should be\n  b v1', verdict '')
  end)

  it('finds output that is repeated', function()
    local repeated = "[forkmon] file '/p/b.lua' changed, resuming from %s..\nout 2 a v1;\nout 3 b v1;\nout 4 END 77;\n"
    assert.matches('resumed from b.lua, with line 2 instead of 3', verdict(repeated:format 'it'))
    assert.matches('reached after line 2, but line 2 came again', verdict(repeated:format "'/p/a.lua'"))
    assert.is_nil(verdict(repeated:format "'/p/a.lua'", true))
  end)

  it('finds output that is missing, and output out of the blue', function()
    assert.matches('lines are missing',
      verdict "[forkmon] file '/p/b.lua' changed, resuming from it..\nout 6 END 77;\n")
    assert.matches('4 lines were printed', verdict 'out 4 END 77;\n')
  end)

  it('finds a resume that nobody caused', function()
    assert.matches('nobody edited: ../own/x', verdict "[forkmon] file '/own/x' changed, resuming from it..\n")
  end)
end)
