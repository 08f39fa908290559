-- The configuration with which LuaRocks works for LuaJIT, which it takes for Lua 5.1 otherwise:
--     LUAROCKS_CONFIG=rockspec/luajit.lua luarocks --lua-version 5.1 make
lua_interpreter = 'luajit'
