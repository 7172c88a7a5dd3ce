import type { Option } from 'commander';
import { Command, CommanderError } from 'commander';
import { foldBooleanFlags } from './boolean-flags.ts';
import type { CommandSpec } from './command-spec.ts';
import type { Context } from './context.ts';
import { addExamples } from './examples.ts';
import { moveLeadingFlags } from './leading-flags.ts';
import { reportError } from './report-error.ts';
import { ExitCode } from '../base/exit-code.ts';

/** What {@link runProgram} needs. */
export interface ProgramOptions {
  readonly version: string;
  readonly commands: readonly CommandSpec[];
}

/**
 * Runs one command line. Only the module of the command that is called is loaded, which keeps `virtctl --help` quick.
 *
 * @param words The words after the program's name.
 * @returns The exit code; every error is printed on stderr, none is thrown.
 */
export async function runProgram(
  words: readonly string[],
  context: Context,
  options: ProgramOptions,
): Promise<ExitCode> {
  const argv = moveLeadingFlags(words);
  const verbose = argv.includes('--verbose');
  try {
    const program = await buildProgram(argv, context, options);
    if (argv.length === 0) {
      program.outputHelp();
      return ExitCode.Done;
    }
    const flags = allOptions(program);
    await program.parseAsync(foldBooleanFlags(argv, flags), { from: 'user' });
    return ExitCode.Done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Done : ExitCode.Usage;
    const report = reportError(error, verbose);
    context.stderr.write(report.text);
    return report.exitCode;
  }
}

/**
 * The commander program for a command line: every command by name and summary, the called one in full.
 *
 * @param argv Decides which command modules are loaded; `undefined` loads all (completion, documentation).
 */
export async function buildProgram(
  argv: readonly string[] | undefined,
  context: Context,
  options: ProgramOptions,
): Promise<Command> {
  const program = new Command('virtctl');
  program
    .description('Declarative virtual machines on plain libvirt hosts, with Kubernetes as the control plane.')
    .usage('COMMAND [options]')
    .version(options.version, '-V, --version', 'print the version')
    .option('--verbose', 'add the chain of causes to errors')
    .helpOption('-h, --help', 'show help')
    .addHelpCommand(
      new Command('help').argument('[command...]').summary('show help for a command').helpGroup(otherGroup),
    )
    .configureHelp({ showGlobalOptions: true, optionDescription, visibleGlobalOptions: globalOptions })
    .showHelpAfterError("(see 'virtctl --help')")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
    });
  addExamples(program, topExamples);
  const called = argv === undefined ? undefined : calledNames(argv);
  for (const spec of options.commands) {
    const command = program
      .command(spec.name)
      .aliases([...(spec.aliases ?? [])])
      .summary(spec.summary)
      .description(`${spec.summary.charAt(0).toUpperCase()}${spec.summary.slice(1)}.`)
      .helpGroup(spec.group)
      .showHelpAfterError(`(see 'virtctl ${spec.name} --help')`);
    if (called === undefined || [spec.name, ...(spec.aliases ?? [])].some((name) => called.has(name))) {
      (await spec.load()).configure(command, context);
    }
  }
  return program;
}

/** The heading of what is about virtctl itself. */
export const otherGroup = 'Other:';

const topExamples = [
  [
    "Write libvirt's XML as YAML, and back",
    'virsh dumpxml web | virtctl convert - > web.yaml; virtctl convert web.yaml',
  ],
  ['See what a field is', 'virtctl explain vm.spec.domain.devices.disk.driver'],
] as const;

/** The words that a flag takes and what it is when it is not given, in the style of the rest. */
function optionDescription(option: Option): string {
  const choices = option.argChoices === undefined ? '' : ` (${option.argChoices.join('|')})`;
  const preset = typeof option.defaultValue === 'string' || typeof option.defaultValue === 'number';
  const shown = option.defaultValueDescription ?? String(option.defaultValue);
  return `${option.description}${choices}${preset ? `, default ${shown}` : ''}`;
}

/** The flags of the commands above, but for those that a command has itself. */
function globalOptions(command: Command): Option[] {
  const own = new Set(command.options.map(({ long, short }) => long ?? short));
  const above: Option[] = [];
  for (let one = command.parent; one !== null; one = one.parent) {
    above.push(...one.options.filter(({ long, short, hidden }) => !hidden && !own.has(long ?? short)));
  }
  return above;
}

/** The words that may name the command: the first one, or the two after `help`, options passed over. */
function calledNames(argv: readonly string[]): ReadonlySet<string> {
  const words = argv.filter((word) => !word.startsWith('-'));
  return new Set(words.slice(0, words[0] === 'help' ? 2 : 1));
}

/** The flags of a command and of its subcommands. */
function allOptions(command: Command): readonly Option[] {
  return [...command.options, ...command.commands.flatMap(allOptions)];
}
