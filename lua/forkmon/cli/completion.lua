--- Scripts that make a shell complete the command line, made from the definitions.

local flags = require 'forkmon.cli.flags'
local help = require 'forkmon.cli.help'
local options = require 'forkmon.options'
local subcommands = require 'forkmon.cli.subcommands'

local concat, sort = table.concat, table.sort
local format, gsub, match, sub = string.format, string.gsub, string.match, string.sub
local ipairs, pairs = ipairs, pairs

local completion = {}

-- What can stand after a flag: 'file', 'signal', or anything.
local values = { paths = 'file', sink = 'file', signal = 'signal' }

--- Every flag of the command itself, with what can stand after it.
local function of_command()
  local list = {}
  for index, flag in ipairs(flags.of_command) do
    list[index] = { flag = flag.flag, short = flag.short, value = flag.value, doc = help.doc(flag),
      takes = flag.value and (values[flag.kind] or 'any'), repeated = flag.repeated }
  end
  return list
end

local function signals()
  local names = {}
  for name in pairs(options.signals) do names[#names + 1] = name end
  sort(names)
  return concat(names, ' ')
end

--- The words of a subcommand's argument.
local function words(subcommand)
  if subcommand.name ~= 'help' then return subcommand.words end
  local names = {}
  for index, known in ipairs(subcommands.list) do names[index] = known.name end
  names[#names + 1] = 'integrations'
  return names
end

--- A text in single quotes.
local function quoted(doc)
  return "'" .. gsub(doc, "'", "'\\''") .. "'"
end

--- The `name`s of the items for which `wanted` is true, with `between` between them.
local function join(items, name, between, wanted)
  local found = {}
  for _, item in ipairs(items) do
    if not wanted or wanted(item) then found[#found + 1] = item[name] end
  end
  return concat(found, between)
end

local function fill(template, parts)
  return (gsub(template, '@(%l+)@', parts))
end

local bash = [=[
# Completion of forkmon for bash: eval "$(forkmon completion bash)"
_forkmon() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} index
    COMPREPLY=()
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
@subcommands@
        esac
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
            --) ((index++)); break ;;
            @taking@)
                [[ ${COMP_WORDS[index + 1]} != = ]] || ((index++))
                ((index++)) ;;
            -*) ;;
            *) break ;;
        esac
    done
    if ((index < COMP_CWORD)); then
        # The program's own arguments.
        if declare -F _command_offset >/dev/null; then _command_offset "$index"; fi
        return
    fi
    if [[ $previous = '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $word = '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD-1]} word=
    fi
    case $previous in
        @files@) COMPREPLY=($(compgen -f -- "$word")); return ;;
        @signalflags@) COMPREPLY=($(compgen -W '@signals@' -- "$word")); return ;;
        @others@) return ;;
    esac
    if [[ $word = -* ]]; then
        COMPREPLY=($(compgen -W '@flags@' -- "$word"))
    else
        COMPREPLY=($(compgen -f -X '!*.lua' -- "$word") $(compgen -d -- "$word"))
        if [[ -n $word ]]; then COMPREPLY+=($(compgen -c -- "$word")); fi
        if ((COMP_CWORD == 1)); then COMPREPLY+=($(compgen -W '@names@' -- "$word")); fi
    fi
}
complete -o bashdefault -o default -F _forkmon forkmon
]=]

