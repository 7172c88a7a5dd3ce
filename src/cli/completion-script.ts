import type { CommandNode, OptionNode } from './command-tree.ts';
import { everyCommand } from './command-tree.ts';

/** Shells that {@link completionScript} knows. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** One of {@link shells}. */
export type Shell = (typeof shells)[number];

/**
 * A script that completes commands, flags, and the words of flags and arguments that take some, for one shell. It is
 * whole in itself: completing does not start virtctl.
 */
export function completionScript(shell: Shell, root: CommandNode): string {
  switch (shell) {
    case 'bash':
      return bash(root);
    case 'zsh':
      return zsh(root);
    case 'fish':
      return fish(root);
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const childNames = (node: CommandNode): string[] => node.commands.flatMap(({ names }) => names);
const longFirst = ({ names }: OptionNode): string => names.at(-1) ?? '';

function bash(root: CommandNode): string {
  const nodes = [...everyCommand(root)];
  const children: string[] = [];
  const flags: string[] = [];
  const values: string[] = [];
  const descents: string[] = [];
  for (const node of nodes) {
    const path = node.path.join(' ');
    const words = [...childNames(node), ...node.choices];
    if (words.length > 0) children.push(`    ${quote(path)}) printf '%s\\n' ${words.map(quote).join(' ')} ;;`);
    flags.push(
      `    ${quote(path)}) printf '%s\\n' ${node.options.map((option) => quote(longFirst(option))).join(' ')} ;;`,
    );
    for (const option of node.options.filter(({ takesValue }) => takesValue)) {
      const patterns = option.names.map((name) => quote(`${path}:${name}`)).join('|');
      const print = option.choices.length === 0 ? ':' : `printf '%s\\n' ${option.choices.map(quote).join(' ')}`;
      values.push(`    ${patterns}) ${print} ;;`);
    }
    for (const child of node.commands) {
      const patterns = child.names.map((name) => quote(`${path}:${name}`)).join('|');
      descents.push(`    ${patterns}) printf '%s' ${quote(child.path.join(' '))} ;;`);
    }
  }
  const cases = (name: string, lines: readonly string[]): string =>
    `${name}() {\n  case "$1" in\n${lines.join('\n')}\n    *) return 1 ;;\n  esac\n}`;
  return `# bash completion of virtctl. Load it with: source <(virtctl completion bash)
${cases('__virtctl_words', children)}
${cases('__virtctl_flags', flags)}
${cases('__virtctl_values', values)}
${cases('__virtctl_descend', descents)}
__virtctl() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" flag='' path='' next word i candidates=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    flag=''
    if [[ $word == -* ]]; then
      if __virtctl_values "$path:$word" >/dev/null; then
        flag="$word"
        [[ \${COMP_WORDS[i + 1]} == '=' ]] && ((i++))
        ((i++))
      fi
    elif next="$(__virtctl_descend "$path:$word")"; then
      path="$next"
    fi
  done
  if [[ -n $flag ]] && ((i > COMP_CWORD)); then
    [[ $cur == '=' ]] && cur=''
    candidates="$(__virtctl_values "$path:$flag")"
  elif [[ $cur == -* ]]; then
    candidates="$(__virtctl_flags "$path")"
  else
    candidates="$(__virtctl_words "$path")"
  fi
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$candidates" -- "$cur"))
}
complete -o default -F __virtctl virtctl
`;
}

function zsh(root: CommandNode): string {
  const functions: string[] = [];
  for (const node of everyCommand(root)) {
    const specs = node.options.flatMap((option) => zshOption(option));
    const name = ['_virtctl', ...node.path].join('_').replaceAll('-', '_');
    if (node.commands.length === 0) {
      const rest = node.choices.length > 0 ? `:argument:(${node.choices.join(' ')})` : ':file:_files';
      const argument = node.takesArguments ? [quote(`*${rest}`)] : [];
      functions.push(`${name}() {\n  _arguments -s ${[...specs, ...argument].join(' \\\n    ')}\n}`);
      continue;
    }
    const list = node.commands.flatMap((child) => child.names.map((word) => quote(`${word}:${child.summary}`)));
    const dispatch = node.commands.map(
      (child) => `        ${child.names.join('|')}) ${['_virtctl', ...child.path].join('_').replaceAll('-', '_')} ;;`,
    );
    functions.push(`${name}() {
  local line state
  local -a commands=(${list.join(' ')})
  _arguments -C -s ${[...specs, quote('1: :->command'), quote('*::argument:->rest')].join(' \\\n    ')}
  case $state in
    command) _describe command commands ;;
    rest)
      case $line[1] in
${dispatch.join('\n')}
      esac ;;
  esac
}`);
  }
  return `#compdef virtctl
# zsh completion of virtctl. Load it with: source <(virtctl completion zsh)
${functions.join('\n')}
if [ "$funcstack[1]" = _virtctl ]; then _virtctl "$@"; else compdef _virtctl virtctl; fi
`;
}

function zshOption({ names, description, takesValue, choices }: OptionNode): string[] {
  const text = description.replaceAll(/[[\]:]/g, (character) => `\\${character}`);
  const value = !takesValue ? '' : choices.length > 0 ? `:value:(${choices.join(' ')})` : ':value:_files';
  return names.map((name) => {
    const others = names.length > 1 ? `(${names.join(' ')})` : '';
    return quote(`${others}${name}${takesValue && name.startsWith('--') ? '=' : ''}[${text}]${value}`);
  });
}

function fish(root: CommandNode): string {
  const lines = ['# fish completion of virtctl. Load it with: virtctl completion fish | source'];
  for (const node of everyCommand(root)) {
    const seen = node.path.map((_word, depth) => {
      const names = namesAt(root, node.path.slice(0, depth + 1));
      return `__fish_seen_subcommand_from ${names.join(' ')}`;
    });
    const inside = seen.join('; and ');
    const known = childNames(node);
    for (const child of node.commands) {
      const notYet =
        node.path.length === 0
          ? '__fish_use_subcommand'
          : `${inside}; and not __fish_seen_subcommand_from ${known.join(' ')}`;
      for (const name of child.names) {
        lines.push(`complete -c virtctl -n ${quote(notYet)} -f -a ${quote(name)} -d ${quote(child.summary)}`);
      }
    }
    const when = inside === '' ? '' : ` -n ${quote(inside)}`;
    if (node.choices.length > 0) lines.push(`complete -c virtctl${when} -f -a ${quote(node.choices.join(' '))}`);
    for (const option of node.options) {
      const names = option.names.map((name) =>
        name.startsWith('--') ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`,
      );
      const value = !option.takesValue
        ? ''
        : option.choices.length > 0
          ? ` -x -a ${quote(option.choices.join(' '))}`
          : ' -r';
      lines.push(`complete -c virtctl${when}${names.join('')}${value} -d ${quote(option.description)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function namesAt(root: CommandNode, path: readonly string[]): readonly string[] {
  let node = root;
  for (const word of path) node = node.commands.find(({ names }) => names.includes(word)) ?? node;
  return node.names;
}
