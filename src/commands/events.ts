import { Option, type Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { coreEvents } from '../cli/resources/known-resources.ts';
import { eventCells, sortEvents, type CoreEvent } from '../cli/resources/object-events.ts';
import { parseOutput, writeObjects } from '../cli/resources/print-objects.ts';
import { alignColumns } from '../cli/resources/print-table.ts';
import { parseOneTarget } from '../cli/resources/targets.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeObject } from '../kube/object.ts';

interface EventsFlags extends KubeFlags {
  readonly allNamespaces?: boolean;
  readonly for?: string;
  readonly types?: string;
  readonly watch?: boolean;
  readonly output?: string;
  readonly headers: boolean;
}

/** `virtctl events`: what happened, oldest first; of everything or of one object. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[kind/name]', 'only about this object')
    .option('-A, --all-namespaces', 'in every namespace')
    .option('--for <kind/name>', 'only about this object')
    .addOption(new Option('--types <types>', 'only these types, as Warning or Normal,Warning'))
    .option('-w, --watch', 'go on printing events until interrupted')
    .option('-o, --output <format>', 'json|yaml|name|jsonpath=TEMPLATE')
    .option('--no-headers', 'without the line of headings');
  addKubeOptions(command);
  addExamples(command, [
    ['What happened to a machine', 'virtctl events vm/web'],
    ['What goes wrong anywhere, as it happens', 'virtctl events -A --types=Warning -w'],
  ]);
  command.action(async (word: string | undefined, flags: EventsFlags) => {
    const format = parseOutput(flags.output);
    if (word !== undefined && flags.for !== undefined) throw new UsageError('give KIND/NAME or --for, not both');
    const subject = word ?? flags.for;
    const target = subject === undefined ? undefined : parseOneTarget([subject]);
    const types = flags.types?.split(',').map((type) => type.toLowerCase());
    const isWanted = (event: CoreEvent): boolean =>
      types === undefined || types.includes((event.type ?? '').toLowerCase());
    await withKubeClient(context, flags, async (client) => {
      const isClusterWide = target?.resource.namespaced === false;
      const selection = {
        // Those about a cluster-wide object are in kube-system or default, by who wrote them.
        namespace: flags.allNamespaces === true || isClusterWide ? undefined : client.namespace,
        fieldSelector:
          target === undefined
            ? undefined
            : `involvedObject.kind=${target.resource.kind},involvedObject.name=${target.name}`,
        signal: context.signal,
      };
      const events = client.resource<KubeObject>(coreEvents);
      let widths: readonly number[] = [];
      const print = async (found: readonly CoreEvent[], isFirst: boolean): Promise<void> => {
        const wanted = sortEvents(found.filter(isWanted));
        if (format.type !== 'table') {
          const options = { single: !isFirst, showManagedFields: false, headers: isFirst };
          await writeResult(context, await writeObjects(format, wanted, options));
          return;
        }
        const headings = ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE'];
        const lines = wanted.map((event) => [
          ...(flags.allNamespaces === true ? [event.metadata.namespace ?? ''] : []),
          ...eventCells(event, context.now()),
        ]);
        const header = flags.allNamespaces === true ? ['NAMESPACE', ...headings] : headings;
        const aligned = alignColumns(isFirst && flags.headers ? [header, ...lines] : lines, widths);
        widths = aligned.widths;
        await writeResult(context, aligned.text);
      };
      if (flags.watch === true) {
        const { watchObjects } = await import('../cli/resources/watch-objects.ts');
        await watchObjects(events, {
          ...selection,
          present: (found) => print(found, true),
          changed: async (event, type) => {
            if (type !== 'DELETED') await print([event], false);
          },
        });
        return;
      }
      const { items } = await events.listAll(selection);
      if (format.type === 'table' && !items.some(isWanted)) {
        const place = flags.allNamespaces === true ? '' : ` in ${client.namespace} namespace`;
        context.stderr.write(`No events found${target === undefined ? place : ` for ${subject ?? ''}`}.\n`);
        return;
      }
      await print(items, true);
    });
  });
}
