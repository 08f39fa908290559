GLOBAL = "set"
