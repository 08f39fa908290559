local first = require 'src.first'

local second = {}

function second.four_times(number)
  return first.twice(first.twice(number))
end

return second
