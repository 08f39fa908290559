--- Loads the native core, or says how to get one that fits.
--
-- The core is compiled for one Lua; another may fail to load it, or load it and be of another mind about the layout of
-- its state. It is loaded only when it is needed, so that a program with a forkmon line in it runs where there is no
-- core, as long as forkmon is disabled.

local format, gsub, match, sub = string.format, string.gsub, string.match, string.sub
local pcall, require, tostring = pcall, require, tostring

local lua = rawget(_G, 'jit') and 'LuaJIT' or _VERSION

local native = {
  VERSION = '0.1.0',
  LUA = lua,
}

local remedy = format('luarocks --lua-version %s install forkmon', match(_VERSION, '%d+%.%d+'))
-- LuaRocks builds for Lua 5.1 otherwise, for which it takes LuaJIT too.
if lua == 'LuaJIT' then remedy = remedy .. " (with lua_interpreter = 'luajit' in its configuration)" end

---@return table|nil core
---@return string|nil message one line, with what mends it
function native.load()
  if sub(package.config, 1, 1) == '\\' then return nil, 'forkmon works on Linux only, this is Windows' end
  local loaded, core = pcall(require, 'forkmon.core')
  if not loaded then
    local message = gsub(tostring(core), '%s+', ' ')
    if match(message, "^module 'forkmon%.core' not found") then
      return nil, format('forkmon.core is not installed for %s: %s', lua, remedy)
    end
    -- Each Lua has functions that the others do not have.
    local file = match(message, "from file '(.-)': .*undefined symbol: luaL?_")
    if file then return nil, format("'%s' was built for another Lua than %s: %s", file, lua, remedy) end
    return nil, format('forkmon.core cannot be loaded by %s: %s (%s)', lua, remedy, message)
  end
  if core.PLATFORM ~= 'linux' then
    return nil, 'forkmon works on Linux only, this is ' .. core.PLATFORM
  end
  if core.LUA ~= lua or core.VERSION ~= native.VERSION then
    return nil, format('forkmon %s for %s does not fit forkmon.core %s for %s: %s',
      native.VERSION, lua, core.VERSION, core.LUA, remedy)
  end
  return core
end

return native
