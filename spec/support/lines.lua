--- The lines that forkmon prints, to the letter.

local lines = {}

function lines.watch(path)
  return ("[forkmon] watch '%s'\n"):format(path)
end

--- `from` is the checkpoint's name, where that is not the changed file itself.
function lines.resuming(path, from)
  return ("[forkmon] file '%s' changed, resuming from %s..\n"):format(path, from and "'" .. from .. "'" or 'it')
end

function lines.restarting(path)
  return ("[forkmon] file '%s' changed, restarting..\n"):format(path)
end

lines.never_enabled = '[forkmon] ended without enabling forkmon, waiting for changes..\n'

function lines.exited(status)
  return ('[forkmon] exited with status %d, waiting for changes..\n'):format(status)
end

lines.stopped = '[forkmon] stopped by `forkmon stop`\n'

return lines
