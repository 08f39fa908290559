--- The subcommands, defined once: the help, the manual and the completions all tell what stands here.

local ipairs = ipairs

local subcommands = {}

local pid = 'PID is that of the process which the shell started. Without it, the session is meant that runs in this '
  .. 'folder; if there are none or several, nothing is done and they are listed.'

---@class forkmon.Subcommand
---@field name string
---@field arguments string as the usage shows them
---@field least integer fewest and
---@field most integer most arguments besides flags
---@field summary string
---@field text string[] paragraphs
---@field flags forkmon.Flag[]
---@field words? string[] what the argument can be

---@type forkmon.Subcommand[]
subcommands.list = {
  { name = 'status', arguments = '[PID]', least = 0, most = 1,
    summary = 'show what runs, and its checkpoints',
    text = {
      'Shows each session of yours, or the one named, with a line for each checkpoint: its number; a bar that is as '
        .. 'long as the part of the run before it, and strong where that comes after the checkpoint before; the time '
        .. 'that a resume from it saves; its memory, with what it shares counted in parts; how often it was resumed; '
        .. 'and the files whose change resumes from it.',
      'The time in the second line is that of the present run, as if it had never been resumed: a run that goes on '
        .. 'from a checkpoint has the time before that, too, and time asleep does not count. So it is less after a '
        .. 'resume than before. Resumes are those of the whole session there, and of checkpoints that there are now '
        .. 'below: whatever comes after the one that is resumed is gone, and taken anew.',
      'A change of the files in the line "-" restarts the program, as they were read before forkmon was enabled.',
    },
    flags = {
      { flag = '--files',
        doc = 'name every file below the table, what was asked about, and places where one was looked for' },
      { flag = '--json', doc = 'print all there is as one JSON document: a list of sessions' },
      { flag = '--svg', value = 'FILE', doc = 'draw the timeline of one session into this file' },
    } },
  { name = 'resume', arguments = '[PID] CHECKPOINT|FILE|LABEL', least = 1, most = 2,
    summary = 'go on from a checkpoint now, as if a file had changed',
    text = {
      'Names the checkpoint by its number, by the label that forkmon.checkpoint gave it, or by a file: then it is '
        .. 'the one that a change of this file would resume from. The end of its path will do if no other watched file '
        .. 'has that.',
      pid,
    },
    flags = {} },
  { name = 'restart', arguments = '[PID]', least = 0, most = 1,
    summary = 'run the program anew, from its very start',
    text = { 'Returns when the new run has begun.', pid },
    flags = {} },
  { name = 'stop', arguments = '[PID]', least = 0, most = 1,
    summary = 'end the program, its checkpoints and forkmon itself',
    text = { 'Returns when that has happened. The exit status of the session is 143.', pid },
    flags = {} },
  { name = 'help', arguments = '[SUBCOMMAND|integrations]', least = 0, most = 1,
    summary = 'print how something is used',
    text = {
      'With "integrations", lists the programs for which forkmon does something of its own, and what.',
      'The manual page can be had too: forkmon help --man | man -l -',
    },
    flags = { { flag = '--man', doc = 'print the manual page, for man' } } },
  { name = 'completion', arguments = 'bash|zsh|fish', least = 1, most = 1,
    summary = 'print what makes a shell complete the command line',
    text = {
      'bash: put eval "$(forkmon completion bash)" into ~/.bashrc.',
      'zsh: put eval "$(forkmon completion zsh)" into ~/.zshrc, after compinit.',
      'fish: forkmon completion fish > ~/.config/fish/completions/forkmon.fish',
    },
    flags = {}, words = { 'bash', 'zsh', 'fish' } },
}

---@type table<string, forkmon.Subcommand>
subcommands.by_name = {}
for _, subcommand in ipairs(subcommands.list) do subcommands.by_name[subcommand.name] = subcommand end

--- How a subcommand is called.
---@param subcommand forkmon.Subcommand
---@return string
function subcommands.usage(subcommand)
  local usage = 'forkmon ' .. subcommand.name
  for _, flag in ipairs(subcommand.flags) do
    usage = usage .. ' [' .. flag.flag .. (flag.value and ' ' .. flag.value or '') .. ']'
  end
  return usage .. ' ' .. subcommand.arguments
end

return subcommands
