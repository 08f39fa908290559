--- What C code opens and asks for counts, whoever calls it: a C module, luaposix, luv, sqlite, LuaJIT's ffi.
--
-- Each program prints what it finds. An edit is followed by what is found then, and by nothing else.

local posix = require 'posix'
local support = require 'spec.support'

local root = posix.getcwd()

local function has(lua, module)
  local probe = support.start { lua.interpreter, '-e', ("os.exit(pcall(require, '%s') and 0 or 1)"):format(module) }
  return select(2, probe:wait()) == 0
end

-- It needs no header, as every Lua has these functions.
local SOURCE = [[
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int (*function)(void *);
extern const char *lua_tolstring(void *, int, size_t *);
extern void lua_pushstring(void *, const char *);
extern void lua_pushcclosure(void *, function, int);
extern void lua_createtable(void *, int, int);
extern void lua_setfield(void *, int, const char *);

/* As text, as some Luas show it as a float. */
static int number(void *state, int value) {
  char text[20];
  snprintf(text, sizeof text, "%d", value);
  lua_pushstring(state, text);
  return 1;
}

static int c_read(void *state) {
  char text[100] = "none";
  int file = open(lua_tolstring(state, 1, NULL), O_RDONLY);
  if (file >= 0) { text[read(file, text, 99)] = 0; close(file); }
  lua_pushstring(state, text);
  return 1;
}
static int c_stream(void *state) {
  char text[100] = "none";
  FILE *file = fopen(lua_tolstring(state, 1, NULL), "r");
  if (file) { text[fread(text, 1, 99, file)] = 0; fclose(file); }
  lua_pushstring(state, text);
  return 1;
}
static int c_size(void *state) {
  struct stat found;
  return number(state, stat(lua_tolstring(state, 1, NULL), &found) ? -1 : (int)found.st_size);
}
static int c_access(void *state) { return number(state, access(lua_tolstring(state, 1, NULL), R_OK)); }
static int c_real(void *state) {
  char *path = realpath(lua_tolstring(state, 1, NULL), NULL);
  lua_pushstring(state, path ? strrchr(path, '/') + 1 : "none");
  free(path);
  return 1;
}
static int c_count(void *state) {
  DIR *folder = opendir(lua_tolstring(state, 1, NULL));
  struct dirent *entry;
  int count = 0;
  if (!folder) return number(state, -1);
  while ((entry = readdir(folder))) count += entry->d_name[0] != '.';
  closedir(folder);
  return number(state, count);
}
static int c_write(void *state) {
  int file = open(lua_tolstring(state, 1, NULL), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  return number(state, write(file, "own", 3) + close(file));
}
static int c_remove(void *state) { return number(state, unlink(lua_tolstring(state, 1, NULL))); }

int luaopen_probe(void *state) {
  static const struct { const char *name; function function; } all[] = {
    {"read", c_read}, {"stream", c_stream}, {"size", c_size}, {"access", c_access}, {"real", c_real},
    {"count", c_count}, {"write", c_write}, {"remove", c_remove},
  };
  lua_createtable(state, 0, 8);
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
    lua_pushcclosure(state, all[i].function, 0);
    lua_setfield(state, -2, all[i].name);
  }
  return 1;
}
]]

