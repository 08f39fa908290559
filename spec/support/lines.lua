--- The lines that forkmon prints, to the letter.

local lines = {}

function lines.watch(path)
  return ("[forkmon] watch '%s'\n"):format(path)
end

--- `from` is the checkpoint's name, where that is not the changed file itself. A path is shown as it is below the
--- project, where sessions of the specs begin. `what` happened to the file: it changed, if nothing is said. `why` it
--- has no checkpoint of its own: it shares that one, if nothing is said.
function lines.resuming(path, from, what, why)
  local shown = from and ("'%s'"):format((from:gsub('^/.*/forkmon%-spec%-[^/]+/', ''))) or 'it'
  if from and why then
    shown = ('%s (none since: %s)'):format(shown, why)
  elseif from and from:find '^/' then
    shown = shown .. ' (shares its checkpoint)'
  end
  return ("[forkmon] file '%s' %s, resuming from %s..\n"):format(path, what or 'changed', shown)
end

--- From the line that is the first to have changed, or the last before it where there is a checkpoint.
function lines.resuming_at(path, line)
  return ("[forkmon] file '%s' changed, resuming from line %d..\n"):format(path, line)
end

function lines.restarting(path, what)
  return ("[forkmon] file '%s' %s, restarting..\n"):format(path, what or 'changed')
end

lines.never_enabled = '[forkmon] ended without enabling forkmon, waiting for changes..\n'

function lines.exited(status)
  return ('[forkmon] exited with status %d, waiting for changes..\n'):format(status)
end

lines.stopped = '[forkmon] stopped by `forkmon stop`\n'

return lines
