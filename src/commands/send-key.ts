import type { Command } from 'commander';
import { Option } from 'commander';
import { keyCodeSets } from '../api/virtual-machine-operation.ts';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, runMachineVerb } from '../cli/machine-verb.ts';
import type { VerbFlags } from '../cli/machine-verb.ts';

interface SendKeyFlags extends VerbFlags {
  readonly key?: readonly string[];
  readonly codeset?: (typeof keyCodeSets)[number];
  readonly hold?: number;
}

/** `virtctl send-key`: presses keys together, as virsh send-key does. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command
    .option('-k, --key <key...>', 'the keys that are pressed together: KEY_LEFTCTRL, or numbers of the code set')
    .addOption(new Option('--codeset <name>', 'what the keys mean; linux when left out').choices(keyCodeSets))
    .option('--hold <duration>', 'how long they are held, as 500ms; 100ms when left out', parseDuration);
  addExamples(command, [
    ['Ctrl-Alt-Delete', 'virtctl send-key web --key KEY_LEFTCTRL KEY_LEFTALT KEY_DELETE'],
    ['Hold a key for a second', 'virtctl send-key web --key KEY_ENTER --hold 1s'],
  ]);
  command.action(async (names: string[], flags: SendKeyFlags) => {
    const keys = flags.key ?? [];
    if (keys.length === 0) throw new UsageError('give at least one --key, as KEY_ENTER');
    const sendKey = {
      keys: [...keys],
      ...(flags.codeset === undefined ? {} : { codeSet: flags.codeset }),
      ...(flags.hold === undefined ? {} : { holdMilliseconds: Math.round(flags.hold) }),
    };
    await runMachineVerb(context, names, flags, 'keys sent', () => ({ verb: 'SendKey', parameters: { sendKey } }));
  });
}
