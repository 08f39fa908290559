--- Saves by the programs that people save with.
--
-- What they do to a file is up to them (see saves_spec.lua for the single ways), so each is driven
-- without a terminal and the viewer must come to show what it saved, once; then again. How they
-- save does not depend on the Lua that is watched, so one Lua will do.

local posix = require 'posix'
local support = require 'spec.support'
local Viewer = require 'spec.support.viewer'

local function is_installed(command)
  return os.execute(("command -v '%s' >/dev/null"):format(command))
end

--- Runs a command in the project's folder, to its end.
local function run(project, words)
  words.cwd = project.root
  words.env = { HOME = project:path 'home', GIT_CONFIG_GLOBAL = '/dev/null', GIT_CONFIG_SYSTEM = '/dev/null' }
  local program = support.start(words)
  local how, status = program:wait()
  assert(how == 'exited' and status == 0, words[1] .. ' failed:\n' .. program.stdout.text)
end

local function vim(...)
  local settings = { ... }
  return {
    command = 'vim',
    save = function(project, name, text)
      local words = { 'vim', '-N', '-u', 'NONE', '-i', 'NONE', '-es' }
      for _, setting in ipairs(settings) do table.move({ '-c', 'set ' .. setting }, 1, 2, #words + 1, words) end
      table.move({ '-c', '1s/.*/' .. text .. '/', '-c', 'wq', name }, 1, 5, #words + 1, words)
      run(project, words)
    end,
  }
end

local function emacs(...)
  local settings = table.concat({ ... }, ' ')
  return {
    command = 'emacs',
    save = function(project, name, text)
      run(project, { 'emacs', '--batch', '-Q', '--eval',
        ('(progn %s (find-file "%s") (erase-buffer) (insert "%s\n") (save-buffer))'):format(settings, name, text) })
    end,
  }
end

local function rsync(...)
  local flags = { ... }
  return {
    command = 'rsync',
    save = function(project, name, text)
      project:write('source/' .. name, text .. '\n')
      local words = { 'rsync', '--archive', '--checksum' }
      table.move(flags, 1, #flags, #words + 1, words)
      words[#words + 1], words[#words + 2] = 'source/' .. name, name
      run(project, words)
    end,
  }
end

local editors = {
  ['vim'] = vim(),
  ['vim with backup'] = vim 'backup',
  ['vim with backup and backupcopy=yes'] = vim('backup', 'backupcopy=yes'),
  ['vim with backup and backupcopy=no'] = vim('backup', 'backupcopy=no'),
  ['vim with writebackup and backupcopy=no'] = vim('writebackup', 'backupcopy=no'),
  ['vim with writebackup and backupcopy=yes'] = vim('writebackup', 'backupcopy=yes'),
  ['vim with nowritebackup'] = vim('nobackup', 'nowritebackup'),
  ['emacs'] = emacs(),
  ['emacs with backup by copying'] = emacs '(setq backup-by-copying t)',
  ['emacs with precious files'] = emacs '(setq file-precious-flag t)',
  ['sed -i'] = {
    command = 'sed',
    save = function(project, name, text) run(project, { 'sed', '-i', 's/.*/' .. text .. '/', name }) end,
  },
  ['sed -i with backup'] = {
    command = 'sed',
    save = function(project, name, text) run(project, { 'sed', '-i.orig', 's/.*/' .. text .. '/', name }) end,
  },
  ['cp'] = {
    command = 'cp',
    save = function(project, name, text)
      project:write('source', text)
      run(project, { 'cp', 'source', name })
    end,
  },
  ['install'] = {
    command = 'install',
    save = function(project, name, text)
      project:write('source', text)
      run(project, { 'install', 'source', name })
    end,
  },
  ['rsync'] = rsync(),
  ['rsync --inplace'] = rsync '--inplace',
  ['rsync --delay-updates'] = rsync '--delay-updates',
}

local first_only = true
support.each_lua(function(lua)
  if not first_only then return end
  first_only = false

  local names = {}
  for name in pairs(editors) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    local editor = editors[name]
    it('shows what was saved by ' .. name, function()
      if not is_installed(editor.command) then return pending(editor.command .. ' is not installed') end
      local project = support.project { ['value.txt'] = 'first\n', ['home/x'] = '' }
      local viewer = Viewer.start(lua, project, { stay = true })
      viewer:expect_first('value.txt', 'shows first')
      for _, text in ipairs { 'second', 'third' } do
        editor.save(project, 'value.txt', text)
        viewer:expect_resume('value.txt', 'shows ' .. text)
      end
      viewer:expect_quiet 'value.txt'
      viewer:stop()
    end)
  end

  it('follows git to another branch and back', function()
    if not is_installed 'git' then return pending 'git is not installed' end
    local project = support.project { ['a.txt'] = 'a first', ['b.txt'] = 'b first', ['folder/c.txt'] = 'c first' }
    local function git(...)
      run(project, { 'git', '-c', 'user.name=x', '-c', 'user.email=x@localhost', ... })
    end
    git('init', '--quiet', '--initial-branch=first')
    git('add', '.')
    git('commit', '--quiet', '-m', 'first')
    git('checkout', '--quiet', '-b', 'second')
    project:write('b.txt', 'b second')
    git('rm', '--quiet', 'folder/c.txt') -- git removes the empty folder, too
    project:write('d.txt', 'd second')
    git('add', '.')
    git('commit', '--quiet', '-m', 'second')
    git('checkout', '--quiet', 'first')

    local viewer = Viewer.start(lua, project, { files = { 'a.txt', 'b.txt', 'folder/c.txt', 'd.txt' } })
    viewer:expect 'd.txt: No such file or directory'
    for _ = 1, 2 do
      git('checkout', '--quiet', 'second')
      viewer:expect 'shows b second'
      viewer:expect 'folder/c.txt: No such file or directory'
      viewer:expect 'shows d second'
      git('checkout', '--quiet', 'first')
      viewer:expect 'shows b first'
      viewer:expect 'shows c first'
      viewer:expect 'd.txt: No such file or directory'
    end
    local _, runs = viewer.program.stdout.text:gsub('shows a first', '')
    assert.equal(1, runs) -- it was never touched
    project:write('a.txt', 'the end')
    viewer:expect 'shows the end'
    viewer:expect 'd.txt: No such file or directory'
    assert.equal('', viewer.program:unread())
    viewer:stop()
  end)

  it('ends where several files were saved by one command', function()
    local project = support.project { ['a.txt'] = 'a1', ['b.txt'] = 'b1', ['c.txt'] = 'c1' }
    local viewer = Viewer.start(lua, project, { files = { 'a.txt', 'b.txt', 'c.txt' } })
    viewer:expect 'shows c1'
    run(project, { 'sed', '-i', 's/1/2/', 'c.txt', 'b.txt', 'a.txt' })
    viewer:expect 'shows a2'
    viewer:expect 'shows b2'
    viewer:expect 'shows c2'
    assert.same({ 'killed', posix.SIGTERM }, { viewer.program:stop() })
  end)
end)
