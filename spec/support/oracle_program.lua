--- Random programs for the oracle, and random edits of them.
--
-- A program is a folder of files that are described here (what statements they hold, which
-- version they are) and written out. Its Lua files are numbered, and each reaches only later
-- ones, so that every run ends. An edit changes a description and saves the file in one of the
-- ways in which people's editors do. Everything follows from the seed but the timing.

local posix = require 'posix'

----------------------------------------------------------------------------------------------
-- Random numbers (xorshift: the same everywhere, and nobody else draws from it)

local Random = {}
Random.__index = Random

local function new_random(seed)
  local self = setmetatable({ state = seed * 0x9E3779B97F4A7C15 + 1 }, Random)
  for _ = 1, 8 do self:number(0, 1) end
  return self
end

function Random:number(least, most)
  local state = self.state
  state = state ~ (state << 13)
  state = state ~ (state >> 7)
  state = state ~ (state << 17)
  self.state = state
  return least + (state >> 11) % (most - least + 1)
end

function Random:chance(percent) return self:number(1, 100) <= percent end

function Random:one_of(list) return list[self:number(1, #list)] end

--- One of the keys of `weights`, whose values say how likely each is.
function Random:weighted(weights)
  local names, total = {}, 0
  for name, weight in pairs(weights) do
    names[#names + 1] = name
    total = total + weight
  end
  table.sort(names)
  local left = self:number(1, total)
  for _, name in ipairs(names) do
    left = left - weights[name]
    if left <= 0 then return name end
  end
end

----------------------------------------------------------------------------------------------
-- Statements

local UNLIMITED = 10000 -- checkpoints; no program comes to so many

local Program = {}
Program.__index = Program

--- Which kinds of statement there are, and how often they come.
local statements = {
  say = 8, require = 10, optional = 4, together = 2, part = 3, chunk = 3, lines = 5, open = 4,
  hold = 2, more = 3, conf = 2, checkpoint = 2, own = 2, log = 2, command = 1, heap = 4, spin = 3,
  again = 4, ask = 6, list = 3,
}

--- A random statement for the file with this number, as Lua source.
function Program:statement(number, name)
  local random = self.random
  local kind = random:weighted(statements)
  local function later(list)
    local found = {}
    for _, other in ipairs(list) do
      if other.number > number then found[#found + 1] = other.name end
    end
    return #found > 0 and random:one_of(found)
  end
  local function call(argument, ...)
    return argument and ('o.%s(%s)'):format(kind, table.concat({ ('%q'):format(argument), ... }, ', '))
  end

  if kind == 'require' then return call(later(self.modules)) end
  if kind == 'part' or kind == 'chunk' then
    local part = later(self.parts)
    return call(part and part .. '.lua')
  end
  if kind == 'together' then
    local first, second = later(self.modules), later(self.modules)
    return first and ('o.together { %q, %q }'):format(first, second)
  end
  if kind == 'optional' then return call(later(self.optionals)) end
  if kind == 'lines' or kind == 'hold' then return call(random:one_of(self.data)) end
  if kind == 'open' then return call(random:one_of(random:chance(50) and self.data or self.notes)) end
  if kind == 'ask' then
    local field = random:one_of { 'mode', 'size', 'permissions', 'modification' }
    return call(random:one_of(random:chance(50) and self.data or self.asked), ("'%s'"):format(field))
  end
  if kind == 'list' then return call(random:one_of { '.', 'first', 'last', 'current' }) end
  if kind == 'conf' then return call(random:one_of(self.confs)) end
  if kind == 'more' then return 'o.more()' end
  if kind == 'spin' then return ('o.spin(%d)'):format(random:number(1, 15)) end
  if kind == 'heap' then
    local size = random:chance(80) and random:number(0, 300) or random:number(0, self.largest_heap)
    return call(name, tostring(size))
  end
  if kind == 'checkpoint' then
    return random:chance(70) and call(name) or 'o.checkpoint()'
  end
  if kind == 'own' then
    return call(name, random:one_of { "'straight'", "'detour'", "'twice'", "'gone'" })
  end
  if kind == 'again' then
    return self.repeats and call(random:one_of { 'rewrite', 'append', 'update', 'replace', 'remove' })
  end
  return call(name) -- say, log, command
end

function Program:body(number, name)
  local lines = {}
  for _ = 1, self.random:number(1, 6) do
    lines[#lines + 1] = self:statement(number, name) or nil
  end
  return table.concat(lines, '\n')
end

----------------------------------------------------------------------------------------------
-- Files

--- Options as the program passes them to enable{}.
local function option_text(options)
  local fields = {}
  for name, value in pairs(options) do
    fields[#fields + 1] = ('%s = %s'):format(name, type(value) == 'string' and ('%q'):format(value) or tostring(value))
  end
  table.sort(fields)
  return table.concat(fields, ', ')
end

--- The text of a file as it is described now. Versions are as long as each other, so that many
-- edits change no size.
local texts = {}

function texts.lua(file)
  local chatter = file.chatty and ('o.say %q\n'):format(file.name .. ' ' .. file.version) or ''
  return ('local name, version = %q, %q\no.begin(name, version)\n%s%s\nreturn name .. version%s\n')
    :format(file.name, file.version, chatter, file.body, file.broken and ' return' or '')
end

function texts.data(file)
  return (('%s %s\n'):format(file.name, file.version)):rep(file.length)
end

--- A script that enables forkmon itself first says that it has been read. (Under the command, output
-- would have an effect on where checkpoints are.)
function texts.main(file, program)
  local begin, enable = '', ''
  if program.entry == 'enable' then
    begin = "io.write 'begun\\n' io.stdout:flush()\n"
    enable = ("require('forkmon').enable { %s }\n"):format(option_text(program.options))
  end
  return ([[
%so = dofile 'runtime.lua' -- for all files
o.say 'main %s'
%so.run(function()
o.begin('main', '%s')
%s
o.lines 'sentinel.txt'
end, %s)
]]):format(begin, file.version, enable, file.version, file.body, program.stays)
end

function Program:text(file)
  return texts[file.kind](file, self)
end

function Program:new_version()
  self.versions = self.versions + 1
  return ('v%04d'):format(self.versions)
end

--- Describes a file. `folder` ends in '/' or is empty.
function Program:add(list, kind, name, folder, extension, number)
  local file = {
    kind = kind, name = name, path = folder .. name .. (extension or '.lua'), number = number,
    version = self:new_version(), chatty = self.random:chance(60), length = self.random:number(0, 20),
    body = '', exists = true,
  }
  list[#list + 1] = file
  self.files[#self.files + 1] = file
  return file
end

local function names_of(files)
  local names = {}
  for i, file in ipairs(files) do names[i] = file.path end
  return names
end

--- A random program, not written yet. Its field `await_script` is to be set before it is edited:
-- a function that returns once the main script may be.
-- @param options added to its random ones
function Program.new(seed, options)
  local random = new_random(seed)
  local self = setmetatable({
    random = random, versions = 0, files = {}, edited = {}, edits = 0,
    modules = {}, parts = {}, optionals = {}, shadows = {},
    largest_heap = random:one_of { 0, 1000, 5000, 20000 },
    stays = random:chance(50),
    entry = random:one_of { 'enable', 'command' },
    aged = random:chance(50),
    repeats = random:chance(40), -- it changes files of its own more than once
  }, Program)
  self.options = {
    filter = '%.lua$;%.txt$;%.own$;%.out$',
    exact = random:chance(25) or nil,
    overhead = random:one_of { false, 0.01, 0.5, 1 } or nil,
    max_memory = random:one_of { false, false, 0, 20 } or nil,
    max_checkpoints = random:one_of { 2, 3, 5, 8, 64, UNLIMITED, UNLIMITED, UNLIMITED },
    content = random:chance(25) or nil,
    restart_delay = random:one_of { 0, 5, 5, 20 },
    ignore_delay = random:chance(20) and 30 or nil,
    poll = random:chance(15) and 20 or nil,
  }
  for name, value in pairs(options or {}) do self.options[name] = value end
  self:describe()
  return self
end

--- Makes up all files, first what can be referred to and then what refers to it.
function Program:describe()
  local random = self.random
  local data, notes, confs = {}, {}, {}
  for i = 1, 3 do self:add(data, 'data', 'd' .. i, '', '.txt') end
  for i = 1, 2 do self:add(notes, 'data', 'n' .. i, '', '.txt').exists = random:chance(50) end
  for i = 1, 2 do self:add(confs, 'data', 'c' .. i, '', '.conf') end
  self.sentinel = self:add({}, 'data', 'sentinel', '', '.txt')
  self.data, self.notes, self.confs = names_of(data), names_of(notes), names_of(confs)
  self.missable = { table.unpack(notes) }
  for number = 1, random:number(3, 12) do
    self:add(self.modules, 'lua', 'm' .. number, random:one_of { '', '', 'last/', 'current/' }, nil, number)
  end
  -- Parts may run many times over, so they run no other part.
  for i = 1, 2 do self:add(self.parts, 'lua', 'p' .. i, '', nil, 20 + i) end
  for i = 1, 2 do
    local file = self:add(self.optionals, 'lua', 'o' .. i, random:one_of { '', 'last/' }, nil, 30 + i)
    file.exists = random:chance(50)
    self.missable[#self.missable + 1] = file
  end
  self.main = self:add({}, 'main', 'main', '', nil, 0)
  self.asked = { table.unpack(self.notes) }
  for _, file in ipairs(self.optionals) do self.asked[#self.asked + 1] = file.path end
  for _, folder in ipairs { 'first', 'last', 'none' } do self.asked[#self.asked + 1] = folder end
  for _, file in ipairs(self.files) do
    if file.number then file.body = self:body(file.number, file.name) end
  end
  -- Some modules are reached in any case, or a program may consist of its main script alone.
  self.main.body = ('o.require %q\n%s\no.optional %q'):format(self.modules[1].name,
    self.main.body, self.optionals[1].name)
end

--- Writes all files into a project.
function Program:write(project)
  self.project = project
  for _, folder in ipairs { 'first', 'last', 'releases/a', 'releases/b' } do project:mkdir(folder) end
  project:link('releases/a', 'current')
  for _, file in ipairs(self.files) do
    if file.exists then project:write(file.path, self:text(file)) end
    if file.path:match '^current/' then
      -- The other release has a version of its own.
      file.version = self:new_version()
      project:write(file.path:gsub('^current', 'releases/b'), self:text(file))
    end
  end
  project:write('runtime.lua', assert(io.open 'spec/programs/oracle/runtime.lua'):read '*a')
  -- Files of old age are not hot: many of them share a checkpoint.
  if self.aged then os.execute(("find '%s' -exec touch -h -d '2 hours ago' {} +"):format(project.root)) end
end

----------------------------------------------------------------------------------------------
-- Edits

local function sleep(milliseconds) posix.poll({}, milliseconds) end

--- Ways to save a file that is there.
local styles = {
  write = 6, write_in_two_steps = 3, replace = 6, write_after_backup = 3, recreate = 2, link = 1,
}

function Program:save(file)
  if file == self.main then self.await_script() end
  local style = file.exists and self.random:weighted(styles) or 'write'
  local path, text = file.path, self:text(file)
  file.exists = true
  if style == 'recreate' then
    self.project:remove(path)
    local pause = self.random:number(0, 150)
    sleep(pause)
    self.project:write(path, text)
    return ('recreate after %d ms'):format(pause)
  elseif style == 'link' then
    -- As package managers do: the file is a link, which is turned.
    local target = ('%s.%s'):format(file.name, file.version)
    self.project:write((path:match '^.*/' or '') .. target, text)
    self.project:link(target, path)
  else
    self.project[style](self.project, path, text)
  end
  return style
end

local edits = {}

--- Most edits: a new version of one file.
local function bump(program, file)
  file.version = program:new_version()
  if program.random:chance(20) then file.length = program.random:number(0, 20) end
  return program:save(file), file.path
end

function edits.version(program)
  local file = program.random:one_of(program.files)
  if not file.exists then return end
  return bump(program, file)
end

function edits.body(program)
  local file = program.random:one_of(program.modules)
  if not file.exists then return end
  file.body = program:body(file.number, file.name)
  return bump(program, file)
end

function edits.main(program)
  return bump(program, program.main)
end

function edits.breaks(program)
  local file = program.random:one_of(program.modules)
  if not file.exists then return end
  file.broken = true
  program.wrong = program.wrong or file
  return bump(program, file)
end

function edits.touch(program)
  local file = program.random:one_of(program.files)
  if not file.exists then return end
  program.project:touch(file.path)
  return 'touch', file.path
end

--- Who may read or run it is changed.
function edits.mode(program)
  local file = program.random:one_of(program.files)
  if not file.exists then return end
  posix.chmod(program.project:path(file.path), program.random:one_of { 'rw-r--r--', 'rwxr-xr-x', 'rw-------' })
  return 'mode', file.path
end

--- What may be missing comes or goes.
function edits.optional(program)
  local file = program.random:one_of(program.missable)
  if not file.exists then return bump(program, file) end
  file.exists = false
  program.project:remove(file.path)
  return 'remove', file.path
end

--- A needed file goes.
function edits.loss(program)
  local file = program.random:one_of(program.modules)
  if not file.exists or program.wrong then return end
  file.exists = false
  program.wrong = file
  program.project:remove(file.path)
  return 'remove', file.path
end

--- An earlier candidate comes or goes.
function edits.shadow(program)
  if program.wrong then return end -- a shadow would be as broken as its module, and stay so
  local file = program.random:one_of(program.modules)
  local path = 'first/' .. file.name .. '.lua'
  if program.shadows[path] then
    program.shadows[path] = nil
    program.project:remove(path)
    return 'remove', path
  end
  program.shadows[path] = true
  local shadow = setmetatable({ version = program:new_version(), path = path, exists = false }, { __index = file })
  return program:save(shadow), path
end

--- A link in the middle of the path is turned.
function edits.release(program)
  if program.wrong then return end -- the other release would not be mended
  program.release = program.release == 'b' and 'a' or 'b'
  program.project:link('releases/' .. program.release, 'current')
  local paths = {}
  for _, file in ipairs(program.modules) do
    if file.path:match '^current/' then paths[#paths + 1] = file.path end
  end
  return 'release', table.unpack(paths)
end

--- A folder is replaced by a copy of itself in which one file differs.
function edits.folder(program)
  local project, paths = program.project, {}
  for _, file in ipairs(program.files) do
    if file.path:match '^last/' then paths[#paths + 1] = file.path end
  end
  os.execute(("cp -a '%s' '%s'"):format(project:path 'last', project:path 'last.new'))
  for _, file in ipairs(program.files) do
    if file.exists and file.path:match '^last/' and program.random:chance(50) then
      file.version = program:new_version()
      project:write(file.path:gsub('^last', 'last.new'), program:text(file))
    end
  end
  project:rename('last', 'last.old')
  project:rename('last.new', 'last')
  os.execute(("rm -rf '%s'"):format(project:path 'last.old'))
  return 'folder', table.unpack(paths)
end

local weights = {
  version = 20, body = 6, main = 2, breaks = 3, touch = 3, optional = 5, loss = 2, shadow = 4,
  release = 2, folder = 2, mode = 3,
}

--- Remembers what was edited; returns what was done, in words.
function Program:record(style, ...)
  self.edits = self.edits + 1
  local paths = { ... }
  for _, path in ipairs(paths) do self.edited[path] = true end
  return style .. ' ' .. table.concat(paths, ' ')
end

--- One random edit.
function Program:edit()
  if self.wrong and self.random:chance(60) then return self:repair() end
  while true do
    local kind = self.random:weighted(weights)
    local done = table.pack(edits[kind](self))
    if done[1] then return self:record(kind .. ': ' .. done[1], table.unpack(done, 2, done.n)) end
  end
end

--- Mends what was broken or lost; nil when nothing is.
function Program:repair()
  self.wrong = nil
  for _, file in ipairs(self.modules) do
    if file.broken or not file.exists then
      file.broken = false
      local done = self:record('repair: ' .. bump(self, file), file.path)
      for _, other in ipairs(self.modules) do
        if other.broken or not other.exists then self.wrong = other end
      end
      return done
    end
  end
end

--- An edit that shows in every run that comes to its end.
function Program:edit_sentinel()
  return self:record('sentinel: ' .. bump(self, self.sentinel), self.sentinel.path)
end

--- Whether all checkpoints are kept.
function Program:keeps_checkpoints()
  return self.options.max_checkpoints == UNLIMITED and not self.repeats
end

function Program:describe_options()
  return self.entry .. ' { ' .. option_text(self.options) .. ' }'
end

return Program
