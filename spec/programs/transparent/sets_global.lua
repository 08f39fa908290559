GLOBAL = "set" -- luacheck: globals GLOBAL
