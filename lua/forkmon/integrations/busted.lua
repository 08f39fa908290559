--- busted: each spec file is loaded just before its specs run, and those that were edited run last.
--
-- By itself busted loads all files first, so that a change of any of them has all specs run again. Here a function
-- takes the place of each file, which loads and runs it when its turn comes. Before each turn it is decided which of
-- the files that are left comes next: those edited in this session wait, the last edited longest. So from the second
-- edit on the edited file runs alone: the results of the others are those that the resumed process has already.
--
-- The files are children of busted's root context, which goes through the list of them in order: their contents are
-- exchanged there before busted tells anybody that the next begins.

local gsub = string.gsub
local assert, ipairs, type = assert, ipairs, type

local busted = {
  modules = { 'busted.modules.files.lua', 'busted.modules.files.moonscript', 'busted.modules.files.terra' },
}

local ranks, edits = {}, 1 -- by absolute path: the higher, the later edited
local is_first_run = true

local function rank(host, file)
  local path = host.absolute(file.name)
  -- A checkpoint from before an edit does not remember it.
  return ranks[path] or host.is_edited(path) and 1 or 0
end

--- Brings the content of the file whose turn it is to `at`, and those before it one further.
local function arrange(host, files, at)
  local best = at
  for other = at + 1, #files do
    if rank(host, files[other]) < rank(host, files[best]) then best = other end
  end
  local name, run = files[best].name, files[best].run
  for other = best, at + 1, -1 do
    files[other].name, files[other].run = files[other - 1].name, files[other - 1].run
  end
  files[at].name, files[at].run = name, run
end

local function take_turns(core, host)
  core.subscribe({ 'suite', 'reset' }, function()
    is_first_run = false -- with --repeat
    return nil, true
  end)
  core.subscribe({ 'file', 'start' }, function(file)
    local root = core.context.parent(file)
    local files, at = {}, nil
    for _, child in ipairs(root and core.context.children(root) or {}) do
      if child.descriptor == 'file' then files[#files + 1] = child end
      if child == file then at = #files end
    end
    if at and is_first_run then
      repeat arrange(host, files, at) until not host.before(file.name)
      core.wrap(file.run)
    end
    return nil, true
  end, { priority = 1 })
end

local subscribed = false

function busted.adapt(module, _, host)
  local load_now = module.load
  assert(type(load_now) == 'function', 'it has no function to load a spec file')
  if not subscribed then
    host.on_resume(function(resume)
      for _, path in ipairs(resume.changed) do
        edits = edits + 1
        ranks[path] = edits
      end
    end)
  end

  function module.load(core, filename)
    if not subscribed then
      subscribed = true
      take_turns(core, host)
    end
    local get_trace, rewrite, loaded
    local function file(...)
      if not loaded then
        loaded, get_trace, rewrite = load_now(core, filename)
        if not loaded then return end -- which has been reported
        core.wrap(loaded)
      end
      return loaded(...)
    end
    local function trace(name, info)
      if not get_trace then return info end
      info = get_trace(name, info)
      -- That of the chunk, from the function in its place.
      info.traceback = gsub(info.traceback, '\n%s*%(%.*tail calls?%.*%)[^\n]*\n?$', '\n')
      return info
    end
    local function rewritten(name, message)
      return rewrite and rewrite(name, message) or message
    end
    return file, trace, rewritten
  end
end

return busted
