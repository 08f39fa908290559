local function inner() error 'inner' end
local function outer() inner() end
outer()
