/**
 * Completion scripts for bash, zsh and fish from commander's tree of commands. One table in the script maps each path of commands
 * to its words; positional arguments with choices and options with choices complete to those, everything else to files.
 */
import type { Command, Option } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

interface Described {
  readonly word: string;
  readonly help: string;
}

export interface CommandNode {
  /** `weft policy lint` → ['policy', 'lint']. */
  readonly path: readonly string[];
  readonly help: string;
  readonly commands: readonly Described[];
  readonly options: readonly {
    readonly flags: readonly string[];
    readonly help: string;
    readonly takesValue: boolean;
    readonly choices: readonly string[];
  }[];
  /** Choices of the first argument. */
  readonly choices: readonly string[];
}

/** Every command with its subcommands and options, parents before children. Hidden ones are left out. */
export function commandNodes(command: Command, path: readonly string[] = []): CommandNode[] {
  const children = visibleCommands(command);
  const node: CommandNode = {
    path,
    help: command.description(),
    commands: children.map((child) => ({ word: child.name(), help: child.description() })),
    options: [...command.options.filter((option) => !option.hidden).map(describeOption), helpOption],
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [node, ...children.flatMap((child) => commandNodes(child, [...path, child.name()]))];
}

const helpOption = {
  flags: ['-h', '--help'],
  help: 'display help',
  takesValue: false,
  choices: [] as string[],
};

function visibleCommands(command: Command): readonly Command[] {
  return command.commands.filter((child) => (child as unknown as { _hidden?: boolean })._hidden !== true);
}

function describeOption(option: Option): CommandNode['options'][number] {
  return {
    flags: [option.short, option.long].filter((flag) => flag !== undefined),
    help: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

export function completionScript(program: Command, shell: Shell): string {
  const nodes = commandNodes(program);
  return { bash, zsh, fish }[shell](program.name(), nodes);
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Both bash and zsh walk the words to find the command, then look its words up. */
function bash(name: string, nodes: readonly CommandNode[]): string {
  const cases = nodes.map((node) => {
    const values = node.options
      .filter(({ choices }) => choices.length > 0)
      .map(
        ({ flags, choices }) =>
          `      ${flags.join('|')}) COMPREPLY=($(compgen -W ${quote(choices.join(' '))} -- "$word")); return ;;`,
      );
    const files = node.options.filter(({ takesValue, choices }) => takesValue && choices.length === 0);
    if (files.length > 0)
      values.push(
        `      ${files.flatMap(({ flags }) => flags).join('|')}) COMPREPLY=($(compgen -f -- "$word")); return ;;`,
      );
    const words = [
      ...node.commands.map(({ word }) => word),
      ...node.choices,
      ...node.options.flatMap(({ flags }) => flags),
    ];
    return `  ${quote(node.path.join(' '))})
${values.length === 0 ? '' : `    case "$previous" in\n${values.join('\n')}\n    esac\n`}    words=${quote(words.join(' '))} ;;`;
  });
  return `# bash completion of ${name}; made by \`${name} completion bash\`
_${name}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path='' words='' i
  local known=${quote(nodes.map(({ path }) => `:${path.join(' ')}:`).join(''))}
  for ((i = 1; i < COMP_CWORD; i++)); do
    local longer="\${path:+$path }\${COMP_WORDS[i]}"
    [[ "$known" == *":$longer:"* ]] && path="$longer"
  done
  COMPREPLY=()
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ \${#COMPREPLY[@]} -gt 0 || "$word" == -* ]] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _${name} ${name}
`;
}

function zsh(name: string, nodes: readonly CommandNode[]): string {
  // zsh separates a word from its help by a colon, so colons inside are escaped.
  const described = (word: string, help: string) =>
    quote(`${word.replaceAll(':', '\\:')}:${help.replaceAll(':', '\\:')}`);
  const cases = nodes.map((node) => {
    const values = node.options
      .filter(({ takesValue }) => takesValue)
      .map(
        ({ flags, choices }) =>
          `      ${flags.join('|')}) ${choices.length > 0 ? `compadd -- ${choices.map(quote).join(' ')}` : '_files'}; return ;;`,
      );
    const commands = [
      ...node.commands.map(({ word, help }) => described(word, help)),
      ...node.choices.map((word) => described(word, '')),
    ];
    const options = node.options.flatMap(({ flags, help }) => flags.map((flag) => described(flag, help)));
    return `  ${quote(node.path.join(' '))})
${values.length === 0 ? '' : `    case "$previous" in\n${values.join('\n')}\n    esac\n`}    commands=(${commands.join(' ')})
    options=(${options.join(' ')}) ;;`;
  });
  return `#compdef ${name}
# zsh completion of ${name}; made by \`${name} completion zsh\`
_${name}() {
  local previous="\${words[CURRENT-1]}" path_='' i
  local -a commands options
  local known=${quote(nodes.map(({ path }) => `:${path.join(' ')}:`).join(''))}
  for ((i = 2; i < CURRENT; i++)); do
    local longer="\${path_:+$path_ }\${words[i]}"
    [[ "$known" == *":$longer:"* ]] && path_="$longer"
  done
  case "$path_" in
${cases.join('\n')}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then _describe option options
  elif (( \${#commands} )); then _describe command commands
  else _files; fi
}
if [[ "\${funcstack[1]}" == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fish(name: string, nodes: readonly CommandNode[]): string {
  const lines = [
    `# fish completion of ${name}; made by \`${name} completion fish\``,
    `function __${name}_path`,
    `  set -l known ${nodes.map(({ path }) => quote(path.join(' '))).join(' ')}`,
    "  set -l path ''",
    '  set -l tokens (commandline -opc)',
    '  for word in $tokens[2..-1]',
    '    set -l longer (string trim -- "$path $word")',
    '    if contains -- "$longer" $known',
    '      set path $longer',
    '    end',
    '  end',
    '  echo $path',
    'end',
    `function __${name}_at`,
    `  test (__${name}_path) = "$argv[1]"`,
    'end',
    `complete -c ${name} -e`,
  ];
  for (const node of nodes) {
    const at = `complete -c ${name} -n ${quote(`__${name}_at ${quote(node.path.join(' '))}`)}`;
    if (node.commands.length > 0 || node.choices.length > 0) lines.push(`${at} -f`);
    for (const { word, help } of node.commands) lines.push(`${at} -a ${quote(word)} -d ${quote(help)}`);
    for (const word of node.choices) lines.push(`${at} -a ${quote(word)}`);
    for (const { flags, help, takesValue, choices } of node.options) {
      const named = flags.map((flag) =>
        flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
      );
      const value = choices.length > 0 ? ` -x -a ${quote(choices.join(' '))}` : takesValue ? ' -r' : '';
      lines.push(`${at} ${named.join(' ')} -d ${quote(help)}${value}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
