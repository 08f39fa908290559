-- Shows the first line of each file that its arguments name. A last argument 'stay' keeps it running after that, until
-- its input ends.
io.stdout:setvbuf 'no'
print 'startup'
for _, name in ipairs(arg) do
  if name == 'stay' then
    io.read()
  else
    local file, message = io.open(name)
    print(file and 'shows ' .. (file:read() or 'nothing') or message)
    if file then file:close() end
  end
end
