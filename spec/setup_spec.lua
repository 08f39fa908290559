--- What is said and done when something is missing: spec/setup.sh and rockspec/build.sh, on machines that are made up
--- of a PATH with stand-ins for apt, dpkg, cargo and rustup.

local posix = require 'posix'
local support = require 'spec.support'

--- Tools that the scripts use as they are.
local TOOLS = { 'cat', 'dirname', 'fold', 'grep', 'ls', 'paste', 'sed', 'sh', 'tr' }

local function real(tool)
  for folder in os.getenv('PATH'):gmatch '[^:]+' do
    if posix.access(folder .. '/' .. tool, 'x') then return folder .. '/' .. tool end
  end
  error(tool .. ' is not on the PATH')
end

local NO_TOOLCHAIN = [[
error: rustup could not choose a version of cargo to run, as no default is configured.
help: run 'rustup default stable' to download the latest stable release of Rust and set it as your default toolchain.
]]

--- A machine. `installed`: packages; `packaged`: name -> version of what the distribution has; `uid`; `commands`:
--- name -> script of more commands. What is installed and set is noted in `log`.
local function machine(options)
  local project = support.project()
  project:mkdir 'spec'
  project:mkdir 'rockspec'
  for _, name in ipairs { 'spec/setup.sh', 'rockspec/build.sh' } do
    local file = assert(io.open(name))
    project:write(name, file:read '*a')
    file:close()
  end
  project:write('Cargo.toml', '[package]\nrust-version = "1.88"\n')
  project:write('log', '')
  project:mkdir 'bin'
  project:mkdir 'installed'

  local function command(name, script)
    project:write('bin/' .. name, '#!/bin/sh\ncd ' .. project.root .. '\n' .. script)
    assert(posix.chmod(project:path('bin/' .. name), 'rwxr-xr-x'))
  end
  for _, tool in ipairs(TOOLS) do project:link(real(tool), 'bin/' .. tool) end
  command('id', 'echo ' .. (options.uid or 1000))
  for _, name in ipairs(options.installed or {}) do project:write('installed/' .. name, '') end
  if options.packaged then
    local candidates = {}
    for name, version in pairs(options.packaged) do
      candidates[#candidates + 1] = ("%s) echo '  Candidate: %s' ;;\n"):format(name, version)
    end
    command('apt-cache', ('case $2 in\n%s*) echo "  Candidate: (none)" ;;\nesac\n'):format(table.concat(candidates)))
    command('dpkg-query', '[ -e installed/$4 ] && echo installed || exit 1\n')
    command('apt-get', [[
      echo "apt-get $*" >>log
      [ "$1" = install ] || exit 0
      for word; do
        case $word in -* | install) ;; *) : >installed/$word ;; esac
        [ $word != rustup ] || for name in cargo rustup; do cat later/$name >bin/$name; /bin/chmod +x bin/$name; done
      done
    ]])
  end
  --- rustup, which brings a cargo that works once there is a toolchain.
  project:mkdir 'later'
  command('../later/rustup', 'echo "rustup $*" >>log\n' .. (options.rustup_default or ': >toolchain\n'))
  command('../later/cargo', ([[
    [ -e toolchain ] && { echo 'cargo 1.95.0 (abc 2026-04-14)'; exit 0; }
    cat >&2 <<'END'
%sEND
    exit 1
  ]]):format(NO_TOOLCHAIN))
  for name, script in pairs(options.commands or {}) do command(name, script) end
  if options.rustup then
    project:rename('later/rustup', 'bin/rustup')
    project:rename('later/cargo', 'bin/cargo')
  end

  local function run(script, word)
    local program = support.start { '/bin/sh', script, word, env = {
      PATH = project:path 'bin', HOME = project:path 'home', CARGO_HOME = false } }
    local _, status = program:wait()
    program.stdout:drain()
    return status, program.stdout.text
  end
  return {
    project = project,
    setup = function(what) return run(project:path 'spec/setup.sh', what) end,
    check = function() return run(project:path 'rockspec/build.sh', 'check') end,
    log = function() return project:read 'log' end,
  }
end

local DEMO = { 'gcc', 'libc6-dev', 'luarocks', 'lua5.4', 'liblua5.4-dev' }
local TRIXIE = { gcc = '4:14.2', ['libc6-dev'] = '2.41-12', luarocks = '3.8.0', ['lua5.4'] = '5.4.7-1',
  ['liblua5.4-dev'] = '5.4.7-1', rustup = '1.27.1-3', cargo = '1.85.1+dfsg1-1' }
local BOOKWORM = { gcc = '4:12.2', ['libc6-dev'] = '2.36-9', luarocks = '3.8.0', ['lua5.4'] = '5.4.4-3',
  ['liblua5.4-dev'] = '5.4.4-3', cargo = '0.66.0+ds1-1' }

local REMEDY = "Rust 1.88 or newer is needed, and a distribution's own cargo may be older: https://rustup.rs has it"

