local filter = require 'forkmon.filter'

describe('filter.fault', function()
  for _, pattern in ipairs {
    '', 'a', '%.lua$', '^/home/', '[a-z]', '[]]', '[^]]', '[%]]', '%b()', '%f[%w]', '(a)(b)%2', '()a', 'a-b*c?d+', '%%',
    '(x)%1', ('a'):rep(500), ('(a)'):rep(32),
  } do
    it('accepts ' .. pattern, function()
      assert.is_nil(filter.fault(pattern))
    end)
  end

  for pattern, message in pairs {
    ['[a'] = "missing ']'",
    ['x[a'] = "missing ']'",
    ['[]'] = "missing ']'",
    ['[%]'] = "missing ']'",
    ['%'] = "ends with '%'",
    ['never%'] = "ends with '%'",
    ['a%f'] = "missing '['",
    ['(a'] = 'unfinished capture',
    ['a(b(c)'] = 'unfinished capture',
    ['a)'] = 'invalid pattern capture',
    ['%1'] = 'invalid capture index',
    ['(a)%2'] = 'invalid capture index',
    ['(a%1)'] = 'invalid capture index',
    [('(a)'):rep(33)] = 'too many captures',
  } do
    it('finds the fault of ' .. pattern, function()
      assert.truthy(filter.fault(pattern):find(message, 1, true))
    end)
  end

  it('finds the arguments of %b missing, for which versions of Lua have different words', function()
    assert.is_string(filter.fault('a%b'))
    assert.is_string(filter.fault('a%bx'))
  end)
end)

describe('filter.compile', function()
  local warnings

  local function compile(wanted, ignored)
    warnings = {}
    return filter.compile(wanted, ignored or {}, function(message) warnings[#warnings + 1] = message end)
  end

  it('takes what matches one of the patterns', function()
    local watched = compile { '%.lua$', '%.nelua$' }
    assert.is_true(watched '/a.lua')
    assert.is_true(watched '/a.nelua')
    assert.is_false(watched '/a.txt')
  end)

  it('knows when only the end of a path matters', function()
    local function ends(...) return { select(3, compile(...)) } end
    assert.same({ { '.lua' }, {} }, ends { '%.lua$' })
    assert.same({ { '.lua', '.nelua' }, { '_spec.lua', 'a%' } },
      ends({ '%.lua$', '%.nelua$' }, { '_spec%.lua$', 'a%%$' }))
    for _, pattern in ipairs { '%.lua', '.lua$', '^/a%.lua$', '%a$', '[a]$', 'a*$', '(a)$', 'a-b$', 'a%$', '%$' } do
      assert.is_nil(ends { pattern }[1])
    end
    assert.is_nil(ends({ '%.lua$' }, { '/vendor/' })[2])
    assert.is_nil(ends(function() end)[1])
  end)

  it('answers nothing where a pattern cannot be matched now', function()
    local watched = compile { '%.lua$' }
    local answer
    local function deeper()
      local ok = pcall(deeper)
      if not ok and answer == nil then answer = watched '/a.lua' or 'nothing' end
    end
    deeper()
    assert.is_not_nil(answer)
    assert.is_not_false(answer)
    assert.same({}, warnings)
  end)

  it('lets ignore win', function()
    local watched, is_ignored = compile({ '%.lua$' }, { '/vendor/' })
    assert.is_false(watched '/vendor/a.lua')
    assert.is_true(is_ignored '/vendor/a.lua')
    assert.is_false(is_ignored '/a.lua')
  end)

  it('asks a function once for each path', function()
    local asked = {}
    local watched = compile(function(path)
      asked[#asked + 1] = path
      return path == '/a' and 'yes'
    end)
    assert.is_true(watched '/a')
    assert.is_true(watched '/a')
    assert.is_false(watched '/b')
    assert.same({ '/a', '/b' }, asked)
  end)

  it('warns once of a function that fails, and takes nothing', function()
    local watched = compile(function() error('oops', 0) end)
    assert.is_false(watched '/a')
    assert.is_false(watched '/b')
    assert.same({ 'the filter failed: oops' }, warnings)
  end)

  it('decides nothing at the end of the stack', function()
    local deep = true
    local watched = compile(function()
      local function deeper() return 1 + deeper() end
      return not deep or deeper()
    end)
    assert.is_false(watched '/a')
    deep = false
    assert.is_true(watched '/a')
    assert.same({}, warnings)
  end)

  it('does not ask a function about what itself opens', function()
    local watched
    watched = compile(function() return not watched '/inner' end)
    assert.is_true(watched '/outer')
    assert.is_true(compile { 'inner' } '/inner')
  end)
end)
