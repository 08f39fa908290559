--- No edit is lost, however fast they come and at whatever moment.
--
-- What counts is the end: after the last save the program must come to show the last text.
-- Random bursts print their seed when they fail; FORKMON_SEED repeats one.

local posix = require 'posix'
local clock = require 'spec.support.clock'
local support = require 'spec.support'
local Viewer = require 'spec.support.viewer'

local seed = tonumber(os.getenv 'FORKMON_SEED') or os.time() * 1000 + posix.getpid 'pid'

--- Runs a spec with random numbers of its own; a failure tells how to repeat it.
local function randomly(body)
  math.randomseed(seed)
  local ok, message = pcall(body)
  if not ok then error(('FORKMON_SEED=%d: %s'):format(seed, tostring(message)), 0) end
end

local styles = { 'write', 'write_in_two_steps', 'replace', 'write_after_backup' }

local function save(project, name, text)
  project[styles[math.random(#styles)]](project, name, text)
end

local function pause(most)
  local milliseconds = math.random(0, most)
  if milliseconds > 0 then posix.poll({}, milliseconds) end
end

local count = support.count

support.each_lua(function(lua)
  for _, stay in ipairs { false, true } do
    it('shows the last of a hundred quick saves, ' .. (stay and 'while it runs' or 'after its end'), function()
      randomly(function()
        local project = support.project { ['value.txt'] = 'first' }
        local viewer = Viewer.start(lua, project, { stay = stay })
        viewer:expect_first('value.txt', 'shows first')
        for _, most in ipairs { 0, 3, 20 } do
          for i = 1, 33 do
            save(project, 'value.txt', ('burst %d save %d'):format(most, i))
            pause(most)
          end
          local last = ('burst %d the last'):format(most)
          save(project, 'value.txt', last)
          viewer:expect('shows ' .. last)
        end
        viewer:expect_quiet 'value.txt'
        assert.equal(1, count(viewer.program.stdout.text, 'startup'))
        viewer:stop()
      end)
    end)
  end

  it('shows what is saved as soon as it has begun to resume', function()
    randomly(function()
      local project = support.project { ['value.txt'] = 'first' }
      local viewer = Viewer.start(lua, project, { stay = true })
      viewer:expect_first('value.txt', 'shows first')
      for i = 1, 30 do
        project:write('value.txt', 'before ' .. i)
        viewer.program:expect(viewer:resuming 'value.txt')
        if i % 2 == 0 then pause(4) end
        project:write('value.txt', 'within ' .. i)
        viewer:expect('shows within ' .. i)
      end
      viewer:expect_quiet 'value.txt'
      viewer:stop()
    end)
  end)

  it('shows what is saved while the program is starting', function()
    randomly(function()
      for i = 1, 8 do
        local project = support.project { ['value.txt'] = 'first' }
        local viewer = Viewer.start(lua, project, { stay = true })
        if i % 2 == 0 then viewer.program:expect 'startup\n' end
        for save_number = 1, 20 do
          project:write('value.txt', 'save ' .. save_number)
          pause(2)
        end
        viewer:expect 'shows save 20'
        viewer:expect_quiet 'value.txt'
        viewer:stop()
      end
    end)
  end)

  -- The edit is made by a subprocess of the program, so that it happens at a known point of it.
  describe('an edit of the same size', function()
    local edit = "os.execute '[ -e edited ] || { touch edited; printf two > value.txt; }'"
    local places = {
      ['right before the open'] = [[
        %s
        local file = io.open 'value.txt' local text = file:read '*a' file:close()]],
      ['between the open and the reading'] = [[
        local file = io.open 'value.txt' %s
        local text = file:read '*a' file:close()]],
      ['right after the reading'] = [[
        local file = io.open 'value.txt' local text = file:read '*a' file:close()
        %s]],
    }
    for where, program in pairs(places) do
      it(where .. ' is seen', function()
        for _ = 1, 5 do
          local project = support.project {
            ['main.lua'] = ([[
              io.stdout:setvbuf 'no'
              local function contents() -- by another way than the hooks see
                local pipe = io.popen 'cat value.txt'
                local text = pipe:read '*a'
                pipe:close()
                return text
              end
              %s
              print('shows ' .. text)
              if text == contents() then print 'as it is' end
            ]]):format(program:format(edit)),
            ['value.txt'] = 'one',
          }
          -- As young as can be: both saves may fall into one tick of the file system's clock.
          local program_of_one = lua:forkmon { '--filter', '%.txt$', 'main.lua', cwd = project.root }
          program_of_one:expect 'shows two\nas it is\n'
          program_of_one:stop()
        end
      end)
    end
  end)

  -- How many resumes a burst ends in depends on how long the machine lets it take: with a delay
  -- that outlasts any hiccup one or two, otherwise still far fewer than there are saves.
  for delay, most in pairs { [5] = 10, [200] = 2 } do
    it(('acts on a burst over many files in few resumes, with a delay of %d ms'):format(delay), function()
      local files = {}
      local project = support.project {}
      for i = 1, 30 do
        files[i] = ('%02d.txt'):format(i)
        project:write(files[i], 'old')
      end
      local viewer = Viewer.start(lua, project,
        { files = files, stay = true, flags = { '--no-watch-lines', '--restart-delay', tostring(delay) } })
      for _ = 1, #files do viewer:expect 'shows old' end
      for round = 1, 3 do
        local text = 'round ' .. round
        for i = #files, 2, -1 do project:replace(files[i], text) end
        -- The last run goes from the file it was resumed for to the end, and all it shows is new. The second file is
        -- saved last, so that one of the runs goes from there.
        local before = #viewer.program.stdout.text
        support.wait_until('the last run of ' .. text, function()
          viewer.program:unread()
          local cause, shown = viewer.program.stdout.text:match ".*/(%d%d)%.txt' [^\n]*changed, resuming [^\n]*\n(.*)$"
          return viewer.program.stdout.text:find('/02%.txt', before + 1)
            and shown == ('shows ' .. text .. '\n'):rep(#files + 1 - (tonumber(cause) or 0))
        end)
        local seen = viewer.program.stdout.text
        local resumes = count(seen, 'resuming from')
        assert.is_true(resumes >= round and resumes <= most * round, resumes .. ' resumes')
      end
      project:write(files[30], 'alone')
      viewer:expect(viewer:resuming(files[30]) .. 'shows alone')
      assert.equal(1, count(viewer.program.stdout.text, 'startup'))
      viewer:stop()
    end)
  end

  it('holds changes for ignore_delay and drops none', function()
    local project = support.project { ['a.txt'] = 'a1', ['b.txt'] = 'b1' }
    local viewer = Viewer.start(lua, project,
      { files = { 'a.txt', 'b.txt' }, flags = { '--ignore-delay', '400' }, stay = true })
    viewer:expect 'shows b1'
    project:write('b.txt', 'b2')
    viewer:expect_resume('b.txt', 'shows b2')
    local resumed = clock.now()
    project:write('b.txt', 'b3')
    project:write('a.txt', 'a2')
    project:write('b.txt', 'b4')
    viewer:expect_resume('a.txt', 'shows a2\nshows b4', 'and 1 more changed')
    -- On a loaded machine the first resume may be heard of late, but not by half of the delay.
    local waited = clock.now() - resumed
    assert.is_true(waited >= 0.2, 'resumed again after ' .. waited)
    viewer:expect_quiet 'b.txt'
    viewer:stop()
  end)

  it('waits for restart_delay of quiet', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project, { flags = { '--restart-delay', '300' } })
    viewer:expect_first('value.txt', 'shows first')
    for i = 1, 10 do
      project:write('value.txt', 'save ' .. i)
      posix.poll({}, 10) -- well within the delay
    end
    viewer:expect_resume('value.txt', 'shows save 10')
    viewer:expect_quiet 'value.txt'
    viewer:stop()
  end)
end)
