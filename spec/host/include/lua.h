/* LuaRocks installs a rock only where a lua.h says the right version, and 3.8 cannot
   read Lua 5.5's own, which computes the number. Nothing is compiled with this one. */
#define LUA_VERSION_NUM 505
