local options = require 'forkmon.options'

local function environment(variables)
  return function(name) return variables[name] end
end

local nothing = environment {}

local function resolve(given, variables, present)
  given.filter = given.filter or '%.lua$'
  return options.resolve(given, present, environment(variables or {}))
end

local function refusal(given)
  local settings, message = resolve(given)
  assert.is_nil(settings)
  return message
end

describe('the table of enable', function()
  it('is completed by the defaults', function()
    assert.same({
      filter = { '%.lua$' }, ignore = {}, quiet = false, watch_lines = true, verbose = false,
      restart_delay = 5, ignore_delay = 0, exact = false, overhead = 0.05, max_checkpoints = 64, content = false,
      poll = 0, stop_signal = 15, stop_timeout = 2000, native_hooks = true, clear = false, no_integration = {},
      watch = {},
    }, resolve {})
  end)

  it('needs a filter', function()
    local settings, message = options.resolve({}, nil, nothing)
    assert.is_nil(settings)
    assert.equal("option 'filter' is missing: it says which files to watch, e.g. "
      .. "forkmon.enable { filter = '%.lua$' }", message)
  end)

  it('takes patterns in every form', function()
    local function take() end
    assert.same({ 'a', 'b' }, resolve { filter = 'a;;b;' }.filter)
    assert.same({ 'a;b' }, resolve { filter = { 'a;b' } }.filter)
    assert.equal(take, resolve { filter = take }.filter)
    assert.same({ 'x' }, resolve { ignore = 'x' }.ignore)
  end)

  it('takes signals by name and number', function()
    for signal, wanted in pairs { TERM = 15, SIGTERM = 15, int = 2, sigHup = 1, USR1 = 10, KILL = 9, [64] = 64 } do
      assert.equal(wanted, resolve({ stop_signal = signal }).stop_signal)
    end
  end)

  it('takes false and 0 as no polling', function()
    assert.equal(0, resolve({ poll = false }).poll)
    assert.equal(0, resolve({ poll = 0 }).poll)
    assert.equal(200, resolve({ poll = 200 }).poll)
  end)

  it('makes integers of whole numbers', function()
    assert.equal('7', tostring(resolve({ restart_delay = 7.0 }).restart_delay))
  end)

  it('names an unknown option and the nearest known one', function()
    assert.equal("unknown option 'filtre' (did you mean 'filter'?)", refusal { filtre = 'x' })
    assert.equal("unknown option 'maxcheckpoints' (did you mean 'max_checkpoints'?)", refusal { maxcheckpoints = 1 })
    assert.equal("unknown option 'zzz'", refusal { zzz = 1 })
    assert.equal("unknown option '1'", refusal { 'a.lua' })
  end)

  local delay = "option 'restart_delay' must be a whole number of milliseconds >= 0, got "
  for shown, value in pairs {
    ["string 'x'"] = 'x', ['number -1'] = -1, ['number 0.5'] = 0.5, ['boolean true'] = true, table = {},
    ['function'] = print, ['number inf'] = math.huge,
  } do
    it('refuses a delay of ' .. shown, function()
      assert.equal(delay .. shown, refusal { restart_delay = value })
    end)
  end

  it('refuses what is not a number', function()
    assert.truthy(refusal { restart_delay = 0 / 0 })
    assert.truthy(refusal { overhead = 0 / 0 })
  end)

  for name, values in pairs {
    filter = { true, 1, {}, { 1 }, { '' }, { x = 'y' }, ';' },
    ignore = { 1, { {} } },
    watch = { 1, { 1 }, { '' } },
    quiet = { 1, 'true' },
    colors = { 'auto' },
    overhead = { 0, 1.5, -1, '5%' },
    max_checkpoints = { 0, 1.5, 2 ^ 40 },
    max_memory = { -1, 1.5, '1G', 2 ^ 40 },
    poll = { -1, true, 'x' },
    stop_signal = { 'FOO', 0, 65, {}, 1.5 },
    events = { '', 1 },
  } do
    it('refuses wrong values of ' .. name, function()
      for _, value in ipairs(values) do
        assert.truthy(refusal({ [name] = value }):find("^option '" .. name .. "' must be .*, got "), tostring(value))
      end
    end)
  end

  it('quotes a malformed pattern and what Lua says of it', function()
    assert.equal("option 'ignore': pattern '[a': malformed pattern (missing ']')", refusal { ignore = 'ok;[a' })
  end)
end)

describe('the environment', function()
  it('is taken for what the table does not give', function()
    local settings = resolve({ restart_delay = 1 }, {
      FORKMON_RESTART_DELAY = '2', FORKMON_IGNORE_DELAY = '3', FORKMON_IGNORE = 'a;b', FORKMON_STOP_SIGNAL = 'HUP',
      FORKMON_OVERHEAD = '0.5', FORKMON_POLL = 'off', FORKMON_WATCH = '/x;/y', FORKMON_EVENTS = 'fd:3',
      FORKMON_MAX_MEMORY = '100',
    })
    assert.equal(1, settings.restart_delay)
    assert.equal(3, settings.ignore_delay)
    assert.same({ 'a', 'b' }, settings.ignore)
    assert.equal(1, settings.stop_signal)
    assert.equal(0.5, settings.overhead)
    assert.equal(0, settings.poll)
    assert.same({ '/x', '/y' }, settings.watch)
    assert.equal('fd:3', settings.events)
    assert.equal(100, settings.max_memory)
  end)

  it('can give the filter', function()
    assert.same({ 'x' }, options.resolve({}, nil, environment { FORKMON_FILTER = 'x' }).filter)
  end)

  it('switches on with any text but the negative ones', function()
    for text, wanted in pairs { ['1'] = true, yes = true, ['true'] = true, ['0'] = false, ['false'] = false, NO = false,
                                off = false, [''] = false } do
      assert.equal(wanted, resolve({}, { FORKMON_EXACT = text }).exact)
    end
  end)

  it('switches colors off, and leaves them to the terminal otherwise', function()
    assert.is_false(resolve({}, { FORKMON_NO_COLORS = '1' }).colors)
    assert.is_nil(resolve({}, { FORKMON_NO_COLORS = '0' }).colors)
    assert.is_true(resolve({ colors = true }, { FORKMON_NO_COLORS = '1' }).colors)
  end)

  it('switches the lines about files off', function()
    assert.is_false(resolve({}, { FORKMON_NO_WATCH_LINES = '1' }).watch_lines)
    assert.is_true(resolve({}, { FORKMON_NO_WATCH_LINES = 'no' }).watch_lines)
    assert.is_true(resolve({ watch_lines = true }, { FORKMON_NO_WATCH_LINES = '1' }).watch_lines)
  end)

  it('is named in messages', function()
    local _, message = resolve({}, { FORKMON_MAX_CHECKPOINTS = 'many' })
    assert.equal("environment variable FORKMON_MAX_CHECKPOINTS must be a whole number >= 1, got 'many'", message)
  end)

  it('counts an empty variable as unset', function()
    assert.equal(64, resolve({}, { FORKMON_MAX_CHECKPOINTS = '' }).max_checkpoints)
  end)
end)

describe('a later call of enable', function()
  it('changes what it gives and keeps the rest, whatever the environment says by then', function()
    local first = resolve { quiet = true, restart_delay = 9 }
    local second = options.resolve({ quiet = false }, first, environment { FORKMON_RESTART_DELAY = '1' })
    assert.is_false(second.quiet)
    assert.equal(9, second.restart_delay)
    assert.same({ '%.lua$' }, second.filter)
  end)
end)
