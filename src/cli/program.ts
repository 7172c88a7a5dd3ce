import { Command, CommanderError } from 'commander';
import type { CommandSpec } from './command-spec.ts';
import type { Context } from './context.ts';
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
 * @param argv The words after the program's name.
 * @returns The exit code; every error is printed on stderr, none is thrown.
 */
export async function runProgram(
  argv: readonly string[],
  context: Context,
  options: ProgramOptions,
): Promise<ExitCode> {
  const verbose = argv.includes('--verbose');
  try {
    const program = await buildProgram(argv, context, options);
    await program.parseAsync(argv, { from: 'user' });
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
    .version(options.version, '-V, --version', 'print the version')
    .option('--verbose', 'add the chain of causes to errors')
    .helpCommand('help [command]', 'show help for a command')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(see 'virtctl --help')")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
    });
  const called = argv === undefined ? undefined : calledNames(argv);
  for (const spec of options.commands) {
    const command = program
      .command(spec.name)
      .aliases([...(spec.aliases ?? [])])
      .summary(spec.summary)
      .description(`${spec.summary.charAt(0).toUpperCase()}${spec.summary.slice(1)}.`)
      .helpGroup(spec.group);
    if (called === undefined || [spec.name, ...(spec.aliases ?? [])].some((name) => called.has(name))) {
      (await spec.load()).configure(command, context);
    }
  }
  return program;
}

/** The words that may name the command: the first one, or the two after `help`, options passed over. */
function calledNames(argv: readonly string[]): ReadonlySet<string> {
  const words = argv.filter((word) => !word.startsWith('-'));
  return new Set(words.slice(0, words[0] === 'help' ? 2 : 1));
}
