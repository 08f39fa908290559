--- `make rooms`: which folders of src/ and lua/ import which, and what is wrong with it.
-- Runs in any Lua, from the folder of the source.

local rooms = dofile 'spec/support/rooms.lua'
local seen = rooms.look(rooms.read '.')
print(table.concat(rooms.lines(seen), '\n'))
for _, fault in ipairs(seen.faults) do io.stderr:write(fault, '\n') end
os.exit(#seen.faults == 0 and 0 or 1)
