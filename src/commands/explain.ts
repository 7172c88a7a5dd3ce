import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { findField } from '../cli/explain/find-field.ts';
import { printField } from '../cli/explain/print-field.ts';
import { writeResult } from '../cli/write-result.ts';

/** `virtctl explain FIELD`: what a field is, by the schemas in this program. Asks no server. */
export function configure(command: Command, context: Context): void {
  command
    .description("Show a field's type, its words, whether it is a list, what is inside, and libvirt's page on it.")
    .argument('<field>', "a kind or one of libvirt's documents, and the keys to the field, with dots between")
    .option('-r, --recursive', 'show the fields inside of the fields too');
  addExamples(command, [
    ['A field of a machine', 'virtctl explain vm.spec.domain.devices.disk.driver'],
    ['All there is below a device', 'virtctl explain vm.spec.domain.devices.interface --recursive'],
    ["A field of libvirt's own document", 'virtctl explain network.forward'],
  ]);
  command.action(async (field: string, options: { readonly recursive?: true }) => {
    await writeResult(context, printField(findField(field), options.recursive === true));
  });
}