support.each_lua(function(lua)
  --- Writes `main`, which has the C module as `probe`.
  local function build(project, main)
    project:write('probe.c', SOURCE)
    local compile = support.start { 'cc', '-shared', '-fPIC', '-o', 'probe.so', 'probe.c', cwd = project.root }
    assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
    project:write('main.lua', "package.cpath = './?.so;' .. package.cpath\nlocal probe = require 'probe'\n" .. main)
    project:age()
  end

  --- Starts it, with a filter for data.
  local function start(main, files, options)
    options = options or {}
    local project = support.project(files)
    build(project, main)
    local program = lua:forkmon { '--filter', options.filter or '/data', options.flag or '--quiet', 'main.lua',
      cwd = project.root, env = options.env }
    return project, program
  end

  --- A program that prints `expression` once more after each of these edits.
  local function follows(name, expression, ...)
    local edits = { ... }
    it(name, function()
      local project, program = start(('print(%s)'):format(expression), { ['data/x'] = '', data2 = '1' })
      for _, edit in ipairs(edits) do
        if edit[1] then edit[1](project) end
        program:expect_exactly(edit[2] .. '\n')
        support.await_idle(program)
      end
      program:stop 'INT'
    end)
  end

  describe('C code is followed when it', function()
    local function write(name, text) return function(project) project:write(name, text) end end
    follows('opens a file', "probe.read 'data.txt'", { nil, 'none' }, { write('data.txt', 'one'), 'one' },
      { write('data.txt', 'two'), 'two' })
    follows('opens a stream', "probe.stream 'data.txt'", { nil, 'none' }, { write('data.txt', 'one'), 'one' })
    follows('asks for a status', "probe.size 'data2'", { nil, '1' }, { write('data2', 'four'), '4' })
    follows('asks what it may do', "probe.access 'data.txt'", { nil, '-1' }, { write('data.txt', ''), '0' })
    follows('asks for a real path', "probe.real 'data3'", { nil, 'none' },
      { function(project) project:link('data2', 'data3') end, 'data2' },
      { function(project) project:link('data', 'data3') end, 'data' })
    follows('lists a folder', "probe.count 'data'", { nil, '1' }, { write('data/y', ''), '2' },
      { function(project) project:remove 'data/x' end, '1' })
  end)

  it('is told once of what a function of Lua reaches by C code', function()
    local project, program = start([[
      print(probe.read 'data.txt')
      local file = io.open 'data.txt'
      print(file:read '*a')
      file:close()
      dofile 'data.lua'
    ]], { ['data.txt'] = 'one', ['data.lua'] = "print 'lua'" }, { flag = '--no-color' })
    program:expect_match 'data%.txt\'\none\none\n.-lua\n'
    assert.equal(1, support.count(program.stdout.text, "watch '" .. project:path 'data.txt'))
    assert.equal(1, support.count(program.stdout.text, "watch '" .. project:path 'data.lua'))
    program:stop 'INT'
  end)

  it('does not disturb with what it does itself, and hears of others', function()
    local project, program = start([[
      print(probe.size 'data/own', probe.count 'data')
      probe.write 'data/own'
      print(probe.size 'data/own', probe.count 'data')
      probe.remove 'data/own'
      probe.write 'data/own'
      dofile 'data.lua'
    ]], { ['data/x'] = '', ['data.lua'] = "print 'one'" })
    program:expect_match '^%-1.-\t1.-\n3.-\t2.-\none\n'
    support.await_idle(program)
    project:write('data.lua', "print 'two'")
    program:expect_exactly 'two\n'
    project:write('data/other', '')
    program:expect_match '^3.-\t3.-\n3.-\t3.-\ntwo\n'
    program:stop 'INT'
  end)

  it('resumes from the checkpoint before, as none is taken in the middle of C code', function()
    local project, program = start([[
      print 'start'
      dofile 'data.lua'
      print('read', probe.read 'data.txt')
    ]], { ['data.txt'] = 'one', ['data.lua'] = "print 'lua'" })
    program:expect_exactly 'start\nlua\nread\tone\n'
    project:write('data.txt', 'two')
    program:expect_exactly 'lua\nread\ttwo\n'
    program:stop 'INT'
  end)

  it('is asked about later, where the filter is a function', function()
    local project = support.project { ['data.txt'] = 'one', ['other.txt'] = 'x', ['probe.c'] = SOURCE, ['main.lua'] = [[
      package.cpath = './?.so;' .. package.cpath
      require('forkmon').enable { quiet = true, filter = function(path) return path:find '/data' ~= nil end }
      local probe = require 'probe'
      print(probe.read 'data.txt', probe.read 'other.txt')
      require 'nothing'
    ]], ['nothing.lua'] = '' }
    local compile = support.start { 'cc', '-shared', '-fPIC', '-o', 'probe.so', 'probe.c', cwd = project.root }
    compile:wait()
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_exactly 'one\tx\n'
    support.await_idle(program)
    project:write('other.txt', 'y')
    support.await_idle(program)
    project:write('data.txt', 'two')
    program:expect_exactly 'two\ty\n'
    program:stop 'INT'
  end)

  if has(lua, 'lfs') then
    it('calls the functions for a resume at the next hook', function()
      local project = support.project { ['data.txt'] = 'one', ['main.lua'] = [[
        local forkmon = require('forkmon').enable { quiet = true, exact = true, filter = '/data;/more' }
        local lfs = require 'lfs'
        forkmon.on_resume(function(resume) print('resumed', #resume.changed) end)
        print 'start'
        print(lfs.attributes('data.txt', 'size'))
        dofile 'more.lua'
      ]], ['more.lua'] = "print 'more'" }
      local program = lua:start { 'main.lua', cwd = project.root }
      program:expect_exactly 'start\n3\nmore\n'
      project:write('data.txt', 'three')
      program:expect_exactly '5\nresumed\t1\nmore\n'
      program:stop 'INT'
    end)
  end

  it('says so where it cannot observe a library', function()
    for _, moment in ipairs { 'before', 'after' } do
      local load = "local access = package.loadlib('./sealed.so', 'sealed_access')\n"
      local enable = "require('forkmon').enable { filter = '/data', colors = false }\n"
      local project = support.project { ['main.lua'] = (moment == 'before' and load .. enable or enable .. load) .. [[
        local file = io.open 'data.txt'
        print(file:read '*a', access(nil), access 'data2')
      ]], ['data.txt'] = 'one' }
      local compile = support.start { 'cc', '-shared', '-fPIC', '-Wl,-z,now,-z,relro', '-o', 'sealed.so',
        root .. '/spec/programs/sealed.c', cwd = project.root }
      assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
      local program = lua:start { 'main.lua', cwd = project.root }
      local state = program:expect_match 'one\t([%a ]+)\tnone\n'
      if state == 'sealed' then
        assert.equal(1, support.count(program.stdout.text, 'import slots cannot be written to: what is opened or asked '
          .. 'through them by C code is not seen'), moment)
      end
      support.await_idle(program)
      project:write('data2', '')
      support.await_idle(program)
      project:write('data.txt', 'two')
      program:expect_match 'two\t[%a ]+\tthere\n'
      program:stop 'INT'
      if state ~= 'sealed' then return pending 'this kernel has no mseal' end
    end
  end)

  describe('C code is not observed', function()
    local main = "print(probe.read 'data.txt') dofile 'data.lua'"
    local without = "require('forkmon').enable { native_hooks = false, quiet = true, filter = '/data' }\n"
    local ways = {
      ['with --no-native-hooks'] = { flags = { '--no-native-hooks' } },
      ['with FORKMON_NO_NATIVE_HOOKS'] = { flags = {}, env = { FORKMON_NO_NATIVE_HOOKS = '1' } },
      ['with native_hooks = false'] = { before = without },
    }
    for name, way in pairs(ways) do
      it(name, function()
        local project = support.project { ['data.txt'] = 'one', ['data.lua'] = "print 'lua 1'" }
        build(project, (way.before or '') .. main)
        local how = { cwd = project.root, env = way.env }
        if way.flags then for _, word in ipairs { '--quiet', '--filter', '/data' } do how[#how + 1] = word end end
        how[#how + 1] = way.flags and way.flags[1]
        how[#how + 1] = 'main.lua'
        local program = (way.flags and lua.forkmon or lua.start)(lua, how)
        program:expect_exactly 'one\nlua 1\n'
        support.await_idle(program)
        project:write('data.txt', 'two')
        support.await_idle(program)
        project:write('data.lua', "print 'lua 2'")
        program:expect_exactly 'lua 2\n'
        program:stop 'INT'
      end)
    end
  end)

  if has(lua, 'posix') then
    describe('luaposix is followed:', function()
      local function write(name, text) return function(project) project:write(name, text) end end
      follows('stat', "require 'posix'.stat('data2').size", { nil, '1' }, { write('data2', 'four'), '4' })
      follows('access', "require 'posix'.access('data4') ~= nil", { nil, 'false' }, { write('data4', ''), 'true' })
      follows('dir', "#require 'posix'.dir 'data'", { nil, '3' }, { write('data/y', ''), '4' })
      follows('glob', "#require 'posix'.glob 'data*'", { nil, '2' }, { write('data4', ''), '3' })
      follows('readlink', "(require 'posix'.readlink 'data4')", { nil, 'nil' },
        { function(project) project:link('data2', 'data4') end, 'data2' })
      follows('open', [[(function()
        local posix = require 'posix'
        local file = posix.open('data2', posix.O_RDONLY)
        local text = posix.read(file, 10)
        posix.close(file)
        return text
      end)()]], { nil, '1' }, { write('data2', 'four'), 'four' })
    end)
  end

  if has(lua, 'luv') then
    describe('luv is followed:', function()
      local function write(name, text) return function(project) project:write(name, text) end end
      follows('fs_stat', "require 'luv'.fs_stat('data2').size", { nil, '1' }, { write('data2', 'four'), '4' })
      follows('fs_access', "require 'luv'.fs_access('data4', 'R') or false", { nil, 'false' },
        { write('data4', ''), 'true' })
      follows('fs_scandir', [[(function()
        local uv, names = require 'luv', {}
        local folder = uv.fs_scandir 'data'
        for name in function() return uv.fs_scandir_next(folder) end do names[#names + 1] = name end
        table.sort(names)
        return table.concat(names, ' ')
      end)()]], { nil, 'x' }, { write('data/y', ''), 'x y' })
      follows('fs_open', [[(function()
        local uv = require 'luv'
        local file = uv.fs_open('data2', 'r', 0)
        local text = uv.fs_read(file, 10, 0)
        uv.fs_close(file)
        return text
      end)()]], { nil, '1' }, { write('data2', 'four'), 'four' })
    end)
  end

  if has(lua, 'luasql.sqlite3') then
    it('sqlite is followed', function()
      local project = support.project { ['main.lua'] = [[
        local connection = require 'luasql.sqlite3'.sqlite3():connect 'data.db'
        connection:execute 'create table if not exists items (name text)'
        local cursor = connection:execute 'select count(*) from items'
        print('items ' .. cursor:fetch())
        cursor:close()
        connection:close()
      ]] }
      local program = lua:forkmon { '--quiet', '--filter', '/data', 'main.lua', cwd = project.root }
      program:expect_exactly 'items 0\n'
      support.await_idle(program)
      local other = lua:start { '-e', [[
        local connection = require 'luasql.sqlite3'.sqlite3():connect 'data.db'
        connection:execute "insert into items values ('one')"
        connection:close()
      ]], cwd = project.root }
      assert.same({ 'exited', 0 }, { other:wait() }, other:unread())
      program:expect_match '^items 1%.?0?\n'
      program:stop 'INT'
    end)
  end

  if lua.name == 'luajit' then
    follows("LuaJIT's ffi.C is followed", [[(function()
      local ffi = require 'ffi'
      ffi.cdef 'int open(const char *, int); long read(int, void *, size_t); int close(int);'
      local buffer, text = ffi.new 'char[10]'
      for _ = 1, 100 do
        local file = ffi.C.open('data2', 0)
        text = ffi.string(buffer, ffi.C.read(file, buffer, 10))
        ffi.C.close(file)
      end
      return text
    end)()]], { nil, '1' }, { function(project) project:write('data2', 'four') end, 'four' })
  end
end)
