--- What is said about forkmon is what it does: help, manual page, completions, documentation and annotations all name
--- the same options, subcommands, events and functions.

local client = require 'forkmon.cli.client'
local command = require 'forkmon.cli.command'
local completion = require 'forkmon.cli.completion'
local forkmon = require 'forkmon'
local help = require 'forkmon.cli.help'
local reader = require 'forkmon.cli.flags'
local native = require 'forkmon.native'
local options = require 'forkmon.options'
local search = require 'forkmon.search'
local subcommands = require 'forkmon.cli.subcommands'

local function read(path)
  local file = io.open(path, 'rb')
  if not file then return nil end
  local text = file:read '*a'
  file:close()
  return text
end

--- Runs a command line; its output.
local function run(line)
  local pipe = assert(io.popen(line))
  local output = pipe:read '*a'
  pipe:close()
  return output
end

local function is_there(name)
  return run('command -v ' .. name) ~= ''
end

--- Runs a script in a shell, with `text` in a file whose name is its first argument.
local function run_with(shell, text, script)
  local name = os.tmpname()
  local file = assert(io.open(name, 'wb'))
  file:write(text)
  file:close()
  local output = run(("%s -c '%s' x %s 2>&1"):format(shell, script:gsub("'", "'\\''"), name))
  os.remove(name)
  return output
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local flags = {}
for _, flag in ipairs(reader.of_command) do flags[flag.flag] = true end

