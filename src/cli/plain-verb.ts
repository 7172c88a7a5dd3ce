import type { Command } from 'commander';
import type { CommandModule } from './command-spec.ts';
import { addExamples } from './examples.ts';
import { addVerbOptions, runMachineVerb } from './machine-verb.ts';
import type { VerbFlags } from './machine-verb.ts';
import type { Verb } from './verb-plan.ts';

/**
 * A command for a verb without parameters of its own.
 *
 * @param verb The operation's verb.
 * @param done What is printed after the machine's name, as `paused`.
 */
export function plainVerb(name: string, verb: PlainVerb, done: string): CommandModule['configure'] {
  return (command: Command, context) => {
    addVerbOptions(command);
    addExamples(command, [
      ['One machine', `virtctl ${name} web`],
      ['Every machine of a namespace', `virtctl ${name} --all -n shop`],
    ]);
    command.action(async (names: string[], flags: VerbFlags) => {
      await runMachineVerb(context, names, flags, done, () => ({ verb, parameters: {} }));
    });
  };
}

/** Verbs without parameters. */
export type PlainVerb = Exclude<Verb['verb'], 'Start' | 'Stop' | 'Restart'>;
