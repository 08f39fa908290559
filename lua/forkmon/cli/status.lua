--- The table that `forkmon status` prints.
--
--     4711 waiting for changes: lua main.lua
--          ran 1.20 s, 12 files, 3 resumes, 18 MB
--          in /home/bart/project
--
--       #  when                       saves   memory  resumed  files
--       -                                                      main.lua
--       0  ▌                         0.4 ms   3.1 MB        0  main.lua
--       1  ██████                    312 ms   4.0 MB        3  a.lua +2
--       2  ░░░░░░█████████           781 ms   5.2 MB        0  'loaded'
--                         ██████

local text = require 'forkmon.cli.text'
local view = require 'forkmon.cli.view'

local floor, max, min = math.floor, math.max, math.min
local format, gsub, rep = string.format, string.gsub, string.rep
local concat = table.concat
local ipairs = ipairs

local status = {}

local plain = { before = '-', own = '#', on = '>', cut = '..', ascii = true }
local fancy = { before = '░', own = '█', on = '▶', cut = '…' }

-- The columns of numbers, with the spaces before them.
local SAVES, MEMORY, RESUMED = 10, 9, 9

local function bar(row, shown, width, glyphs)
  if not row.from then return '' end
  local from = floor(row.from / shown.span * width + 0.5)
  local to = floor(row.to / shown.span * width + 0.5)
  -- However short, it can be seen, and lies within the bar.
  from = min(from, width - 1)
  to = max(to, from + 1)
  local before = rep(row.kind == 'rest' and ' ' or glyphs.before, from)
  local own = rep(glyphs.own, to - from)
  if row.kind == 'rest' and shown.is_cut then own = rep(glyphs.own, to - from - 1) .. glyphs.on end
  return before .. own
end

local function files(row, width, glyphs)
  local label = row.label and "'" .. text.printable(row.label, glyphs.ascii) .. "'" or ''
  local first, more = '', ''
  -- Where it read no file, what it asked about leads back there as well, and so does what it missed.
  local list = row.files
  if not list[1] then list = row.asked[1] and row.asked or row.missing end
  if list[1] then
    if label ~= '' then label = label .. ' ' end
    first = text.printable(list[1], glyphs.ascii)
    if #list > 1 then more = format(' +%d', #list - 1) end
  end
  label = text.tail(label, width, glyphs.cut)
  local left = max(width - text.width(label) - #more, #glyphs.cut + 1)
  return label .. text.tail(first, left, glyphs.cut) .. more
end

--- All files of a session by their checkpoints, a line for each, whatever it takes.
local function all_files(shown, mark, glyphs)
  local lines = {}
  for _, row in ipairs(shown.rows) do
    local head = row.mark
    local function add(name)
      lines[#lines + 1] = '  ' .. text.pad(head, -mark) .. '  ' .. text.printable(name, glyphs.ascii)
      head = ''
    end
    for _, name in ipairs(row.files) do add(name) end
    for _, name in ipairs(row.asked) do add(name .. ' (asked about)') end
    for _, name in ipairs(row.missing) do add(name .. ' (looked for, not there)') end
  end
  return lines
end

--- The table of one session.
---@param session table as core.ask gives it
---@param width integer columns there are
---@param unicode boolean whether they can show more than ASCII
---@param with_files boolean|nil whether every file is named below it
---@return string
function status.table(session, width, unicode, with_files)
  local glyphs = unicode and fancy or plain
  local shown = view.of(session)
  local indent = rep(' ', #tostring(session.pid) + 1)
  local facts = view.facts(session)
  local lines = {
    format('%d %s: %s', session.pid, facts[1], text.printable(session.command, glyphs.ascii)),
    indent .. concat(facts, ', ', 2),
    indent .. 'in ' .. text.printable(session.directory, glyphs.ascii),
    '',
  }

  local mark = 1
  for _, row in ipairs(shown.rows) do mark = max(mark, #row.mark) end
  local rest = max(width - (2 + mark + 2) - SAVES - MEMORY - RESUMED - 2, 20)
  local length = min(floor(rest * 0.45), 60)
  local name = rest - length

  local function add(number, drawn, saves, memory, resumed, named)
    local columns = '  ' .. text.pad(number, -mark) .. '  ' .. text.pad(drawn, length) .. text.pad(saves, -SAVES)
      .. text.pad(memory, -MEMORY) .. text.pad(resumed, -RESUMED) .. '  ' .. named
    lines[#lines + 1] = gsub(columns, '%s+$', '')
  end

  add('#', 'when', 'saves', 'memory', 'resumed', 'files')
  for _, row in ipairs(shown.rows) do
    local is_checkpoint = row.kind == 'checkpoint'
    add(row.mark, bar(row, shown, length, glyphs), is_checkpoint and text.time(row.to) or '',
      row.memory and text.memory(row.memory) or '', is_checkpoint and format('%d', row.resumed) or '',
      files(row, name, glyphs))
  end
  if with_files then
    lines[#lines + 1] = ''
    for _, line in ipairs(all_files(shown, mark, glyphs)) do lines[#lines + 1] = line end
  end
  return concat(lines, '\n')
end

return status