describe('the help', function()
  it('fits a terminal, and names every option and subcommand', function()
    local text = help.general()
    for line in text:gmatch '[^\n]+' do assert.is_true(#line <= 80, line) end
    for flag in pairs(flags) do assert.truthy(text:find('%s' .. flag:gsub('%-', '%%-') .. '%s'), flag) end
    for _, subcommand in ipairs(subcommands.list) do
      assert.truthy(text:find('\n  ' .. subcommand.name .. ' ', 1, true), subcommand.name)
    end
  end)

  it('of each subcommand fits too, and names its flags', function()
    for _, subcommand in ipairs(subcommands.list) do
      local text = help.of(subcommand)
      assert.truthy(text:find('^Usage: forkmon ' .. subcommand.name .. ' '))
      for line in text:gmatch '[^\n]+' do assert.is_true(#line <= 80, line) end
      for _, flag in ipairs(subcommand.flags) do assert.truthy(text:find('\n  ' .. flag.flag .. ' ', 1, true)) end
    end
  end)

  it('shows defaults', function()
    assert.truthy(help.options():find('resuming (default 5)', 1, true))
    assert.truthy(help.options():find('(default TERM)', 1, true))
  end)

  it('names nothing that is not there', function()
    for flag in help.general():gmatch '[%s`](%-%-%l[%l-]*)' do assert.is_true(flags[flag], flag) end
  end)
end)

describe('the manual page', function()
  it('is what share/man has', function()
    assert.equal(help.manual(native.VERSION), read 'share/man/man1/forkmon.1',
      'forkmon help --man > share/man/man1/forkmon.1 makes it anew')
  end)

  it('is without fault', function()
    if not is_there 'man' then return pending 'there is no man' end
    assert.equal('', run 'LC_ALL=C.UTF-8 man --warnings -l share/man/man1/forkmon.1 2>&1 >/dev/null')
    local page = run 'LC_ALL=C.UTF-8 MANWIDTH=200 man -l share/man/man1/forkmon.1 | col -bx'
    for flag in pairs(flags) do assert.truthy(page:find(flag, 1, true), flag) end
    for _, definition in ipairs(options.definitions) do assert.truthy(page:find(definition.env, 1, true)) end
    assert.truthy(page:find('forkmon resume [PID] CHECKPOINT|FILE|LABEL', 1, true))
    assert.truthy(page:find('%.lua$', 1, true), 'no character is taken for a request')
  end)
end)

describe('the completion', function()
  it('of bash gives flags, values, subcommands and their arguments', function()
    local script = [[
      source "$1"
      try() {
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _forkmon
        echo $(printf "%s\n" "${COMPREPLY[@]}" | sort)
      }
      cd /
      try forkmon --qu
      try forkmon --stop-signal U
      try forkmon --stop-signal = U
      try forkmon --filter --qu
      try forkmon --poll 5 --ex
      try forkmon program --qu
      try forkmon status --
      try forkmon help re
      try forkmon completion ""
      try forkmon restar
      try forkmon --events /et
    ]]
    assert.equal([[
--quiet
USR1 USR2
USR1 USR2

--exact

--files --help --json --svg
restart resume
--help bash fish zsh
restart
/etc
]], run_with('bash', completion.bash(), script))
    local all = run_with('bash', completion.bash(), 'source "$1"; COMP_WORDS=(forkmon --) COMP_CWORD=1; _forkmon;'
      .. ' printf "%s\n" "${COMPREPLY[@]}"')
    local given = {}
    for flag in all:gmatch '%S+' do given[flag] = true end
    assert.same(sorted(flags), sorted(given))
  end)

  it('of fish does so too', function()
    if not is_there 'fish' then return pending 'there is no fish' end
    local script = [[
      source $argv[2]
      for line in "forkmon --qu" "forkmon --stop-signal U" "forkmon help re" "forkmon status --" "forkmon restar"
        echo (complete -C $line | string replace -r "\t.*" "" | sort)
      end
    ]]
    assert.equal('--quiet\nUSR1 USR2\nrestart resume\n--files --json --svg\nrestart\n',
      run_with('HOME=/nonexistent fish --no-config', completion.fish(), script))
  end)

  it('of zsh is a whole script that knows them too', function()
    local script = completion.zsh()
    for flag in pairs(flags) do assert.truthy(script:find(flag:gsub('%-', '%%-') .. '=?%['), flag) end
    for _, subcommand in ipairs(subcommands.list) do
      assert.truthy(script:find("'" .. subcommand.name .. ':', 1, true), subcommand.name)
      for _, flag in ipairs(subcommand.flags) do
        assert.truthy(script:find(flag.flag:gsub('%-', '%%-') .. '=?%['), flag.flag)
      end
    end
    if not is_there 'zsh' then return pending 'there is no zsh' end
    assert.equal('', run_with('zsh -f', script, 'zsh -n "$1"'))
    assert.equal('_forkmon\n', run_with('zsh -f', script, 'compdef() { echo $1; }; source "$1"'))
  end)
end)

describe('the arguments of a subcommand', function()
  local function parse(...)
    return client.parse(subcommands.by_name[...], { ... })
  end

  it('are flags and words in any order', function()
    assert.same({ values = { ['--json'] = '1', ['--svg'] = 'x' }, words = { '1' } },
      parse('status', '--json', '1', '--svg', 'x'))
    assert.same({ values = { ['--svg'] = 'a=b' }, words = {} }, parse('status', '--svg=a=b'))
    assert.same({ values = {}, words = { '1', '--json' } }, parse('resume', '1', '--', '--json'))
    assert.same({ values = { ['--help'] = '1' }, words = {}, last = '--help' }, parse('resume', '-h'))
    assert.same({ values = {}, words = { '-' } }, parse('resume', '-'))
  end)
end)

describe('the documentation', function()
  --- The text of a page; a spec on one that is not written yet is pending.
  local function page(name)
    local text = read('docs/' .. name)
    if not text then pending('docs/' .. name .. ' is not there') end
    return text
  end

  it('tells of every option, its variable and its flag, and of no other', function()
    local text = page 'options.md'
    if not text then return end
    local variables = { FORKMON_DISABLE = true }
    for _, definition in ipairs(options.definitions) do
      variables[definition.env] = true
      for _, name in ipairs { definition.name, definition.env, definition.flag } do
        assert.truthy(text:find('`' .. name, 1, true), name)
      end
    end
    for flag in text:gmatch '`(%-%-%l[%l-]*)' do assert.is_true(flags[flag], flag) end
    for name in text:gmatch '`(FORKMON_[%u_]*)' do assert.is_true(variables[name], name) end
  end)

  it('tells of every subcommand and its flags', function()
    local text = page 'command.md'
    if not text then return end
    for _, subcommand in ipairs(subcommands.list) do
      assert.truthy(text:find('forkmon ' .. subcommand.name, 1, true), subcommand.name)
      for _, flag in ipairs(subcommand.flags) do assert.truthy(text:find(flag.flag, 1, true), flag.flag) end
    end
  end)

  it('tells of every event, with an example, and of no other', function()
    local text = page 'events.md'
    if not text then return end
    local source, written, shown = run 'cat src/supervisor/*.rs', {}, {}
    for name in source:gmatch 'emit%("(%l+)"' do written[name] = true end
    for name in source:gmatch 'let line = line%("(%l+)"' do written[name] = true end
    for name in text:gmatch '{"event":"(%l+)"' do shown[name] = true end
    assert.same(sorted(written), sorted(shown))
    assert.is_true(written.resume and written.lost)
  end)

  it('tells of every function of the module', function()
    local text = page 'options.md'
    if not text then return end
    text = text .. (read 'docs/api.md' or '') .. (read 'docs/quick-start.md' or '') .. (read 'README.md' or '')
    for name, value in pairs(forkmon) do
      if type(value) == 'function' then assert.truthy(text:find('[%.`]' .. name .. '%f[^%w_]'), name) end
    end
  end)
end)

describe('the annotations', function()
  local text = read(select(2, search.tried('forkmon', package.path)))

  --- The fields of an annotated class.
  local function fields(class)
    local names = {}
    local body = text:match('%-%-%-@class ' .. class:gsub('%.', '%%.') .. '\n(.-)\n\n')
    for name in body:gmatch '%-%-%-@field ([%w_]+)' do names[#names + 1] = name end
    return names
  end

  it('name the options, in their order', function()
    local defined = {}
    for index, definition in ipairs(options.definitions) do defined[index] = definition.name end
    assert.same(defined, fields 'forkmon.Options')
  end)

  it('are on every function that the module exports', function()
    local exported, annotated = {}, {}
    for name, value in pairs(forkmon) do
      if type(value) == 'function' then exported[name] = true end
    end
    for before, name in ('\n' .. text):gmatch '\n([^\n]*)\nfunction forkmon%.([%w_]+)' do
      if before:find '^%-%-%-' then annotated[name] = true end
    end
    assert.same(sorted(exported), sorted(annotated))
  end)

  it('name the fields of the status', function()
    -- As the core makes them, in the order in which it does.
    local source = run 'cat src/lua/*.rs'
    local body = source:match 'fn status_table%b()[^{]*(%b{})'
    local session, checkpoint = { memory = true }, { memory = true }
    for name in body:gmatch 'table%.set%("([%l_]+)"' do session[name] = true end
    for name in body:gmatch 'entry%.set%("([%l_]+)"' do checkpoint[name] = true end
    local annotated = { session = {}, checkpoint = {} }
    for _, name in ipairs(fields 'forkmon.Status') do annotated.session[name] = true end
    for _, name in ipairs(fields 'forkmon.Checkpoint') do annotated.checkpoint[name] = true end
    assert.same(sorted(session), sorted(annotated.session))
    assert.same(sorted(checkpoint), sorted(annotated.checkpoint))
  end)
end)

describe('the command', function()
  it('knows the actions that the help shows', function()
    for _, action in ipairs(reader.actions) do
      assert.equal(action.flag:sub(3), command.parse({ action.flag }).action)
      assert.equal(action.flag:sub(3), command.parse({ action.short }).action)
    end
  end)
end)
