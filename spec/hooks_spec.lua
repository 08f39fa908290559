local hooks = require 'forkmon.hooks'
local search = require 'forkmon.search'

local seen, globals, remove

local report = {
  read = function(path) seen[#seen + 1] = 'read ' .. path end,
  write = function(path) seen[#seen + 1] = 'write ' .. path end,
  change = function(path, moves)
    seen[#seen + 1] = (moves and 'move ' or 'update ') .. path
    return true
  end,
  look_up = function(...) seen[#seen + 1] = 'look up ' .. table.concat(search.candidates(...), ' ') end,
  ask = function(path, question, field)
    seen[#seen + 1] = ('ask %s of %s'):format(field or question, path)
  end,
  act = function() seen[#seen + 1] = 'act' end,
}

-- As the native hook does when the original is a Lua function.
local function no_native_hook(_, before, only)
  return function(...)
    if only == nil or ... == only then before(...) end
  end, false
end

local function answer(name)
  return function(...) return name, select('#', ...), ... end
end

-- The C functions that stand for the searchers of Lua; only that they are C functions matters.
local function new_globals()
  return {
    dofile = answer 'dofile', loadfile = answer 'loadfile',
    io = { open = answer 'open', lines = answer 'lines', input = answer 'input', output = answer 'output',
           popen = answer 'popen' },
    os = { remove = answer 'remove', rename = answer 'rename', execute = answer 'execute', tmpname = answer 'tmpname' },
    package = { path = './?.lua;/lib/?/init.lua', cpath = '/lib/?.so', loadlib = answer 'loadlib',
                loaded = { lfs = { attributes = answer 'attributes', dir = answer 'dir', mkdir = answer 'mkdir',
                                   rmdir = answer 'rmdir', touch = answer 'touch', link = answer 'link' } },
                searchpath = answer 'searchpath', searchers = { type, tostring, rawlen or rawequal, tonumber } },
  }
end

before_each(function()
  seen, globals = {}, new_globals()
  remove = hooks.install(globals, no_native_hook, report, os.clock, {})
end)

describe('the hook of', function()
  local inert = newproxy and newproxy() or io.stdout

  for _, case in ipairs {
    { 'dofile', { 'a.lua' }, 'read a.lua' },
    { 'dofile', {}, 'act' },
    { 'dofile', { {} } },
    { 'loadfile', {}, 'act' },
    { 'loadfile', { nil, 't' }, 'act' },
    { 'loadfile', { 'a.lua', 't' }, 'read a.lua' },
    { 'loadfile', { 12 }, 'read 12' },
    { 'io.open', { 'f' }, 'read f' },
    { 'io.open', { 'f', 'rb' }, 'read f' },
    { 'io.open', { 'f', 'r+b' }, 'read f', 'update f' },
    { 'io.open', { 'f', 'w' }, 'write f' },
    { 'io.open', { 'f', 'a+' }, 'read f', 'write f' },
    { 'io.open', { 'f', 'q' } },
    { 'io.open', { 'f', {} } },
    { 'io.open', { {} } },
    { 'io.open', { '' } },
    { 'io.open', { 'a\0b' } },
    { 'io.lines', { 'f', '*l' }, 'read f' },
    { 'io.lines', {} },
    { 'io.input', { 'f' }, 'read f' },
    { 'io.input', { inert } },
    { 'io.output', { 'f' }, 'write f' },
    { 'io.popen', { 'ls' }, 'act' },
    { 'os.execute', { 'ls' }, 'act' },
    { 'os.tmpname', {}, 'act' },
    { 'os.remove', { 'f' }, 'move f', 'act' },
    { 'os.rename', { 'f', 'g' }, 'move f', 'write g', 'act' },
    { 'lfs.attributes', { 'f' }, 'ask all of f' },
    { 'lfs.attributes', { 'f', 'mode' }, 'ask kind of f' },
    { 'lfs.attributes', { 'f', {} }, 'ask all of f' },
    { 'lfs.attributes', { {} } },
    { 'lfs.dir', { 'f' }, 'ask names of f' },
    { 'lfs.mkdir', { 'f' }, 'write f', 'act' },
    { 'lfs.rmdir', { 'f' }, 'move f', 'act' },
    { 'lfs.touch', { 'f', 1, 2 }, 'update f', 'act' },
    { 'lfs.link', { 'f', 'g' }, 'update f', 'write g', 'act' },
    { 'lfs.link', { 'f', 'g', true }, 'write g', 'act' },
    { 'package.loadlib', { './x.so', '*' }, 'read ./x.so' },
    { 'package.loadlib', { 'libc.so.6', '*' } },
    { 'package.searchpath', { 'a.b', 'x/?;y/?' }, 'look up x/a/b y/a/b' },
    { 'package.searchpath', { 'a.b', 'x/?', '' }, 'look up x/a.b' },
    { 'package.searchpath', { 'a%b', 'x/?', '%', '%1' }, 'look up x/a%1b' },
    { 'package.searchpath', { 'a', {} } },
    { 'package.searchpath', { 'a', 'x/?', {} } },
    { 'package.searchpath', {} },
  } do
    local library, name = case[1]:match('^(.-)%.?(%w+)$')
    local shown = {}
    for index, argument in ipairs(case[2]) do shown[index] = tostring(argument):gsub('%z', '\\0') end

    it(case[1] .. '(' .. table.concat(shown, ', ') .. ')', function()
      local hooked = (globals[library] or globals.package.loaded[library] or globals)[name]
      local results = { hooked((table.unpack or unpack)(case[2])) }
      assert.same({ name, #case[2], (table.unpack or unpack)(case[2]) }, results)
      assert.same({ select(3, (table.unpack or unpack)(case)) }, seen)
    end)
  end
end)

describe('the searchers', function()
  local function searched(slot, name)
    seen = {}
    pcall(globals.package.searchers[slot], name)
    return seen
  end

  it('are replaced in their slots', function()
    assert.equal(4, #globals.package.searchers)
    assert.are_not.equal(type, globals.package.searchers[1])
    assert.same({ 'look up ./a/b.lua /lib/a/b/init.lua' }, searched(2, 'a.b'))
    assert.same({ 'look up /lib/a/b.so' }, searched(3, 'a.b'))
    assert.same({ 'look up /lib/v2-a/b.so' }, searched(3, 'v2-a.b'))
    assert.same({ 'look up /lib/a.so' }, searched(4, 'a.b.c'))
    assert.same({}, searched(4, 'a'))
  end)

  it('put up with a package.path that is none', function()
    globals.package.path = nil
    assert.same({}, searched(2, 'a'))
  end)

  it('see a package.path that changes', function()
    globals.package.path = '/%1/?'
    assert.same({ 'look up /%1/a' }, searched(2, 'a'))
  end)

  it('are recognised among others', function()
    globals = new_globals()
    local moonscript = function() end
    table.insert(globals.package.searchers, 2, moonscript)
    hooks.install(globals, no_native_hook, report, os.clock, {})
    assert.equal(moonscript, globals.package.searchers[2])
    assert.same({ 'look up ./a.lua /lib/a/init.lua' }, searched(3, 'a'))
    assert.same({ 'look up /lib/a.so' }, searched(5, 'a.b'))
  end)

  it('are those of package.loaders in Lua 5.1', function()
    globals = new_globals()
    globals.package.loaders, globals.package.searchers = globals.package.searchers, nil
    globals.package.searchpath = nil
    hooks.install(globals, no_native_hook, report, os.clock, {})
    seen = {}
    pcall(globals.package.loaders[2], 'a')
    assert.same({ 'look up ./a.lua /lib/a/init.lua' }, seen)
    assert.is_nil(globals.package.searchpath)
  end)
end)

describe('install', function()
  it('uses the native hook where it makes one', function()
    globals = new_globals()
    local original, native = globals.io.open, function() end
    hooks.install(globals, function(fn, ...)
      if fn == original then return native, true end
      return no_native_hook(fn, ...)
    end, report, os.clock, {})
    assert.equal(native, globals.io.open)
  end)

  it('hands a module that is there already to its adapter, once', function()
    globals = new_globals()
    local module, adapted = {}, {}
    globals.package.loaded.made = module
    hooks.install(globals, no_native_hook, report, os.clock, {
      made = function(given) adapted[#adapted + 1] = given end,
      other = error,
    })
    assert.equal(module, adapted[1])
    assert.is_nil(adapted[2])
  end)
end)

describe('remove', function()
  it('puts everything back', function()
    local before = new_globals()
    local fresh = {}
    for key, value in pairs(before) do fresh[key] = value end
    local install_remove = hooks.install(before, no_native_hook, report, os.clock, {})
    assert.are_not.equal(fresh.dofile, before.dofile)
    install_remove()
    assert.equal(fresh.dofile, before.dofile)
    assert.equal(tostring, before.package.searchers[2])
    assert.equal(tonumber, before.package.searchers[4])
  end)

  it('leaves what somebody has put there since', function()
    local mine = function() end
    globals.io.open = mine
    remove()
    assert.equal(mine, globals.io.open)
  end)

  it('finds searchers that have moved', function()
    local inserted = function() end
    table.insert(globals.package.searchers, 1, inserted)
    remove()
    assert.equal(inserted, globals.package.searchers[1])
    assert.equal(tostring, globals.package.searchers[3])
  end)
end)
