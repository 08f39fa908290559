--- What there is to show of a session, before it becomes a table on a terminal or a picture.
--
-- A run is shown as a timeline. The row of a checkpoint reaches from the start of the run to where it was taken, and
-- its last part is what was done since the checkpoint before: so one sees where the time goes. The last row is what no
-- checkpoint saves. A program that goes on for long, as a server does, would press all that against the left edge:
-- then the timeline is cut off behind the last checkpoint.

local text = require 'forkmon.cli.text'

local format, sub = string.format, string.sub
local ipairs, max = ipairs, math.max

local view = {}

-- Seconds after the last checkpoint that are worth showing, whatever room they take.
local LONG = 10

--- A path as people name it who are in `directory`.
---@param path string
---@param directory string
---@return string
function view.short(path, directory)
  local length = #directory
  if sub(path, 1, length + 1) == directory .. '/' then return sub(path, length + 2) end
  return path
end

--- The file that a checkpoint was taken for goes first.
local function names(files, first, directory)
  local shown, found = {}, false
  for _, file in ipairs(files) do
    if file == first then
      found = true
    else
      shown[#shown + 1] = view.short(file, directory)
    end
  end
  if found then table.insert(shown, 1, view.short(first, directory)) end
  return shown
end

---@class forkmon.Row
---@field kind 'restart'|'checkpoint'|'rest'
---@field mark string its number, or what stands in for it
---@field from? number when in the run its own part begins, in seconds
---@field to? number and ends
---@field label? string
---@field title? string what it is called
---@field files string[] short names
---@field asked string[] short names of what it asked about without opening it
---@field missing string[] short names of places where there is no file yet
---@field memory? number
---@field resumed? integer

---@class forkmon.View
---@field rows forkmon.Row[]
---@field span number seconds that the timeline shows
---@field is_cut boolean whether the run goes on behind them

--- The view of a session.
---@param session table as core.ask gives it
---@return forkmon.View
function view.of(session)
  local rows, directory = {}, session.directory
  if #session.restart_files > 0 then
    rows[1] = { kind = 'restart', mark = '-', asked = {}, missing = {},
      files = names(session.restart_files, nil, directory) }
  end
  local last = 0
  for _, checkpoint in ipairs(session.checkpoints) do
    rows[#rows + 1] = {
      kind = 'checkpoint', mark = tostring(checkpoint.number), from = last, to = checkpoint.at,
      label = checkpoint.explicit and checkpoint.name or nil, title = view.short(checkpoint.name, directory),
      files = names(checkpoint.files, checkpoint.name, directory),
      asked = names(checkpoint.asked, nil, directory), missing = names(checkpoint.missing, nil, directory),
      memory = checkpoint.memory, resumed = checkpoint.resumed,
    }
    last = checkpoint.at
  end
  local run = max(session.elapsed, last, 1e-6)
  local is_cut = #session.checkpoints > 1 and run > 4 * last and run > last + LONG
  local span = is_cut and 1.25 * last or run
  rows[#rows + 1] = { kind = 'rest', mark = '', from = last, to = span, files = {}, asked = {}, missing = {} }
  return { rows = rows, span = span, is_cut = is_cut }
end

local states = { waiting = 'waiting for changes' }

--- What a session is, in a few words each.
---@param session table
---@return string[]
function view.facts(session)
  local facts = {
    states[session.state] or session.state,
    (session.program and 'has run ' or 'ran ') .. text.time(session.elapsed),
    text.count(session.files, 'file'),
    text.count(session.resumes, 'resume'),
  }
  -- Those below are of the checkpoints that there are now.
  local gone = session.resumes
  for _, checkpoint in ipairs(session.checkpoints) do gone = gone - checkpoint.resumed end
  if gone > 0 then facts[4] = format('%s (%d from checkpoints that are gone)', facts[4], gone) end
  if session.polled > 0 then facts[3] = facts[3] .. ' (' .. session.polled .. ' polled)' end
  if session.memory then facts[#facts + 1] = text.memory(session.memory) end
  return facts
end

return view
