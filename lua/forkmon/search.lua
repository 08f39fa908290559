--- Where a module may be.
--
-- require looks for a module at each template of package.path or package.cpath in turn and takes the first file that
-- it can open. The candidates before that one matter as much as the file itself: should one of them appear, the next
-- run takes it instead.

local gmatch, gsub, match, sub = string.gmatch, string.gsub, string.match, string.sub
local ipairs, open, select = ipairs, io.open, select

local slash, separator, mark = match(package.config, '^(.-)\n(.-)\n(.-)\n')

local search = {
  --- The folder in which forkmon's own Lua files are, with a slash at its end, as the path that led there has it; nil
  --- where these files do not say where they come from.
  ---@type string|nil
  home = match(debug.getinfo(1, 'S').source, '^@(.*)forkmon/search%.lua$'),
}

-- Text as a pattern that matches it, and as a replacement that stands for it.
local function pattern(text) return (gsub(text, '%p', '%%%0')) end
local function replacement(text) return (gsub(text, '%%', '%%%%')) end

local hole = pattern(mark)
local usual_dot, usual_slash = pattern('.'), replacement(slash)

-- A program looks for all its modules along the same few paths.
local split = {}

local function list(templates)
  local known = split[templates]
  if not known then
    known = {}
    for template in gmatch(templates, '[^' .. separator .. ']+') do known[#known + 1] = template end
    split[templates] = known
  end
  return known
end

--- The name of a module as it stands in paths.
---@param name string
---@param dot string|nil what `slashes` stand for in the name; '.' when nil
---@param slashes string|nil
---@return string
function search.spelled(name, dot, slashes)
  if dot == '' then return name end
  return (gsub(name, dot and pattern(dot) or usual_dot, slashes and replacement(slashes) or usual_slash))
end

--- The files that a search for a module tries, in order.
---@param name string
---@param templates string such as package.path
---@param dot string|nil
---@param slashes string|nil
---@return string[] paths as the templates have them, relative or absolute
function search.candidates(name, templates, dot, slashes)
  local filler, paths = replacement(search.spelled(name, dot, slashes)), {}
  for index, template in ipairs(list(templates)) do
    paths[index] = gsub(template, hole, filler)
  end
  return paths
end

--- Whether a path names a file that can be read; a directory can be opened but not read.
---@param path string
---@return boolean
---@return string|nil reason in the words of the system
function search.readable(path)
  local file, failure = open(path, 'rb')
  if not file then return false, sub(failure, #path + #': ' + 1) end
  failure = select(2, file:read(1))
  file:close()
  return not failure, failure
end

--- The files that a search for a module tries, up to the one that it finds.
---@param name string
---@param templates string
---@return string[] paths
---@return string|nil found the last of them, if that is where the module is
function search.tried(name, templates)
  local paths = {}
  for index, path in ipairs(search.candidates(name, templates)) do
    paths[index] = path
    if search.readable(path) then return paths, path end
  end
  return paths
end

return search
