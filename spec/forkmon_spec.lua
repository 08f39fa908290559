--- The API over a core that only writes down what it is told. The real one is seen to by the specs of whole programs.

local native = require 'forkmon.native'

local shell = io.popen 'pwd'
local cwd = shell:read() .. '/'
shell:close()

local forkmon, calls, answers, started, reopened, environment, real_getenv

local function absolute(path)
  return path:sub(1, 1) == '/' and path or cwd .. path:gsub('^%./', '')
end

local function core()
  local function note(name)
    return function(...)
      local words = { name, ... }
      for index, word in ipairs(words) do words[index] = tostring(word) end
      calls[#calls + 1] = table.concat(words, ' ')
      return (table.unpack or unpack)(answers[name] or {}, 1, 3)
    end
  end
  local visit, join, watched = note 'visit', note 'join', nil
  return {
    VERSION = native.VERSION, LUA = native.LUA, PLATFORM = 'linux',
    start = function(settings)
      started = settings
      return (table.unpack or unpack)(answers.start or { true }, 1, 2)
    end,
    configure = function(settings) started = settings end,
    active = function() return true end,
    disable = note 'disable', checkpoint = note 'checkpoint', watch = note 'watch', consumed = note 'consumed',
    wrote = note 'wrote', effect = note 'effect', warn = note 'warn',
    visit = function(path, joins)
      path = absolute(path)
      if watched(path) then return (joins and join or visit)(path) end
    end,
    look_up = function(name, templates)
      local wanted = {}
      for template in templates:gmatch '[^;]+' do
        local path = absolute((template:gsub('%?', name)))
        if watched(path) then wanted[#wanted + 1] = path end
      end
      if wanted[1] then calls[#calls + 1] = 'candidates ' .. table.concat(wanted, ' ') end
    end,
    filter = function(new) watched = new end,
    absolute = absolute,
    clock = os.clock,
    observe = function() return false end, joins = function() end,
    -- As the native one does when the original is a Lua function.
    hook = function(_, before, only)
      return function(...)
        local after = (only == nil or ... == only) and before(...)
        if after then after() end
      end, false
    end,
    reopens = function(reopens) reopened = reopens end,
    cmdline = function() return { 'lua', 'spec/forkmon_spec.lua' } end,
    isatty = function() return true end,
  }
end

before_each(function()
  calls, answers, environment, started = {}, {}, {}, nil
  real_getenv = os.getenv
  os.getenv = function(name) return environment[name] end -- luacheck: ignore 122
  for _, name in ipairs { 'forkmon', 'forkmon.loaded' } do package.loaded[name] = nil end
  package.loaded['forkmon.core'] = core()
  forkmon = require 'forkmon'
end)

after_each(function()
  forkmon.disable()
  os.getenv = real_getenv -- luacheck: ignore 122
  package.loaded['forkmon.core'] = nil
end)

local function fails(wanted, action, ...)
  local ok, message = pcall(action, ...)
  assert.is_false(ok)
  assert.equal(wanted, message)
end

describe('enable', function()
  it('returns the module and hooks the functions of Lua', function()
    local open = io.open
    assert.is_false(forkmon.enabled())
    assert.equal(forkmon, forkmon.enable { filter = '%.txt$' })
    assert.is_true(forkmon.enabled())
    assert.is_nil(io.open('none.txt'))
    assert.is_nil(io.open('none.doc'))
    assert.same({ 'visit ' .. cwd .. 'none.txt' }, calls)
    forkmon.disable()
    assert.equal(open, io.open)
    assert.is_false(forkmon.enabled())
    assert.equal('disable', calls[2])
    assert.is_nil((forkmon.enable { filter = 'x' }))
  end)

  it('tells the core of the modules, the running functions and the main script', function()
    forkmon.enable { filter = { 'busted/core%.lua$', 'forkmon/options%.lua$' } }
    local before = table.concat(started.before, ' ')
    assert.truthy(before:find('busted/core.lua', 1, true))
    assert.falsy(before:find('busted/status.lua', 1, true))
    assert.falsy(before:find('forkmon/options.lua', 1, true), 'its own files are not the program')
    assert.truthy(before:find(cwd .. 'spec/forkmon_spec.lua', 1, true))
    assert.is_nil(started.main)
    assert.is_false(started.inherited)
  end)

  it('leaves out what is ignored', function()
    forkmon.enable { filter = '%.lua$', ignore = { 'spec', 'core' } }
    local before = table.concat(started.before, ' ')
    assert.falsy(before:find('spec/', 1, true))
    assert.falsy(before:find('busted/core.lua', 1, true))
  end)

  it('colors on a terminal unless NO_COLOR is set', function()
    forkmon.enable { filter = 'x' }
    assert.is_true(started.colors)
    environment.NO_COLOR = '1'
    forkmon.enable { quiet = true }
    assert.is_true(started.colors)
    forkmon.enable { colors = false }
    assert.is_false(started.colors)
    assert.is_true(started.quiet)
  end)

  it('heeds NO_COLOR', function()
    environment.NO_COLOR = '1'
    forkmon.enable { filter = 'x' }
    assert.is_false(started.colors)
  end)

  it('changes filter and paths when called again', function()
    forkmon.enable { filter = 'a', watch = 'one' }
    assert.same({ cwd .. 'one' }, started.watch)
    forkmon.enable { filter = 'none', watch = { 'two' } }
    io.open('none.txt')
    assert.same({ 'watch ' .. cwd .. 'two', 'visit ' .. cwd .. 'none.txt' }, calls)
  end)

  it('raises an error for a wrong option at the line of the caller', function()
    local chunk = (loadstring or load)("local forkmon = ...\n\nforkmon.enable { filtre = 'x' }", '=user')
    fails("user:3: forkmon.enable: unknown option 'filtre' (did you mean 'filter'?)", chunk, forkmon)
    fails('forkmon.enable: options must be a table, got string', forkmon.enable, '%.lua$')
    fails("forkmon.enable: environment variable FORKMON_POLL must be a whole number of milliseconds >= 1, or 0 for "
      .. "off, got 'x'", function()
      environment.FORKMON_POLL = 'x'
      local ok, message = pcall(forkmon.enable, { filter = 'x' })
      error(message, ok and 1 or 0)
    end)
  end)

  it('does nothing with FORKMON_DISABLE', function()
    environment.FORKMON_DISABLE = 'yes'
    package.loaded['forkmon.core'] = nil
    assert.equal(forkmon, forkmon.enable { nonsense = 1 })
    assert.is_false(forkmon.enabled())
    assert.same({ nil, 'forkmon is not enabled' }, { forkmon.checkpoint() })
    assert.same({ nil, 'forkmon is not enabled' }, { forkmon.watch 'x' })
    forkmon.on_resume(print)
    forkmon.disable()
  end)

  it('returns what the system refuses, and raises an error in a process with threads', function()
    answers.start = { nil, 'fork: Resource temporarily unavailable' }
    assert.same({ nil, 'fork: Resource temporarily unavailable' }, { forkmon.enable { filter = 'x' } })
    assert.is_false(forkmon.enabled())
    answers.start = { nil, 'threads: 2' }
    fails('forkmon.enable: threads: 2', forkmon.enable, { filter = 'x' })
  end)

  it('says what is wrong with the core', function()
    -- These Lua files lie in no tree and were installed from nowhere.
    local remedy = ('luarocks --lua-version %s install forkmon-%s-1.src.rock'):format(
      _VERSION:match '%d%.%d', native.VERSION)
    if native.LUA == 'LuaJIT' then
      remedy = [[echo "lua_interpreter = 'luajit'" >luajit.lua && LUAROCKS_CONFIG=luajit.lua ]] .. remedy
    end
    remedy = 'in the folder of the rock, ' .. remedy
    local fake = package.loaded['forkmon.core']
    fake.PLATFORM = 'macos'
    fails('forkmon works on Linux only, this is macos', forkmon.enable, { filter = 'x' })
    fake.PLATFORM, fake.LUA = 'linux', 'Lua 4.0'
    fails(('forkmon %s for %s does not fit forkmon.core %s for Lua 4.0: %s'):format(
      native.VERSION, native.LUA, native.VERSION, remedy), forkmon.enable, { filter = 'x' })
    package.loaded['forkmon.core'] = nil
    local cpath = package.cpath
    package.cpath = ''
    local ok, message = pcall(forkmon.enable, { filter = 'x' })
    package.cpath = cpath
    assert.is_false(ok)
    assert.equal(('forkmon.core is not installed for %s: %s'):format(native.LUA, remedy), message)
    package.preload['forkmon.core'] = function() error('undefined\n\tsymbol', 0) end
    ok, message = pcall(forkmon.enable, { filter = 'x' })
    package.preload['forkmon.core'] = nil
    assert.is_false(ok)
    assert.equal(('forkmon.core cannot be loaded by %s (undefined symbol): %s'):format(native.LUA, remedy), message)
  end)
end)

describe('the other functions', function()
  it('check their arguments', function()
    fails("forkmon.checkpoint: argument 'label' must be a string, got number", forkmon.checkpoint, 1)
    fails("forkmon.watch: argument 'path' must be a string, got nil", forkmon.watch)
    fails("forkmon.consumed: argument 'path' must be a string, got nil", forkmon.consumed)
    fails("forkmon.consumed: argument 'offset' must be a number, got string", forkmon.consumed, 'a', '1')
    fails("forkmon.consumed: argument 'offset' must be a number of bytes, got -1", forkmon.consumed, 'a', -1)
    fails("forkmon.on_resume: argument 'callback' must be a function, got table", forkmon.on_resume, {})
  end)

  it('hand on to the core', function()
    forkmon.enable { filter = 'x' }
    answers.checkpoint = { true }
    assert.same({ false }, { forkmon.checkpoint 'here' })
    answers.checkpoint = { nil, 'too many processes' }
    assert.same({ nil, 'too many processes' }, { forkmon.checkpoint() })
    answers.watch = { true }
    assert.is_true(forkmon.watch 'data')
    answers.watch = { false }
    assert.same({ nil, 'the path cannot be watched' }, { forkmon.watch 'far/away' })
    answers.consumed = { true }
    assert.is_false(forkmon.consumed('data', 7))
    answers.consumed = { false }
    assert.same({ nil, 'the file is not watched' }, { forkmon.consumed('data', 7, true) })
    os.remove('/nonexistent/f')
    assert.same({ 'checkpoint here', 'checkpoint', 'watch ' .. cwd .. 'data',
      'watch ' .. cwd .. 'far/away', 'consumed ' .. cwd .. 'data 7 false', 'consumed ' .. cwd .. 'data 7 true',
      'wrote /nonexistent/f move', 'effect' }, calls)
  end)

  it('report look-ups when the filter takes one of the candidates', function()
    forkmon.enable { filter = '/nowhere/.*%.lua$' }
    local path = package.path
    package.path = './?.lua;/nowhere/?.lua'
    pcall(require, 'absent.module')
    package.path = './?.lua'
    pcall(require, 'absent.module')
    package.path = path
    assert.same({ 'candidates /nowhere/absent/module.lua' }, calls)
  end)
end)

describe('a resume', function()
  local resume = { changed = { '/a' }, count = 1 }

  it('is seen by every on_resume function, even when one fails', function()
    local got = {}
    forkmon.on_resume(function(given) got[#got + 1] = given end)
    forkmon.on_resume(function() error('oops', 0) end)
    forkmon.on_resume(function(given) got[#got + 1] = given end)
    answers.start = { true, resume }
    forkmon.enable { filter = '%.txt$' }
    assert.same({ resume, resume }, got)
    answers.visit = { resume }
    io.open('none.txt')
    assert.equal(4, #got)
    answers.checkpoint = { true, nil, resume }
    assert.is_true(forkmon.checkpoint())
    assert.equal(6, #got)
    assert.same({ 'warn on_resume: oops', 'visit ' .. cwd .. 'none.txt', 'warn on_resume: oops', 'checkpoint',
      'warn on_resume: oops' }, calls)
  end)

  it('is expected to reopen connections once there is a function for it', function()
    forkmon.enable { filter = 'x' }
    assert.is_false(reopened)
    forkmon.on_resume(print)
    assert.is_true(reopened)
  end)

  it('owns what its functions read', function()
    forkmon.on_resume(function()
      io.open('none.txt')
      assert.is_nil((forkmon.checkpoint()))
    end)
    forkmon.enable { filter = '%.txt$' }
    answers.visit = { resume }
    io.open('other.txt')
    assert.same({ 'visit ' .. cwd .. 'other.txt', 'join ' .. cwd .. 'none.txt' }, calls)
  end)
end)
