DEPTH = DEPTH + 1
dofile 'deep.lua'
