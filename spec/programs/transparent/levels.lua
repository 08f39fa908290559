local function blame(level) error('blamed', level) end
local all = {}
for level = 0, 4 do all[#all + 1] = select(2, pcall(blame, level)) end
error(table.concat(all, ' '), 2)
