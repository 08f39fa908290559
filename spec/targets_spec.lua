--- Where forkmon does not work, it does not build, and one sentence says so.
--
-- The crate's own conditions are compiled for each target, in a crate without the standard library, as that is not
-- installed for them.

local posix = require 'posix'
local support = require 'spec.support'

local function read(path)
  local file = assert(io.open(path))
  local text = file:read '*a'
  file:close()
  return text
end

local SYSTEM = 'forkmon works on Linux only, on 64-bit x86 and ARM'
local MUSL = 'forkmon works with the GNU C library only, not with musl or another'

local PRELUDE = [[
#![feature(no_core, rustc_attrs, decl_macro)]
#![allow(internal_features)]
#![no_core]
#[rustc_builtin_macro]
macro_rules! compile_error { ($message:expr) => {}; }
]]

support.describe('a build', function()
  local function built_for(target, sentence)
    it((sentence and 'is refused for ' or 'goes on for ') .. target, function()
      local conditions = {}
      for condition in read('src/lib.rs'):gmatch '\n(#%[cfg%b()%]\ncompile_error![^\n]*)' do
        conditions[#conditions + 1] = condition
      end
      assert.equal(2, #conditions)
      local project = support.project { ['lib.rs'] = PRELUDE .. table.concat(conditions, '\n') }
      local rustc = support.start { 'rustc', '--target', target, '--edition', '2024', '--crate-type', 'lib',
        '--emit', 'metadata', 'lib.rs', cwd = project.root, env = { RUSTC_BOOTSTRAP = '1' } }
      rustc:wait()
      local sentences = {}
      local text = '\n' .. rustc.stdout.text
      for found in text:gmatch '\nerror: (forkmon works[^\n]*)' do sentences[#sentences + 1] = found end
      assert.same({ sentence }, sentences, text)
      assert.same({ 'exited', sentence and 1 or 0 }, { rustc:wait() }, text)
    end)
  end

  for _, target in ipairs { 'x86_64-unknown-linux-gnu', 'aarch64-unknown-linux-gnu' } do built_for(target) end
  for _, target in ipairs {
    'i686-unknown-linux-gnu', 'x86_64-unknown-linux-gnux32', 'armv7-unknown-linux-gnueabihf',
    'riscv64gc-unknown-linux-gnu', 'powerpc64le-unknown-linux-gnu', 'aarch64_be-unknown-linux-gnu',
    'aarch64-apple-darwin', 'x86_64-unknown-freebsd', 'x86_64-pc-windows-gnu', 'aarch64-linux-android',
  } do built_for(target, SYSTEM) end
  for _, target in ipairs {
    'x86_64-unknown-linux-musl', 'aarch64-unknown-linux-musl', 'x86_64-unknown-linux-ohos',
  } do built_for(target, MUSL) end

  it('is refused before anything is compiled where Rust is for musl', function()
    local project = support.project { rustc = '#!/bin/sh\necho "host: x86_64-unknown-linux-musl"\n' }
    assert(posix.chmod(project:path 'rustc', 'rwxr-xr-x'))
    local build = support.start { 'sh', 'rockspec/build.sh', 'check', env = {
      PATH = project.root .. ':' .. os.getenv 'PATH', CARGO_BUILD_TARGET = false } }
    assert.same({ 'exited', 1 }, { build:wait() })
    assert.equal('forkmon: it works with the GNU C library only, and x86_64-unknown-linux-musl is another\n',
      build.stdout.text)
  end)

  it('is checked for the other processor where that can be done, and otherwise skipped aloud', function()
    --- With a Rust whose standard libraries are for these targets, and perhaps a rustup that adds one.
    local function cross(targets, rustup)
      local project = support.project()
      local function command(name, script)
        project:write('bin/' .. name, '#!/bin/sh\n' .. script)
        assert(posix.chmod(project:path('bin/' .. name), 'rwxr-xr-x'))
      end
      project:mkdir 'bin'
      local function library(target) return ('lib/rustlib/%s/lib/libstd-1.rlib'):format(target) end
      for _, target in ipairs(targets) do project:write(library(target), '') end
      command('uname', 'echo x86_64')
      command('rustc', 'echo ' .. project.root)
      command('cargo', 'echo cargo "$@" >>' .. project:path 'log')
      command('rustup', rustup and ('mkdir -p %s && : >%s'):format(
        project:path 'lib/rustlib/aarch64-unknown-linux-gnu/lib', project:path(library 'aarch64-unknown-linux-gnu'))
        or 'exit 1')
      local path = project:path 'bin' .. ':' .. os.getenv 'PATH'
      local check = support.start { 'sh', 'spec/cross.sh', env = { PATH = path } }
      assert.same({ 'exited', 0 }, { check:wait() })
      check.stdout:drain()
      local ran = posix.access(project:path 'log') and project:read 'log' or ''
      return check.stdout.text, select(2, ran:gsub('%-%-target aarch64%-unknown%-linux%-gnu', ''))
    end
    local skipped = 'SKIPPED: clippy for aarch64-unknown-linux-gnu, as Rust has no standard library for it here '
      .. '(rustup target add aarch64-unknown-linux-gnu)\n'
    assert.same({ skipped, 0 }, { cross { 'x86_64-unknown-linux-gnu' } })
    assert.equal(2, select(2, cross({}, true)))
    assert.equal(2, select(2, cross { 'aarch64-unknown-linux-gnu' }))
  end)
end)
