--- What a resume does to sockets (LuaSocket and Copas, where they are there for a Lua).
--
-- A socket that listens is carried by a checkpoint; one that is opened later is closed before the
-- resume, so that its address can be had again. A connection is one end of a talk that cannot be
-- taken back: while one is open no checkpoint is taken, unless the program opens its connections
-- anew in on_resume. Then the parked copies let go of theirs, for the other end to see its end.

local posix = require 'posix'
local socket = require 'socket'
local support = require 'spec.support'

local HOST = '127.0.0.1'

--- A port that is free.
local function free_port()
  local probe = assert(socket.bind(HOST, 0))
  local _, port = probe:getsockname()
  probe:close()
  return tonumber(port)
end

local function connect(port)
  local client = assert(socket.connect(HOST, port))
  client:settimeout(20)
  return client
end

--- All that a server says until it closes the connection.
local function ask(port)
  local client = connect(port)
  local answer, problem = client:receive '*a'
  client:close()
  return answer or problem
end

local function has(lua, library)
  return os.execute(("%s -e 'require [[%s]]' 2>/dev/null"):format(lua.interpreter, library))
end

support.each_lua(function(lua)
  if not has(lua, 'socket') then return end

  --- Starts main.lua, which finds the port in `arg[1]`.
  local function start(files)
    local port = free_port()
    files['main.lua'] = "io.stdout:setvbuf 'no'\n" .. files['main.lua']
    local project = support.project(files)
    local program = lua:forkmon { '--quiet', '--exact', 'main.lua', tostring(port), cwd = project.root }
    return project, program, port
  end

  local SERVE = [[
    while true do
      local client = assert(server:accept())
      client:send(answer)
      client:close()
    end
  ]]

  it('that is bound after the resume point is bound again', function()
    local project, program, port = start {
      ['main.lua'] = [[
        local socket = require 'socket'
        local answer = require 'answer'
        local server = assert(socket.bind('127.0.0.1', arg[1]))
        print 'listening'
      ]] .. SERVE,
      ['answer.lua'] = "return 'one'",
    }
    program:expect_exactly 'listening\n'
    assert.equal('one', ask(port))
    for time = 1, 3 do
      project:replace('answer.lua', ("return 'answer %d'"):format(time))
      program:expect_exactly 'listening\n'
      assert.equal('answer ' .. time, ask(port))
    end
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('that is bound before the resume point goes on accepting', function()
    local project, program, port = start {
      ['main.lua'] = [[
        local socket = require 'socket'
        local server = assert(socket.bind('127.0.0.1', arg[1]))
        print 'bound'
        local answer = require 'answer'
        print 'listening'
      ]] .. SERVE,
      ['answer.lua'] = "return 'one'",
    }
    program:expect_exactly 'bound\nlistening\n'
    assert.equal('one', ask(port))
    project:replace('answer.lua', "error 'broken'")
    program:expect 'broken'
    local waiting = connect(port) -- nobody accepts it now, but it is not refused
    project:replace('answer.lua', "return 'two'")
    program:expect 'listening\n'
    assert.equal('two', (waiting:receive '*a'))
    assert.equal('two', ask(port))
    waiting:close()
    program:stop()
    assert.is_nil((socket.connect(HOST, port)))
  end)

  it('of a connection is closed when the program closes it, though stop points came meanwhile', function()
    local project, program, port = start {
      ['main.lua'] = [[
        local socket = require 'socket'
        require 'before'
        local server = assert(socket.bind('127.0.0.1', arg[1]))
        print 'listening'
        while true do
          local client = assert(server:accept())
          package.loaded.answer = nil
          local answer = require 'answer'
          print(require('forkmon').checkpoint())
          client:send(answer)
          client:close()
          require 'after'
        end
      ]],
      ['before.lua'] = '',
      ['answer.lua'] = "return 'one'",
      ['after.lua'] = '',
    }
    program:expect_exactly 'listening\n'
    local refusal = 'nil\ta connection is open, which a checkpoint cannot carry unless on_resume reopens it\n'
    assert.equal('one', ask(port)) -- it hangs where a parked copy holds the connection
    program:expect_exactly(refusal)
    assert.equal('one', ask(port))
    program:expect_exactly(refusal)
    project:replace('answer.lua', "return 'two'") -- from before the connection
    program:expect_exactly 'listening\n'
    assert.equal('two', ask(port))
    program:expect_exactly(refusal)
    program:stop()
  end)

  it('of a connection is opened anew by on_resume, and the old one has ended', function()
    local listener = assert(socket.bind(HOST, 0))
    listener:settimeout(20)
    local _, port = listener:getsockname()
    local project = support.project {
      ['main.lua'] = [[
        local socket = require 'socket'
        local forkmon = require 'forkmon'
        local database
        local function open(why)
          if database then
            print('old', database:receive())
            database:close()
          end
          database = assert(socket.connect('127.0.0.1', arg[1]))
          database:send(why .. '\n')
        end
        open 'start'
        forkmon.on_resume(function(resume) open('resume ' .. resume.count) end)
        local query = require 'query' -- first, as it is here that on_resume opens another database
        database:send(query .. '\n')
        print(forkmon.checkpoint())
        database:close()
        print 'done'
      ]],
      ['query.lua'] = "return 'one'",
    }
    local program = lua:forkmon { '--quiet', '--exact', 'main.lua', port, cwd = project.root }
    local function talk()
      local peer = assert(listener:accept())
      peer:settimeout(20)
      local all = peer:receive '*a' -- until the program has closed it
      peer:close()
      return all
    end
    assert.equal('start\none\n', talk())
    program:expect_exactly 'false\ndone\n'
    for time = 1, 2 do
      project:replace('query.lua', "return 'two'")
      assert.equal(('resume %d\ntwo\n'):format(time), talk())
      program:expect_exactly 'old\tnil\tclosed\t\nfalse\ndone\n'
    end
    listener:close()
    program:stop()
  end)

  it('for datagrams hinders no checkpoint', function()
    local _, program = start {
      ['main.lua'] = [[
        local socket = require 'socket'
        local sender = assert(socket.udp())
        sender:setpeername('127.0.0.1', arg[1])
        print(require('forkmon').checkpoint())
      ]],
    }
    program:expect_exactly 'false\n'
    program:stop()
  end)

  if not has(lua, 'copas') then return end

  it('of a Copas server goes on accepting, with today\'s handler', function()
    local project, program, port = start {
      ['main.lua'] = [[
        local copas = require 'copas'
        local socket = require 'socket'
        local server = assert(socket.bind('127.0.0.1', arg[1]))
        local handler = require 'handler'
        copas.addserver(server, function(client)
          local wrapped = copas.wrap(client)
          handler(wrapped, wrapped:receive())
          client:close()
        end)
        print 'listening'
        copas.loop()
      ]],
      ['handler.lua'] = "return function(client, line) client:send('one ' .. line .. '\\n') end",
    }
    local function request(line)
      local client = connect(port)
      client:send(line .. '\n')
      local answer = client:receive '*a'
      client:close()
      return answer
    end
    program:expect_exactly 'listening\n'
    assert.equal('one hello\n', request 'hello')
    project:replace('handler.lua', "return function(client, line) client:send('two ' .. line .. '\\n') end")
    program:expect_exactly 'listening\n'
    assert.equal('two hello\n', request 'hello')
    program:stop()
  end)
end)
