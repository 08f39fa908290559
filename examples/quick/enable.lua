-- The same without the command: `lua enable.lua`.
require('forkmon').enable { filter = '%.lua$' }
dofile 'example.lua'
