print 'startup' -- imagine that this takes a while
local fast = require 'fast'
print('the answer is ' .. fast.answer())
