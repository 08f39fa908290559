local depfile = require 'forkmon.depfile'

describe('a depfile', function()
  for name, case in pairs {
    ['has what comes after the colon'] = { 'main.o: main.c a.h', 'main.c', 'a.h' },
    ['goes on behind a backslash'] = { 'main.o: main.c \\\n  a.h \\\r\n b/c.h\n', 'main.c', 'a.h', 'b/c.h' },
    ['has several rules'] = { 'a.o b.o : x.c\nc.o: y.c x.c\n\n', 'x.c', 'y.c' },
    ['has rules that need nothing (-MP)'] = { 'm.o: m.c a.h\na.h:\n', 'm.c', 'a.h' },
    ['has blanks in paths'] = { 'm.o: my\\ file.c a\\\tb.h', 'my file.c', 'a\tb.h' },
    ['has backslashes before blanks doubled'] = { 'm.o: a\\\\\\ b.h c\\\\ d.h', 'a\\ b.h', 'c\\', 'd.h' },
    ['has other backslashes as they are'] = { 'm.o: a\\b.h', 'a\\b.h' },
    ['has $ and # in paths'] = { 'm.o: a$$b.h c\\#d.h', 'a$b.h', 'c#d.h' },
    ['has comments'] = { '# a comment\nm.o: m.c # another: x\n', 'm.c' },
    ['has colons in paths'] = { 'm.o: c:/x.h y', 'c:/x.h', 'y' },
    ['may be empty'] = { '\n\n' },
  } do
    it(name, function()
      assert.same({ select(2, (table.unpack or unpack)(case)) }, depfile.paths(case[1]))
    end)
  end

  it('is what a compiler writes', function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute(("mkdir '%s'"):format(folder)))
    local function write(name, text)
      local file = assert(io.open(folder .. '/' .. name, 'w'))
      file:write(text)
      file:close()
    end
    local names = { 'a b.h', 'c$d.h', 'e#f.h', 'g.h' }
    local source = ''
    for _, name in ipairs(names) do
      write(name, '')
      source = source .. ('#include "%s"\n'):format(name)
    end
    write('main.c', source)
    assert(os.execute(("cd '%s' && cc -MMD -MP -c main.c"):format(folder)))
    local file = assert(io.open(folder .. '/main.d'))
    local text = file:read '*a'
    file:close()
    os.execute(("rm -r '%s'"):format(folder))
    assert.same({ 'main.c', (table.unpack or unpack)(names) }, depfile.paths(text))
  end)
end)
