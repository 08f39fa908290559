--- A web server that is reloaded without losing its port.
--
--     forkmon server.lua [PORT]

local copas = require 'copas'
local socket = require 'socket'

-- The port is opened before the first file that is edited, so every reload keeps it: whoever
-- connects meanwhile waits in its queue.
local server = assert(socket.bind('127.0.0.1', tonumber(arg and arg[1]) or 8080))
print('http://127.0.0.1:' .. select(2, server:getsockname()))

local pages = require 'pages'

copas.addserver(server, function(connection)
  local client = copas.wrap(connection)
  local path = (client:receive() or ''):match '^GET (/%S*)'
  repeat local header = client:receive() until not header or header == ''
  local page = path and pages[path]
  local status, body = '200 OK', page and page()
  if not page then status, body = '404 Not Found', 'no such page\n' end
  client:send(('HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s'):format(status, #body, body))
end)
print 'ready'
io.stdout:flush()
copas.loop()
