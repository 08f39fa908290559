--- Every function of libc by which C code reaches files: what it opens, asks or lists is followed, and what it changes
-- is the program's own.

local posix = require 'posix'
local support = require 'spec.support'

local root = posix.getcwd()
local source = root .. '/spec/programs/functions.c'

--- What an edit does to what a function has seen, and what the function returns before and after it.
local kinds = {
  file = {
    prepare = function(project, path) project:write(path, 'x') end, before = 1,
    edit = function(project, path) project:write(path, 'xxx') end, after = 3,
  },
  absent = {
    prepare = function(project, path) project:mkdir(path:match '^(.*)/') end, before = -1,
    edit = function(project, path) project:write(path, '') end, after = 0,
  },
  link = {
    prepare = function(project, path)
      project:write('f/a', '')
      project:write('f/bbb', '')
      project:link('a', path)
    end, before = 1,
    edit = function(project, path) project:link('bbb', path) end, after = 3,
  },
  folder = {
    prepare = function(project, path) project:write(path .. '/one', '') end, before = 1,
    edit = function(project, path) project:write(path .. '/two', '') end, after = 2,
  },
  library = {
    prepare = function(project, path) project:mkdir(path:match '^(.*)/') end, before = -1,
    edit = function(project, path) assert(os.execute(("cp '%s' '%s'"):format(project:path 'later.so',
      project:path(path)))) end, after = 0,
  },
}

local asking = {
  file = { 'open', 'open64', 'openat', 'openat_folder', 'fopen', 'fopen64', 'freopen', 'stat', 'stat64', 'lstat',
    'fstatat', 'statx', 'syscall_statx', '__xstat', '__lxstat', '__fxstatat' },
  absent = { 'access', 'eaccess', 'faccessat', 'dlsym', 'later' },
  link = { 'readlink', 'readlinkat', 'realpath', 'canonicalize_file_name' },
  folder = { 'opendir', 'fdopendir', 'scandir', 'glob' },
  library = { 'dlopen' },
}

local changing = {
  nothing = { 'creat', 'o_creat', 'o_excl', 'o_append', 'fopen_w', 'fopen_a', 'mkdir', 'mkdirat', 'mkfifo', 'symlink',
    'symlinkat' },
  file = { 'unlink', 'unlinkat', 'remove', 'link', 'linkat', 'rename', 'renameat', 'renameat2', 'truncate', 'utime',
    'utimes', 'utimensat', 'chmod', 'fchmodat', 'chown', 'mkstemp', 'mkdtemp' },
  folder = { 'rmdir' },
}

--- What modules do, each to its path `it`, as source; `make` makes it first.
local modules = {
  lfs = {
    mkdir = 'lfs.mkdir(it)', rmdir = 'make() lfs.rmdir(it)', touch = 'make "file" lfs.touch(it, 9, 9)',
    link = 'make "file" lfs.link(it, it .. 2)', symlink = 'lfs.link("x", it, true)',
    lock_dir = 'make() lfs.lock_dir(it):free()',
  },
  posix = {
    mkdir = 'posix.mkdir(it)', rmdir = 'make() posix.rmdir(it)', unlink = 'make "file" posix.unlink(it)',
    utime = 'make "file" posix.utime(it, 9, 9)', link = 'make "file" posix.link(it, it .. 2)',
    symlink = 'posix.link("x", it, true)', chmod = 'make "file" posix.chmod(it, "rw-------")',
    rename = 'make "file" posix.rename(it, it .. 2)', mkfifo = 'posix.mkfifo(it)',
    creat = 'posix.close(posix.creat(it, "rw-r--r--"))',
    open = 'posix.close(posix.open(it, posix.O_WRONLY + posix.O_CREAT, "rw-r--r--"))',
  },
  luv = {
    mkdir = 'luv.fs_mkdir(it, 493)', rmdir = 'make() luv.fs_rmdir(it)', unlink = 'make "file" luv.fs_unlink(it)',
    utime = 'make "file" luv.fs_utime(it, 9, 9)', link = 'make "file" luv.fs_link(it, it .. 2)',
    symlink = 'luv.fs_symlink("x", it)', chmod = 'make "file" luv.fs_chmod(it, 384)',
    rename = 'make "file" luv.fs_rename(it, it .. 2)', open = 'luv.fs_close(luv.fs_open(it, "w", 420))',
    copyfile = 'luv.fs_copyfile("main.lua", it)', mkdtemp = 'luv.fs_rmdir(luv.fs_mkdtemp(it .. "XXXXXX"))',
  },
}

local function keys(by_name)
  local names = {}
  for name in pairs(by_name) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function build(project, name, ...)
  local compile = support.start { 'cc', '-shared', '-fPIC', '-o', name, source, cwd = project.root, ... }
  assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
end

local function has(lua, module)
  return select(2, support.start { lua.interpreter, '-l', module, '-e', '' }:wait()) == 0
end