local function bash_subcommand(subcommand)
  local lines = {}
  local function put(...) lines[#lines + 1] = format(...) end
  put('            %s)', subcommand.name)
  for _, flag in ipairs(subcommand.flags) do
    if flag.value then
      put('                if [[ $previous = %s ]]; then COMPREPLY=($(compgen -f -- "$word")); return; fi', flag.flag)
    end
  end
  local choice = words(subcommand) or {}
  put('                COMPREPLY=($(compgen -W %s -- "$word"))',
    quoted(concat({ join(subcommand.flags, 'flag', ' '), '--help', concat(choice, ' ') }, ' ')))
  put('                return ;;')
  return concat(lines, '\n')
end

function completion.bash()
  local list, branches = of_command(), {}
  for index, subcommand in ipairs(subcommands.list) do branches[index] = bash_subcommand(subcommand) end
  local function taking(kind)
    return join(list, 'flag', '|', function(flag) return kind and flag.takes == kind or not kind and flag.takes end)
  end
  return fill(bash, {
    subcommands = concat(branches, '\n'), names = join(subcommands.list, 'name', ' '),
    taking = taking(), files = taking 'file', signalflags = taking 'signal', others = taking 'any',
    signals = signals(), flags = join(list, 'flag', ' '),
  })
end

local zsh = [=[
#compdef forkmon
# Completion of forkmon for zsh: eval "$(forkmon completion zsh)"
_forkmon() {
    if (( CURRENT > 2 )); then
        case $words[2] in
@subcommands@
        esac
    fi
    local -a subcommands
    subcommands=(
@names@
    )
    local curcontext=$curcontext state
    _arguments -C -S -A '-*' \
@flags@
        '1: :->program' \
        '*:: :_normal'
    if [[ $state = program ]]; then
        (( CURRENT == 2 )) && _describe subcommand subcommands
        _alternative 'scripts:script:_files -g "*.lua(-.)"' 'commands:command:_command_names -e'
    fi
}
if [[ $funcstack[1] = _forkmon ]]; then
    _forkmon "$@"
else
    compdef _forkmon forkmon
fi
]=]

local zsh_values = { file = '_files', signal = '(' .. signals() .. ')', any = ' ' }

local function zsh_flag(flag)
  local doc = gsub(flag.doc, '[%[%]:\\]', '\\%0')
  local text = flag.flag .. '[' .. doc .. ']'
  if flag.value then
    text = (flag.repeated and '*' or '') .. flag.flag .. '=' .. sub(text, #flag.flag + 1)
      .. ':' .. gsub(flag.value, ':', '\\:') .. ':' .. zsh_values[flag.takes or 'file']
  end
  return quoted(text)
end

local function zsh_subcommand(subcommand)
  local parts = { '_arguments' }
  for _, flag in ipairs(subcommand.flags) do parts[#parts + 1] = zsh_flag(flag) end
  parts[#parts + 1] = quoted '--help[print how it is used]'
  local choice = words(subcommand)
  if choice then
    parts[#parts + 1] = quoted('1: :(' .. concat(choice, ' ') .. ')')
  elseif match(subcommand.arguments, 'FILE') then
    parts[#parts + 1] = quoted '*: :_files'
  end
  local branch = concat(parts, ' \\\n                    ')
  return concat({
    '            ' .. subcommand.name .. ')', '(( CURRENT-- )); shift words', branch, 'return ;;',
  }, '\n                ')
end

function completion.zsh()
  local branches, names, arguments = {}, {}, {}
  for index, subcommand in ipairs(subcommands.list) do
    branches[index] = zsh_subcommand(subcommand)
    names[index] = '        ' .. quoted(subcommand.name .. ':' .. gsub(subcommand.summary, ':', '\\:'))
  end
  for index, flag in ipairs(of_command()) do arguments[index] = '        ' .. zsh_flag(flag) .. ' \\' end
  return fill(zsh, {
    subcommands = concat(branches, '\n'), names = concat(names, '\n'), flags = concat(arguments, '\n'),
  })
end

--- A text in single quotes for fish, whose rule for quotes is another.
local function fish_quoted(doc)
  return "'" .. gsub(doc, "['\\]", '\\%0') .. "'"
end

local fish_values = { file = ' -r -F', signal = ' -x -a ' .. fish_quoted(signals()), any = ' -x' }

function completion.fish()
  local lines = {
    '# Completion of forkmon for fish: forkmon completion fish > ~/.config/fish/completions/forkmon.fish',
  }
  local function put(condition, rest, doc)
    lines[#lines + 1] = format('complete -c forkmon -n %s %s -d %s', fish_quoted(condition), rest, fish_quoted(doc))
  end
  local function flag_words(flag)
    return (flag.short and '-s ' .. sub(flag.short, 2) .. ' ' or '') .. '-l ' .. sub(flag.flag, 3)
      .. (flag.value and fish_values[flag.takes or 'file'] or '')
  end
  for _, flag in ipairs(of_command()) do put('__fish_use_subcommand', flag_words(flag), flag.doc) end
  for _, subcommand in ipairs(subcommands.list) do
    put('__fish_use_subcommand', '-a ' .. subcommand.name, subcommand.summary)
    local condition = '__fish_seen_subcommand_from ' .. subcommand.name
    for _, flag in ipairs(subcommand.flags) do put(condition, flag_words(flag), flag.doc) end
    for _, word in ipairs(words(subcommand) or {}) do
      local known = subcommands.by_name[word]
      put(condition, '-f -a ' .. word, known and known.summary or word)
    end
  end
  return concat(lines, '\n') .. '\n'
end

return completion
