--- Draws the timeline of a session as a picture (SVG) that needs nothing else.
--
-- Time runs from left to right. Each checkpoint has a band: above, its number, its name and how far into the run it
-- lies; below, the files whose change resumes from it. Where these are many, they are put together by folder, and the
-- names show when the mouse is over the folder. Text is set in a font of one width, so that it can be measured.

local text = require 'forkmon.cli.text'
local view = require 'forkmon.cli.view'

local floor, log, max, min = math.floor, math.log, math.max, math.min
local format, gsub, match = string.format, string.gsub, string.match
local concat, insert, sort = table.concat, table.insert, table.sort
local ipairs = ipairs

local picture = {}

local WIDTH, MARGIN = 960, 32
-- Where the names of checkpoints and the time axis begin.
local NAME, AXIS = MARGIN + 40, 400
local AXIS_WIDTH = WIDTH - MARGIN - AXIS
local TOP = 128
-- Widths of a character, and lines of file names.
local WIDE, NARROW, LINE = 7.83, 6.63, 18
-- More files than this at one checkpoint are put together by folder.
local MANY = 60

local style = [[
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328 }
text.title { font-size: 18px; font-weight: 600 } text.small { font-size: 11px } text.name { font-weight: 600 }
text.middle { text-anchor: middle } text.right { text-anchor: end } text.folder { text-decoration: underline }
text.soft { fill: #656d76 } text.mark { fill: #b93a0a } .grid { stroke: #d8dee4 }
.page { fill: #ffffff } .band { fill: #f6f8fa } .track { fill: #e6eaee }
.before { fill: #b9d3f5 } .own { fill: #2f6fd6 } .rest { fill: #b4bac1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } text.soft { fill: #8d96a0 } text.mark { fill: #fb923c } .grid { stroke: #2b323b }
.page { fill: #0d1117 } .band { fill: #141a21 } .track { fill: #222932 }
.before { fill: #1d3d6b } .own { fill: #4c93f5 } .rest { fill: #545c67 }
}
]]

local entities = { ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['"'] = '&quot;' }

local function escape(bytes)
  return (gsub(text.printable(bytes), '[&<>"]', entities))
end

--- Round distances between the ticks of the axis: 1, 2 or 5 times a power of ten.
local function step(span)
  local power = 10 ^ floor(log(span / 8) / log(10) + 1e-9)
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if span / (power * factor) <= 8 then return power * factor end
  end
end

local function tick_text(seconds, distance)
  if distance < 0.001 then return format('%.1f ms', seconds * 1000) end
  if distance < 1 and seconds < 1 then return format('%.0f ms', seconds * 1000) end
  if distance < 1 then return format('%.1f s', seconds) end
  return format('%.0f s', seconds)
end

-- One a line, for a tooltip.
local function all(files)
  local lines = {}
  for index, file in ipairs(files) do lines[index] = escape(file) end
  return concat(lines, '\n')
end

--- Puts files together by folder: a list of { text, title }, the title being XML.
local function by_folder(files)
  local folders, members = {}, {}
  for _, file in ipairs(files) do
    local folder = match(file, '^(.*/)') or './'
    if not members[folder] then
      members[folder] = {}
      folders[#folders + 1] = folder
    end
    local list = members[folder]
    list[#list + 1] = file
  end
  sort(folders, function(left, right)
    if #members[left] ~= #members[right] then return #members[left] > #members[right] end
    return left < right
  end)
  local items = {}
  for index, folder in ipairs(folders) do
    local list = members[folder]
    items[index] = #list == 1 and { text = list[1] }
      or { text = format('%s (%s)', folder, text.count(#list, 'file')), title = all(list) }
  end
  return items
end

--- The files of a row as lines of items, each with its place.
local function lay_out(row)
  local items = {}
  if #row.files > MANY then
    items = by_folder(row.files)
  else
    for index, file in ipairs(row.files) do items[index] = { text = file } end
  end
  if row.missing[1] then
    items[#items + 1] = { text = text.count(#row.missing, 'place') .. ' without a file', title = all(row.missing) }
  end
  local widest = WIDTH - MARGIN - NAME
  local lines, x = {}, widest
  for _, item in ipairs(items) do
    local whole = text.printable(item.text)
    item.text = text.tail(whole, floor(widest / NARROW), '…')
    if item.text ~= whole then item.title = item.title or escape(whole) end
    local width = text.width(item.text) * NARROW
    if x + width > widest then
      lines[#lines + 1] = {}
      x = 0
    end
    item.x = x
    x = x + width + 3 * NARROW
    local line = lines[#lines]
    line[#line + 1] = item
  end
  return lines
end

--- The picture of one session.
---@param session table as core.ask gives it
---@return string
function picture.draw(session)
  local shown = view.of(session)
  local out = {}
  local function put(...) out[#out + 1] = format(...) end
  local function write(class, x, y, words)
    put('<text class="%s" x="%.1f" y="%.1f">%s</text>', class, x, y, escape(words))
  end
  local function position(seconds) return AXIS + seconds / shown.span * AXIS_WIDTH end

  local ticks, distance = {}, step(shown.span)
  for number = 0, floor(shown.span / distance + 0.001) do
    local x = position(number * distance)
    ticks[#ticks + 1] = x
    write('small soft middle', x, TOP - 12, tick_text(number * distance, distance))
  end

  local function grid(y, height)
    for _, x in ipairs(ticks) do
      put('<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>', x, y, x, y + height)
    end
  end

  local function bar(row, y)
    put('<rect class="track" x="%d" y="%.1f" width="%d" height="12" rx="3"/>', AXIS, y, AXIS_WIDTH)
    local from, to = position(row.from), position(row.to)
    if row.kind == 'rest' then
      put('<rect class="rest" x="%.1f" y="%.1f" width="%.1f" height="12" rx="3"/>', from, y, max(to - from, 2))
      return
    end
    put('<rect class="before" x="%d" y="%.1f" width="%.1f" height="12" rx="3"/>', AXIS, y, from - AXIS)
    put('<rect class="own" x="%.1f" y="%.1f" width="%.1f" height="12" rx="3"/>', max(AXIS, min(from, to - 2)), y,
      max(to - from, 2))
  end

  local function head(row, y)
    local room = floor((AXIS - NAME - 16) / WIDE)
    if row.kind == 'restart' then
      write('soft', NAME, y, 'read before forkmon was enabled: a change restarts')
    elseif row.kind == 'rest' then
      write('soft', NAME, y, 'after them: ' .. (shown.is_cut and 'goes on' or text.time(row.to - row.from)))
    else
      write('soft right', MARGIN + 24, y, row.mark)
      local name = text.printable(row.title)
      local class = row.label and 'name mark' or 'name'
      put('<text class="%s" x="%d" y="%.1f">%s<title>%s</title></text>', class, NAME, y,
        escape(text.tail(name, room, '…')), escape(row.title))
      local facts = { 'saves ' .. text.time(row.to), 'resumed ' .. row.resumed .. '×', text.count(#row.files, 'file') }
      if row.memory then insert(facts, 2, text.memory(row.memory)) end
      write('soft small', NAME, y + 16, concat(facts, ' · '))
    end
  end

  local function names(lines, y)
    for _, line in ipairs(lines) do
      for _, item in ipairs(line) do
        put('<text class="small%s" x="%.1f" y="%.1f">%s%s</text>', item.title and ' folder' or '', NAME + item.x, y,
          escape(item.text), item.title and '<title>' .. item.title .. '</title>' or '')
      end
      y = y + LINE
    end
  end

  local y = TOP
  for index, row in ipairs(shown.rows) do
    local lines = lay_out(row)
    local headed = row.kind == 'checkpoint' and 40 or 24
    local tall = headed + #lines * LINE + 10
    if index % 2 == 1 then
      put('<rect class="band" x="%d" y="%.1f" width="%d" height="%.1f" rx="6"/>', MARGIN - 12, y,
        WIDTH - 2 * MARGIN + 24, tall)
    end
    head(row, y + 20)
    if row.from then
      grid(y, headed)
      bar(row, y + 9.5)
    end
    names(lines, y + headed + 12)
    y = y + tall
  end
  local height = y + MARGIN

  local room = floor((WIDTH - 2 * MARGIN) / WIDE)
  local header = {
    format('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f">',
      WIDTH, height, WIDTH, height),
    '<style>' .. style .. '</style>',
    format('<rect class="page" width="%d" height="%.0f"/>', WIDTH, height),
    format('<text class="title" x="%d" y="44">%s</text>', MARGIN,
      escape(text.tail(text.printable(session.command), floor(room * 13 / 18), '…'))),
    format('<text class="soft" x="%d" y="68">%s</text>', MARGIN,
      escape(text.tail(text.printable(session.directory), room, '…'))),
    format('<text class="soft" x="%d" y="90">%s</text>', MARGIN, escape(concat(view.facts(session), ' · '))),
  }
  return concat(header, '\n') .. '\n' .. concat(out, '\n') .. '\n</svg>\n'
end

return picture
