import type { Command } from 'commander';
import { configureDevice } from './attach/device.ts';
import { NotFoundError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addEditOptions, editMachine } from '../cli/machine-edit.ts';
import type { EditFlags } from '../cli/machine-edit.ts';

/** `virtctl detach disk|interface|device`: takes an entry out of the machine's spec; unplugged while it runs. */
export function configure(command: Command, context: Context): void {
  command.usage('disk|interface NAME ENTRY | device NAME -f FILE [options]');
  const device = command.command('device').summary('detach any device').description('Detach devices of a file.');
  configureDevice(device, context, 'detach');
  for (const [word, list] of [
    ['disk', 'volumes'],
    ['interface', 'interfaces'],
  ] as const) {
    const sub = command
      .command(word)
      .summary(`detach ${word === 'disk' ? 'a disk' : 'an interface'}`)
      .description(`Detach ${word === 'disk' ? 'a disk' : 'an interface'}. What is on it stays.`)
      .argument('<vm>', 'the machine')
      .argument('<entry>', `its name in spec.${list}`);
    addEditOptions(sub);
    addExamples(sub, [['By its name', `virtctl detach ${word} web ${word === 'disk' ? 'data' : 'back'}`]]);
    sub.action(async (vm: string, entry: string, flags: EditFlags) => {
      await editMachine(context, vm, flags, `${word} "${entry}" detached`, (spec) => {
        const entries: { name: string }[] = spec[list] ?? [];
        const at = entries.findIndex(({ name }) => name === entry);
        if (at === -1) {
          throw new NotFoundError(`there is no "${entry}" in spec.${list}`, {
            hint: entries.length === 0 ? 'it has none' : `it has ${entries.map(({ name }) => name).join(', ')}`,
          });
        }
        entries.splice(at, 1);
      });
    });
  }
}
