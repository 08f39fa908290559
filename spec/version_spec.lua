--- The version is one, wherever it stands.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read '*a'
  file:close()
  return text
end

describe('the version', function()
  local version = read('Cargo.toml'):match '\nversion = "([%d.]+)"'
  local in_pattern = version:gsub('%.', '%%.')

  it('of the Lua files is that of the crate', function()
    assert.equal(version, require('forkmon.native').VERSION)
    assert.truthy(read('Cargo.lock'):find('name = "forkmon"\nversion = "' .. version .. '"', 1, true))
  end)

  it('has a rockspec that is called after it', function()
    local rockspec = read('rockspec/forkmon-' .. version .. '-1.rockspec')
    assert.truthy(rockspec:find("version = '" .. version .. "-1'", 1, true))
    assert.truthy(rockspec:find('forkmon%-' .. in_pattern .. '%.tar%.gz'))
  end)

  it('of the release is all that its rockspec does not share with the other', function()
    local function rest(path)
      return (read(path):gsub("version = '[^']*'", ''):gsub('source = %b{}', ''))
    end
    assert.equal(rest 'rockspec/forkmon-scm-1.rockspec', rest('rockspec/forkmon-' .. version .. '-1.rockspec'))
  end)
end)
