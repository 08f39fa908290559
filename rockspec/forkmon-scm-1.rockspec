rockspec_format = '3.0'
package = 'forkmon'
version = 'scm-1'
source = {
  -- `luarocks make` builds the folder it is called in; nothing is fetched.
  url = 'git+file://.',
}
description = {
  summary = 'Edit a file, and the running Lua program goes on from just before it read it',
  detailed = [[
    forkmon keeps frozen copies (fork checkpoints) of a running Lua program from just before
    it opened each watched file. When a file changes, it continues a copy from there, so that
    everything the program did before is not done again.]],
  license = 'MIT',
  maintainer = 'The forkmon authors',
  labels = { 'development', 'reload', 'commandline', 'linux' },
}
supported_platforms = { 'linux' }
dependencies = { 'lua >= 5.1, < 5.6' }
build = {
  type = 'command',
  build_command = 'sh rockspec/build.sh build "$(LUA)"',
  install_command = 'sh rockspec/build.sh install "$(LUA)" "$(LUADIR)" "$(LIBDIR)"',
  install = { bin = { forkmon = 'bin/forkmon' } },
  -- The manual page; `forkmon help --man` prints it too.
  copy_directories = { 'share' },
}
test = { type = 'command', command = 'make test' }
