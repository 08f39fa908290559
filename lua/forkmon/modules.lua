--- What the functions of modules ask of the file system, and what they do to it.
--
-- As with the functions of Lua itself, a `before` sees the arguments of a call and reports what is about to happen.
-- It must never raise an error: arguments that are no paths are passed over, and the original raises its own.

local type = type

local modules = {}

-- What LuaFileSystem calls the fields of a status, and without a name. When a file was last read counts for nobody.
local of_name = {
  'all',
  mode = 'kind', permissions = 'mode', size = 'size', blocks = 'size',
  modification = 'modified', change = 'changed', uid = 'owner', gid = 'owner',
  nlink = 'links', dev = 'identity', ino = 'identity', access = 'presence',
  rdev = 'presence', blksize = 'presence', target = 'presence',
}

--- What is seen of modules where C code is observed, too, and needs no `before`. Those with a table are known to hold
--- no lock when they hand their first argument on, and say which fields of a status they ask for, by the names that
--- they call them.
---@type table<string, table<string, table<string|integer, string>|false>>
modules.seen = {
  lfs = {
    attributes = of_name, symlinkattributes = of_name, dir = {},
    mkdir = false, rmdir = false, touch = false, link = false, lock_dir = false,
  },
  ['posix.dirent'] = { dir = {}, files = {} },
  ['posix.fcntl'] = { open = {} },
  ['posix.stdio'] = { fopen = {} },
  ['posix.stdlib'] = { realpath = {} },
  ['posix.sys.stat'] = { stat = {}, lstat = {} },
  ['posix.unistd'] = { access = {}, readlink = {} },
}

--- What runs before the functions of each module.
---@param report forkmon.Report
---@param path_of fun(value: any): string|nil a path as C functions take it; nil for what is none
---@return table<string, table<string, function>> befores by the names of modules and their functions
function modules.befores(report, path_of)
  local function attributes(question)
    return function(value, wanted)
      local path = path_of(value)
      if not path then return end
      if wanted == 'target' then question = 'link' end
      return report.ask(path, question, type(wanted) == 'string' and of_name[wanted] or 'all')
    end
  end

  local function dir(value)
    local path = path_of(value)
    if path then return report.ask(path, 'names') end
  end

  local function make(value)
    local path = path_of(value)
    if path then report.write(path) end
    report.act()
  end

  local function remove(value)
    local path = path_of(value)
    if path then report.change(path, true) end
    report.act()
  end

  local function touch(value)
    local path = path_of(value)
    if path then report.change(path, false) end
    report.act()
  end

  -- A hard link changes what is told of the file, too.
  local function link(value, name, is_symbolic)
    local path = path_of(value)
    if path and not is_symbolic then report.change(path, false) end
    make(name)
  end

  local function lock_folder(value)
    local path = path_of(value)
    if path then report.write(path .. '/lockfile.lfs') end
    report.act()
  end

  local function act()
    report.act()
  end

  return {
    lfs = {
      attributes = attributes 'status', symlinkattributes = attributes 'link_status', dir = dir,
      mkdir = make, rmdir = remove, touch = touch, link = link, lock_dir = lock_folder, lock = act, unlock = act,
    },
  }
end

return modules
