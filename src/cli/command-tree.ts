import type { Command, Option } from 'commander';

/** A command as completion and the reference show it. */
export interface CommandNode {
  /** The words that call it, without the program's name: `['standalone', 'backup']`; empty for the program. */
  readonly path: readonly string[];
  readonly names: readonly string[];
  readonly summary: string;
  readonly options: readonly OptionNode[];
  /** The words that an argument takes, where the command says; of all its arguments together. */
  readonly choices: readonly string[];
  readonly takesArguments: boolean;
  readonly commands: readonly CommandNode[];
}

/** A flag of a command. */
export interface OptionNode {
  /** With dashes, the short one first: `['-o', '--output']`. */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

/** The tree of a program's visible commands and flags. Each command has the flags of the program too. */
export function commandTree(program: Command): CommandNode {
  return describe(program, [], []);
}

function describe(command: Command, path: readonly string[], inherited: readonly OptionNode[]): CommandNode {
  const help = command.createHelp();
  const options = help.visibleOptions(command).map(describeOption);
  const all = [
    ...options,
    ...inherited.filter(({ names }) => !options.some((own) => own.names.some((name) => names.includes(name)))),
  ];
  const passedOn = all.filter(({ names }) => !names.includes('--help') && !names.includes('--version'));
  return {
    path,
    names: [command.name(), ...command.aliases()],
    summary: command.summary(),
    options: all,
    choices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    takesArguments: command.registeredArguments.length > 0,
    commands: help
      .visibleCommands(command)
      .filter((child) => path.length === 0 || child.name() !== 'help')
      .map((child) => describe(child, [...path, child.name()], child.name() === 'help' ? [] : passedOn)),
  };
}

function describeOption(option: Option): OptionNode {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined),
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

/** A command and all below it, outermost first. */
export function* everyCommand(node: CommandNode): Generator<CommandNode> {
  yield node;
  for (const child of node.commands) yield* everyCommand(child);
}
