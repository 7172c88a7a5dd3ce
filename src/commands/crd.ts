import { Argument, Option, type Command } from 'commander';
import { customResourceDefinition } from '../api/crd.ts';
import { findKind, kinds } from '../api/kinds.ts';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { writeYamlDocuments } from '../cli/yaml/write-yaml.ts';

/** `virtctl crd [KIND...]`: prints the CustomResourceDefinitions of our kinds. Asks no server. */
export function configure(command: Command, context: Context): void {
  command
    .addArgument(new Argument('[kind...]', 'only these kinds, in any form kubectl takes (vm, virtualmachines, …)'))
    .addOption(new Option('-o, --output <format>', 'the format').choices(['yaml', 'json']).default('yaml'))
    .addHelpText(
      'after',
      '\nInstall them by server-side apply; they are too large for the annotation of client-side apply:\n' +
        '  virtctl crd | kubectl apply --server-side -f -\n',
    )
    .action((words: readonly string[], options: { readonly output: 'yaml' | 'json' }) => {
      const chosen = words.map((word) => {
        const kind = findKind(word);
        if (kind === undefined) {
          throw new UsageError(`there is no kind "${word}"`, {
            hint: `there are ${kinds.map((one) => one.kind).join(', ')}`,
          });
        }
        return kind;
      });
      const crds = (chosen.length === 0 ? kinds : [...new Set(chosen)]).map(customResourceDefinition);
      context.stdout.write(options.output === 'yaml' ? writeYamlDocuments(crds) : writeJson(crds));
    });
}

/** One object, or a List of several, as kubectl prints JSON. */
function writeJson(objects: readonly unknown[]): string {
  const value = objects.length === 1 ? objects[0] : { apiVersion: 'v1', kind: 'List', items: objects };
  return `${JSON.stringify(value, undefined, 4)}\n`;
}
