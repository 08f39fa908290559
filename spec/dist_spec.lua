--- The source rock (rockspec/dist.sh): what is in it. That LuaRocks installs it is tried before a release
--- (docs/releasing.md), as it means to compile everything.

local function lines(command)
  local pipe = assert(io.popen(command))
  local found = {}
  for line in pipe:lines() do found[#found + 1] = line end
  pipe:close()
  return found
end

describe('the source rock', function()
  local folder

  setup(function() folder = lines('mktemp -d')[1] end)
  teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

  it('holds the rockspec and what git tracks', function()
    local rock = lines(("sh rockspec/dist.sh '%s' 2>/dev/null"):format(folder))[1]
    local rockspec = rock:match '([^/]+)%.src%.rock$' .. '.rockspec'
    local version = rockspec:match '^forkmon%-(.*)%-%d+%.rockspec$'
    local archive = 'forkmon-' .. version .. '.tar.gz'
    local members = lines(("unzip -Z1 '%s'"):format(rock))
    table.sort(members)
    assert.same({ rockspec, archive }, members)

    local prefix = 'forkmon-' .. version .. '/'
    local packed = lines(("unzip -p '%s' %s | tar -tz"):format(rock, archive))
    local files = {}
    for _, name in ipairs(packed) do
      assert.equal(prefix, name:sub(1, #prefix))
      if name:sub(-1) ~= '/' then files[#files + 1] = name:sub(#prefix + 1) end
    end
    table.sort(files)
    local tracked = lines 'git ls-tree -r --name-only HEAD'
    table.sort(tracked)
    assert.same(tracked, files)
    assert.truthy(#tracked > 50)
  end)
end)