support.each_lua(function(lua)
  local function start(project, main, env)
    build(project, 'functions.so')
    build(project, 'later.so')
    project:write('main.lua', "package.cpath = './?.so;' .. package.cpath\nlocal functions = require 'functions'\n"
      .. "io.stdout:setvbuf 'no'\n" .. main)
    project:age()
    return lua:forkmon { '--no-color', '--no-watch-lines', '--filter', '/f/', 'main.lua', cwd = project.root,
      env = env }
  end

  it('what each function opens, asks or lists is followed', function()
    local project, names, seen = support.project {}, {}, {}
    for _, kind in ipairs(keys(asking)) do
      for _, name in ipairs(asking[kind]) do
        names[#names + 1] = name
        seen[name] = kinds[kind].before
        kinds[kind].prepare(project, 'f/' .. name)
      end
    end
    local program = start(project, ([[
      for name in ('%s'):gmatch '%%S+' do print(name .. ' ' .. functions[name]('f/' .. name)) end
    ]]):format(table.concat(names, ' ')))
    local function expect()
      for _, name in ipairs(names) do
        program:expect(('%s %d\n'):format(name, seen[name]))
      end
      support.await_idle(program)
    end
    expect()
    for _, kind in ipairs(keys(asking)) do
      for _, name in ipairs(asking[kind]) do
        kinds[kind].edit(project, 'f/' .. name)
        seen[name] = kinds[kind].after
        program:expect(("'%s'"):format(project:path('f/' .. name)))
        expect()
      end
    end
    program:stop 'INT'
  end)

  it('what each function changes is the program\'s own', function()
    local project, names = support.project { ['f/other'] = '1' }, {}
    for _, kind in ipairs(keys(changing)) do
      for _, name in ipairs(changing[kind]) do
        names[#names + 1] = name
        if kind == 'file' then project:write('f/' .. name, 'x') end
        if kind == 'folder' then project:mkdir('f/' .. name) end
      end
    end
    local program = start(project, ([[
      local names = {}
      for name in ('%s'):gmatch '%%S+' do names[#names + 1] = name end
      functions.opendir 'f'
      for _, name in ipairs(names) do
        for _, question in ipairs { 'lstat', 'stat', 'access', 'open' } do
          if question ~= 'open' or name ~= 'mkfifo' then functions[question]('f/' .. name) end
        end
      end
      for _, name in ipairs(names) do
        local result = functions[name]('f/' .. name)
        if result ~= '0' then print(name .. ' failed') end
      end
      print('done ' .. io.open 'f/other':read '*a')
    ]]):format(table.concat(names, ' ')))
    program:expect_exactly 'done 1\n'
    for number = 2, 3 do
      support.await_idle(program)
      posix.poll({}, 350) -- more than the longest time between two looks
      assert.equal('', program:unread())
      project:write('f/other', tostring(number))
      program:expect_match(("^%%[forkmon%%] file '[^']*/f/other' changed, resuming from .-\ndone %d\n"):format(number))
    end
    program:stop 'INT'
  end)

  for name, deeds in pairs(modules) do
    for _, env in ipairs { false, name == 'lfs' and { FORKMON_NO_NATIVE_HOOKS = '1' } or nil } do
      if has(lua, name) then
        it(("what %s changes is the program's own%s"):format(name, env and ', where C code is not observed' or ''),
          function()
            local lines = {}
            for _, deed in ipairs(keys(deeds)) do
              lines[#lines + 1] = ("try('%s', function(it, make) %s end)"):format(deed, deeds[deed])
            end
            local project = support.project { ['f/other'] = '1' }
            local program = start(project, ("local %s = require '%s'\n"):format(name, name) .. [[
              local lfs = package.loaded.lfs
              local function try(deed, act)
                local it = 'f/' .. deed
                local function make(what)
                  if functions.lstat(it) ~= '-1' then return end
                  if what then io.open(it, 'w'):close() else (lfs or functions).mkdir(it) end
                end
                functions.opendir 'f'
                functions.lstat(it)
                functions.lstat(it .. '2')
                if lfs then lfs.attributes(it, 'mode') end
                act(it, make)
              end
            ]] .. table.concat(lines, '\n') .. "\nprint('done ' .. io.open 'f/other':read '*a')", env or nil)
            program:expect_exactly 'done 1\n'
            for number = 2, 3 do
              support.await_idle(program)
              posix.poll({}, 350)
              assert.equal('', program:unread())
              project:write('f/other', tostring(number))
              program:expect_match(("^%%[forkmon%%] file '[^']*/f/other' changed, resuming from .-\ndone %d\n")
                :format(number))
            end
            program:stop 'INT'
          end)
      end
    end
  end

  it('a name that is given only when it is made is the program\'s own, though it is told of late', function()
    local project = support.project { ['f/other'] = '1' }
    -- As on a busy machine: who waits for the child of a `vfork` gets no processor, and is seen to want it.
    project:write('late.c', [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
char *mkdtemp(char *template) {
  char *(*make)(char *) = dlsym(RTLD_NEXT, "mkdtemp");
  char *made = make(template);
  if (vfork() == 0) {
    usleep(400000);
    _exit(0);
  }
  return made;
}
]])
    local compile = support.start { 'cc', '-shared', '-fPIC', '-o', 'late.so', 'late.c', cwd = project.root }
    assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
    local program = start(project, [[
      functions.opendir 'f'
      functions.mkdtemp 'f/made'
      print('done ' .. io.open 'f/other':read '*a')
    ]], { LD_PRELOAD = project:path 'late.so' })
    program:expect_exactly 'done 1\n'
    support.await_idle(program)
    assert.equal('', program:unread())
    project:write('f/other', '2')
    program:expect_match "f/other' changed, resuming from .-\n"
    program:expect_exactly 'done 2\n'
    program:stop 'INT'
  end)

  it('errno and the mask of signals are left alone', function()
    local project = support.project { ['f/data'] = '1' }
    local program = start(project, [[
      print('disturbed ' .. functions.quiet 'f/data', io.open 'f/data':read '*a')
    ]])
    program:expect_exactly 'disturbed 0\t1\n'
    project:write('f/data', '2')
    program:expect 'disturbed 0\t2\n'
    program:stop 'INT'
  end)
end)