support.describe('what make demo needs', function()
  it('is there', function()
    local here = machine { installed = DEMO, packaged = TRIXIE, commands = { cargo = "echo 'cargo 1.88.0 (abc)'" } }
    assert.same({ 0, '' }, { here.setup 'demo' })
    assert.equal('', here.log())
  end)

  it('is named in one message to a user who may not install it', function()
    local here = machine { installed = { 'gcc' }, packaged = TRIXIE }
    local status, text = here.setup 'demo'
    assert.equal([[
For `make demo` this is missing:
    packages: libc6-dev luarocks lua5.4 liblua5.4-dev
    Rust: cargo was not found. ]] .. REMEDY .. [[

As root:
    apt-get update && apt-get install --no-install-recommends libc6-dev luarocks lua5.4 liblua5.4-dev rustup
As yourself, to have Rust 1.88 or newer:
    rustup default stable
]], text)
    assert.equal(1, status)
    assert.equal('', here.log())
  end)

  it('is named where the distribution has no rustup and its cargo is too old', function()
    local here = machine { packaged = BOOKWORM, commands = { cargo = "echo 'cargo 0.66.0'" } }
    local status, text = here.setup 'demo'
    assert.equal([[
For `make demo` this is missing:
    packages: gcc libc6-dev luarocks lua5.4 liblua5.4-dev
    Rust: cargo 0.66.0 is too old. ]] .. REMEDY .. [[

As root:
    apt-get update && apt-get install --no-install-recommends gcc libc6-dev luarocks lua5.4 liblua5.4-dev
As yourself, to have Rust 1.88 or newer: https://rustup.rs
]], text)
    assert.equal(1, status)
  end)

  it('is taken from the distribution where its cargo is new enough', function()
    local packaged = { cargo = '1.97.1+dfsg1-1' }
    for name, version in pairs(BOOKWORM) do packaged[name] = packaged[name] or version end
    local status, text = machine { installed = DEMO, packaged = packaged }.setup 'demo'
    assert.truthy(text:find('apt-get install --no-install-recommends cargo\n', 1, true), text)
    assert.equal(1, status)
  end)

  it('is completed by the step that sets a toolchain, after what rustup says', function()
    local here = machine { installed = DEMO, packaged = TRIXIE, rustup = true }
    local status, text = here.setup 'demo'
    assert.equal('cargo does not run. ' .. REMEDY .. '. It says:\n' .. NO_TOOLCHAIN
      .. '$ rustup default stable\n', text)
    assert.equal(0, status)
    assert.equal('rustup default stable\n', here.log())
  end)

  it('is named when that step fails', function()
    local here = machine { installed = DEMO, packaged = TRIXIE, rustup = true,
      rustup_default = "echo 'error: could not download' >&2; exit 1" }
    local status, text = here.setup 'demo'
    assert.equal(1, status)
    assert.truthy(text:find('error: could not download\nFor `make demo` this is missing:\n    Rust: cargo does not run',
      1, true), text)
    assert.truthy(text:find('As yourself, to have Rust 1.88 or newer:\n    rustup default stable\n', 1, true), text)
  end)

  it('is installed for root, with a toolchain', function()
    local here = machine { installed = { 'gcc' }, packaged = TRIXIE, uid = 0 }
    assert.equal(0, (here.setup 'demo'))
    assert.equal([[
apt-get update -qq
apt-get install -qq -y --no-install-recommends libc6-dev luarocks lua5.4 liblua5.4-dev rustup
rustup default stable
]], here.log())
  end)

  it('leaves out what the distribution has not', function()
    local packaged = {}
    for name, version in pairs(TRIXIE) do if not name:find '5%.4' then packaged[name] = version end end
    local here = machine { packaged = packaged, uid = 0 }
    local status, text = here.setup 'demo'
    assert.equal(0, status)
    assert.truthy(text:find('this distribution has no package of it: lua5.4 liblua5.4-dev\n', 1, true), text)
    assert.falsy(here.log():find('lua5.4', 1, true))
  end)

  it('is named where there is no apt', function()
    local status, text = machine { commands = { cc = '' } }.setup 'demo'
    assert.equal(1, status)
    assert.equal([[
For `make demo` this is missing:
    commands: luarocks
    Rust: cargo was not found. ]] .. REMEDY .. [[

This is not Debian or Ubuntu, where they are in these packages:
    gcc libc6-dev luarocks lua5.4 liblua5.4-dev
As yourself, to have Rust 1.88 or newer: https://rustup.rs
]], text)
  end)

  it('may be there but for the PATH', function()
    local here = machine { installed = DEMO, packaged = TRIXIE }
    here.project:write('home/.cargo/bin/cargo', '')
    assert(posix.chmod(here.project:path 'home/.cargo/bin/cargo', 'rwxr-xr-x'))
    local status, text = here.check()
    assert.equal(1, status)
    assert.equal(('forkmon: cargo is in %s, which is not on the PATH. Please open a new shell\n'):format(
      here.project:path 'home/.cargo/bin'), text)
  end)
end)

support.describe('what make test needs', function()
  it('is more, and one message too', function()
    local cargo = "[ $1 = --version ] && echo 'cargo 1.95.0'"
    local status, text = machine { packaged = TRIXIE, commands = { cargo = cargo } }.setup 'test'
    assert.equal(1, status)
    assert.truthy(text:find('    packages: gcc libc6-dev luarocks lua5.4 liblua5.4-dev\n', 1, true), text)
    assert.truthy(text:find('    Rust: cargo has no fmt and clippy: rustup component add', 1, true), text)
  end)
end)

support.describe('luarocks make without a toolchain', function()
  it('says what rustup says', function()
    local status, text = machine { rustup = true }.check()
    assert.equal('forkmon: cargo does not run. ' .. REMEDY .. '. It says:\n' .. NO_TOOLCHAIN, text)
    assert.equal(1, status)
  end)
end)
