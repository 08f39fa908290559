-- Adds up a list, line by line. Each takes its time, as if it had to be looked up somewhere.

local found, forkmon = pcall(require, 'forkmon')
local consumed = found and forkmon.consumed or function() end

local function read()
  local file = assert(io.open 'list.txt')
  local text = file:read '*a'
  file:close()
  return text
end

local function look_up(line)
  local until_then = os.clock() + 0.02
  repeat until os.clock() >= until_then
  return assert(tonumber(line), 'no number: ' .. line)
end

local text, from, sum = read(), 1, 0
while true do
  local line, after = text:match('([^\n]*)\n()', from)
  if not line then break end
  sum = sum + look_up(line)
  io.stderr:write '.'
  from = after
  -- What has been done so far depends on no more of the file than this.
  if consumed('list.txt', from - 1) then text = read() end
end
print('the sum is ' .. sum)
