local first = {}

function first.twice(number)
  return number * 2
end

return first
