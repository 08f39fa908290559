--- Shapes and their areas.
-- @module shapes

local shapes = {}

--- The area of a square.
-- @number side the length of its side
-- @return the area
function shapes.square(side)
  return side * side
end

return shapes
