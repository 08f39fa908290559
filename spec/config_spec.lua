--- A project's options in a file (.forkmon).

local config = require 'forkmon.config'
local options = require 'forkmon.options'

describe('a file of options', function()
  local folder

  local function write(name, text)
    local file = assert(io.open(folder .. '/' .. name, 'wb'))
    file:write(text)
    file:close()
    return folder .. '/' .. name
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute(("mkdir -p '%s/project/a/b'"):format(folder))
  end)

  after_each(function() os.execute("rm -r '" .. folder .. "'") end)

  it('is found in the folder, or above it in the project', function()
    write('.forkmon', '')
    local project = folder .. '/project'
    assert.is_nil(config.find(project .. '/a/b'))
    local own = write('project/a/b/.forkmon', '')
    assert.equal(own, config.find(project .. '/a/b'))
    os.remove(own)
    write('project/.git', 'gitdir: elsewhere')
    assert.is_nil(config.find(project .. '/a/b'))
    local top = write('project/.forkmon', '')
    assert.equal(top, config.find(project .. '/a/b'))
    assert.equal(top, config.find(project))
    local nearer = write('project/a/.forkmon', '')
    assert.equal(nearer, config.find(project .. '/a/b'))
  end)

  it('is looked for up to the root', function()
    assert.is_nil(config.find '/')
    assert.is_nil(config.find '/nowhere/at/all')
  end)

  it('returns a table, in which paths begin at its folder', function()
    local path = write('.forkmon', [[
      more = { 'data', '/etc/x' }
      local function is_lua(path) return path:match '%.lua$' ~= nil end
      return { filter = is_lua, watch = more, events = 'events.json', quiet = true }
    ]])
    local given = assert(config.read(path))
    assert.is_true(given.filter 'x.lua')
    given.filter = nil
    assert.same({ watch = { folder .. '/data', '/etc/x' }, events = folder .. '/events.json', quiet = true }, given)
    assert.is_nil(rawget(_G, 'more'))
    assert.same({ watch = { folder .. '/a', folder .. '/b' }, events = 'fd:3' },
      config.read(write('.forkmon', "return { watch = 'a;b', events = 'fd:3' }")))
    assert.same({}, config.read(write('.forkmon', '-- nothing yet')))
  end)

  it('is told what is wrong with it', function()
    local function fault(text)
      local path = write('.forkmon', text)
      local given, message = config.read(path)
      if given then given, message = options.from_file(given, path) end
      assert.is_nil(given)
      return (message:gsub(folder:gsub('%p', '%%%0'), ''))
    end
    assert.equal('/.forkmon: it must return a table of options, got number', fault 'return 1')
    assert.equal("/.forkmon: unknown option 'filtr' (did you mean 'filter'?)", fault "return { filtr = 'x' }")
    assert.matches("^/%.forkmon: option 'poll' must be a whole number", fault "return { poll = 'often' }")
    assert.equal("/.forkmon: option 'config' has no place in it", fault 'return { config = true }')
    assert.matches('^/%.forkmon:1: oh', fault "error 'oh'")
    assert.matches('/%.forkmon:1: ', fault 'return {')
    local given, message = config.read(folder .. '/none')
    assert.is_nil(given)
    assert.truthy(message:find('none', 1, true))
  end)

  it('comes after what is given otherwise, and before the defaults', function()
    local function read(wanted)
      if wanted == true then return nil end
      return { filter = 'from file', overhead = 0.5, quiet = true, verbose = true }, wanted
    end
    local function resolve(given, variables)
      return assert(options.resolve(given, nil, function(name) return variables[name] end, read))
    end
    local settings = resolve({ overhead = 0.25 }, { FORKMON_CONFIG = '/x', FORKMON_QUIET = '0' })
    assert.same({ { 'from file' }, 0.25, false, true, 64, '/x' }, {
      settings.filter, settings.overhead, settings.quiet, settings.verbose, settings.max_checkpoints, settings.config })
    assert.same({ 'y' }, resolve({ config = '/x' }, { FORKMON_FILTER = 'y' }).filter)
    -- Only on request, and where there is one.
    assert.same({ 'z' }, resolve({}, { FORKMON_DEFAULT_FILTER = 'z' }).filter)
    assert.same({ 'z' }, resolve({ config = true }, { FORKMON_DEFAULT_FILTER = 'z' }).filter)
    assert.same({ 'from file' }, resolve({ config = '/x' }, { FORKMON_DEFAULT_FILTER = 'z' }).filter)
    assert.same({ 'y' }, resolve({ filter = 'y', config = false }, { FORKMON_CONFIG = '/x' }).filter)
  end)
end)
