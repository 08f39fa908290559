local level = 1
local info = debug.getinfo(level, 'Sln')
while info do
  print('stack', level, info.what, info.short_src, info.currentline, info.namewhat, info.name)
  level = level + 1
  info = debug.getinfo(level, 'Sln')
end
