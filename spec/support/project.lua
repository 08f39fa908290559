--- A folder for a program under test, and the ways in which people's editors save into it.

local posix = require 'posix'

local Project = {}
Project.__index = Project

--- Runs a command; its arguments are taken as they are.
local function run(...)
  local words = {}
  for i, word in ipairs { ... } do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  assert(os.execute(table.concat(words, ' ')))
end

--- A new folder, filled from `source`: a table name -> text, or the path of a folder to copy.
function Project.new(source)
  local parent = posix.realpath(os.getenv 'TMPDIR' or '/tmp')
  local self = setmetatable({ root = assert(posix.mkdtemp(parent .. '/forkmon-spec-XXXXXX')) }, Project)
  if type(source) == 'string' then
    run('cp', '-R', source .. '/.', self.root)
  else
    for name, text in pairs(source or {}) do self:write(name, text) end
  end
  return self
end

--- The absolute path of a name in the project; absolute ones stay as they are.
function Project:path(name)
  return name:sub(1, 1) == '/' and name or self.root .. '/' .. name
end

local function put(path, mode, text)
  local file = assert(io.open(path, mode))
  assert(file:write(text))
  assert(file:close())
end

--- In place: the file is cut and written, in one open. Makes missing folders.
function Project:write(name, text)
  local path = self:path(name)
  local folder = path:match '^(.*)/'
  if not posix.stat(folder) then run('mkdir', '-p', folder) end
  put(path, 'w', text)
end

--- Cut in one open and written in another, as `echo > file` and some editors do.
function Project:write_in_two_steps(name, text)
  put(self:path(name), 'w', '')
  put(self:path(name), 'a', text)
end

--- A new file is renamed over the old one (most editors' "atomic save").
function Project:replace(name, text)
  local path = self:path(name)
  put(path .. '.new~', 'w', text)
  assert(os.rename(path .. '.new~', path))
end

--- The old file moves away and a new one takes its name (vim with 'backup').
function Project:write_after_backup(name, text)
  local path = self:path(name)
  assert(os.rename(path, path .. '~'))
  put(path, 'w', text)
end

function Project:append(name, text)
  put(self:path(name), 'a', text)
end

function Project:read(name)
  local file = assert(io.open(self:path(name), 'rb'))
  local text = file:read '*a'
  file:close()
  return text
end

function Project:remove(name)
  assert(os.remove(self:path(name)))
end

function Project:remove_folder(name)
  run('rm', '-rf', self:path(name))
end

function Project:rename(from, to)
  assert(os.rename(self:path(from), self:path(to)))
end

--- Sets the modification time to now and leaves the bytes.
function Project:touch(name)
  run('touch', '-c', self:path(name))
end

--- Makes all that is there old: what was saved lately is looked at once more, and gets a checkpoint before others.
function Project:age()
  run('find', self.root, '-exec', 'touch', '-h', '-d', '1 hour ago', '{}', '+')
end

function Project:mkdir(name)
  run('mkdir', '-p', self:path(name))
end

--- Makes `name` a symbolic link to `target`; one that is there is replaced in one step.
function Project:link(target, name)
  local path = self:path(name)
  assert(posix.link(target, path .. '.new~', true))
  assert(os.rename(path .. '.new~', path))
end

--- Deletes the folder with all it holds.
function Project:discard()
  run('rm', '-rf', self.root)
end

return Project
