DEPTH = DEPTH + 1 -- luacheck: globals DEPTH
dofile 'deep.lua'
