local command = require 'forkmon.cli.command'

local function parse(...)
  return command.parse { ... }
end

local function message(...)
  local parsed, text = parse(...)
  assert.is_nil(parsed)
  return text
end

describe('the command line', function()
  it('ends its own part at the program', function()
    assert.same({ action = 'run', texts = { quiet = '1' }, program = { 'a.lua', '--exact', 'x' } },
      parse('--quiet', 'a.lua', '--exact', 'x'))
    assert.same({ '--odd.lua', 'x' }, parse('--', '--odd.lua', 'x').program)
    assert.same({ '--odd.lua' }, parse('--clear', '--', '--odd.lua').program)
    assert.same({}, parse().program)
  end)

  it('takes values in both forms', function()
    assert.same({ restart_delay = '7', filter = 'a=b', colors = '1' },
      parse('--restart-delay', '7', '--filter=a=b', '--no-color', 'x').texts)
  end)

  it('adds up lists and lets the last of other values win', function()
    assert.same({ filter = 'a;b', watch = '/x;/y', poll = '2' },
      parse('--filter', 'a', '--watch=/x', '--poll=1', '--filter=b', '--watch', '/y', '--poll', '2', 'x').texts)
  end)

  it('knows help and version', function()
    assert.equal('help', parse('-h').action)
    assert.equal('help', parse('--quiet', '--help', '--unknown').action)
    assert.equal('version', parse('-V').action)
    assert.equal('version', parse('--version').action)
    assert.same({ '-h' }, parse('--', '-h').program)
  end)

  it('names what is wrong', function()
    assert.equal("unknown option '--filtr' (did you mean '--filter'?)", message('--filtr=x'))
    assert.equal("unknown option '--hlep' (did you mean '--help'?)", message('--hlep'))
    assert.equal("unknown option '-q'", message('-q'))
    assert.equal('option --quiet takes no value', message('--quiet=1', 'x'))
    assert.equal('option --poll needs a value', message('--poll'))
    assert.equal("option --overhead must be a number greater than 0 and at most 1, got 'much'",
      message('--overhead', 'much', 'x'))
    assert.equal("option --filter: pattern '[a': malformed pattern (missing ']')", message('--filter', '[a', 'x'))
  end)
end)

describe('the default filter', function()
  local function readable(path) return not path:find('missing') end

  it('joins the extensions of file arguments', function()
    assert.equal('%.lua$', command.default_filter({ 'a.lua' }, readable))
    assert.equal('%.lua$;%.nelua$', command.default_filter({ 'nelua', '-o', 'x.nelua', 'y.nelua', 'z.lua' }, readable))
    assert.equal('%.lua$', command.default_filter({ 'nelua', 'missing.nelua', 'dir/name', 'a.b-c' }, readable))
    assert.equal('%.lua$', command.default_filter({ 'run.sh' }, readable))
    assert.equal('%.lua$;/%.busted$', command.default_filter({ '/usr/bin/busted', 'spec' }, readable))
  end)
end)

describe('a program that forkmon cannot get into', function()
  local folder

  local function make(name, bytes)
    local file = assert(io.open(folder .. '/' .. name, 'wb'))
    file:write(bytes)
    file:close()
  end

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir '" .. folder .. "' '" .. folder .. "/folder'")
    make('ls', '\127ELF\0\0rest')
    make('lua', '\127ELF\0\0 LUA_INIT\0 rest')
    make('make', '\127ELF\0\0rest')
    make('script', '#!/usr/bin/lua\n')
    make('empty', '')
  end)

  teardown(function() os.execute("rm -r '" .. folder .. "'") end)

  it('is an executable without LUA_INIT in it, unless it starts others', function()
    local path = '/nowhere:' .. folder
    assert.is_true(command.is_foreign('ls', path))
    assert.is_true(command.is_foreign(folder .. '/ls', nil))
    for _, name in ipairs { 'lua', 'make', 'script', 'empty', 'folder', 'missing' } do
      assert.is_false(command.is_foreign(name, path), name)
      assert.is_false(command.is_foreign(folder .. '/' .. name, nil), name)
    end
  end)

  it('is looked for where programs are', function()
    assert.is_false(command.is_foreign('ls', ''))
    assert.is_false(command.is_foreign('ls', nil))
  end)
end)

describe('the environment of the program', function()
  local function environment(variables, present)
    return command.environment(variables, '/b.lua', function(name) return present[name] end)
  end

  it('notes what it sets, and what was there', function()
    assert.same({
      LUA_INIT = '@/b.lua', FORKMON_SAVED_LUA_INIT = 'print(1)',
      FORKMON_FILTER = 'x', FORKMON_SAVED_FORKMON_FILTER = false,
      FORKMON_COMMAND = 'FORKMON_COMMAND FORKMON_FILTER LUA_INIT',
    }, environment({ FORKMON_FILTER = 'x' }, { LUA_INIT = 'print(1)' }))
  end)

  it('sets the variables of versions that the user has set, as these go before LUA_INIT', function()
    local changes = environment({}, { LUA_INIT_5_4 = '@x' })
    assert.equal('@/b.lua', changes.LUA_INIT_5_4)
    assert.equal('@x', changes.FORKMON_SAVED_LUA_INIT_5_4)
    assert.is_nil(changes.LUA_INIT_5_3)
  end)
end)
