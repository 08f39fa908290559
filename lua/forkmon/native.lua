--- Loads the native core, or says how to get one that fits.
--
-- The core is compiled for one Lua; another may fail to load it, or load it and be of another mind about the layout of
-- its state. It is loaded only when it is needed, so that a program with a forkmon line in it runs where there is no
-- core, as long as forkmon is disabled.

local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local debug, getenv, loadfile, open = debug, os.getenv, loadfile, io.open
local pcall, require, tostring = pcall, require, tostring

local lua = rawget(_G, 'jit') and 'LuaJIT' or _VERSION

local native = {
  VERSION = '0.1.0',
  LUA = lua,
}

-- A word as the shell takes it.
local function quoted(word)
  if not find(word, "[^%w_./~+@%%:,=%-]") then return word end
  return "'" .. gsub(word, "'", "'\\''") .. "'"
end

-- A command that gets forkmon for this Lua, into the tree that these Lua files are in. `rockspec/build.sh` has noted
-- where it came from; a rock has no such note, and a folder may be gone.
local function remedy()
  local folder = match(debug.getinfo(1, 'S').source, '^@(.*)native%.lua$') or ''
  local note = loadfile(folder .. 'installed.lua')
  local installed = note and note()
  local script = installed and open(installed.source .. '/rockspec/build.sh')
  if script then script:close() end

  local command = format('luarocks --lua-version %s', match(_VERSION, '%d+%.%d+'))
  local tree = match(folder, '^(/.*)/share/lua/5%.%d/forkmon/$')
  if tree and tree == (getenv 'HOME' or '') .. '/.luarocks' then
    command = command .. ' --local'
  elseif tree then
    command = command .. ' --tree ' .. quoted(tree)
  end
  -- LuaRocks takes LuaJIT for Lua 5.1.
  local configure = ''
  if lua == 'LuaJIT' and script then
    command = 'LUAROCKS_CONFIG=rockspec/luajit.lua ' .. command
  elseif lua == 'LuaJIT' then
    configure = [[echo "lua_interpreter = 'luajit'" >luajit.lua && ]]
    command = 'LUAROCKS_CONFIG=luajit.lua ' .. command
  end
  if script then
    return format('%scd %s && %s make', installed.by_root and 'as root, ' or '', quoted(installed.source), command)
  end
  return format('in the folder of the rock, %s%s install forkmon-%s-1.src.rock', configure, command, native.VERSION)
end

---@return table|nil core
---@return string|nil message one line, with what mends it
function native.load()
  if sub(package.config, 1, 1) == '\\' then return nil, 'forkmon works on Linux only, this is Windows' end
  local loaded, core = pcall(require, 'forkmon.core')
  if not loaded then
    local message = gsub(tostring(core), '%s+', ' ')
    if match(message, "^module 'forkmon%.core' not found") then
      return nil, format('forkmon.core is not installed for %s: %s', lua, remedy())
    end
    -- Each Lua has functions that the others do not have.
    local file = match(message, "from file '(.-)': .*undefined symbol: luaL?_")
    if file then return nil, format("'%s' was built for another Lua than %s: %s", file, lua, remedy()) end
    return nil, format('forkmon.core cannot be loaded by %s (%s): %s', lua, message, remedy())
  end
  if core.PLATFORM ~= 'linux' then
    return nil, 'forkmon works on Linux only, this is ' .. core.PLATFORM
  end
  if core.LUA ~= lua or core.VERSION ~= native.VERSION then
    return nil, format('forkmon %s for %s does not fit forkmon.core %s for %s: %s',
      native.VERSION, lua, core.VERSION, core.LUA, remedy())
  end
  return core
end

return native
