import type { Command } from 'commander';
import { leaseNamespace } from '../api/hypervisor.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { hypervisorKind, virtualMachineKind, virtualMachineOperationKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { toError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { followFile } from '../cli/follow-file.ts';
import { withKubeClient } from '../cli/kube-options.ts';
import { addLocalOptions, serialLogPath, withLocalDomain } from '../cli/local-domain.ts';
import type { LocalFlags } from '../cli/local-domain.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import type { Facts } from './why/diagnose.ts';
import { diagnose } from './why/diagnose.ts';

interface Event extends KubeObject {
  readonly regarding?: { readonly uid?: string };
  readonly reason?: string;
  readonly note?: string;
  readonly type?: string;
  readonly eventTime?: string | null;
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string };
}

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string; readonly leaseDurationSeconds?: number };
}

const defaultLeaseMs = 40_000;
const shownEvents = 5;
const shownLogLines = 8;

/** `virtctl why vm/NAME`: one page that answers why a machine is not running, and what would mend it. */
export function configure(command: Command, context: Context): void {
  command.argument('<name>', 'the machine, as NAME or vm/NAME');
  addLocalOptions(command);
  addExamples(command, [['Why does it not run?', 'virtctl why vm/web']]);
  command.action(async (name: string, flags: LocalFlags) => {
    const { facts, events } = await gather(context, name, flags);
    const { summary, chain, fix } = diagnose(facts);
    const colours = await context.colours();
    const marks = { ok: colours.green('ok  '), waiting: colours.yellow('wait'), broken: colours.red('FAIL') };
    const { namespace = '', name: plain = '' } = facts.machine.metadata;
    const lines = [`vm/${plain} in ${namespace}: ${summary}`, ''];
    for (const link of chain) lines.push(`  ${marks[link.status]}  ${link.about}: ${link.message}`);
    if (events.length > 0) lines.push('', 'Recent events:');
    for (const event of events) lines.push(`  ${describeEvent(event)}`);
    if (facts.machine.status?.printableStatus !== 'Running') lines.push(...(await logTails(context, plain, flags)));
    if (fix !== undefined) lines.push('', `To mend it: ${fix}`);
    context.stdout.write(`${lines.join('\n')}\n`);
  });
}

async function gather(
  context: Context,
  name: string,
  flags: LocalFlags,
): Promise<{ readonly facts: Facts; readonly events: readonly Event[] }> {
  const { signal } = context;
  return withKubeClient(context, flags, async (client) => {
    const ref = { namespace: client.namespace, name: name.replace(/^[^/]+\//, '') };
    const machine = await client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind)).get(ref, { signal });
    const nodeName = machine.spec.nodeName ?? '';
    const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
    const hypervisors = client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
    const [{ items: all }, { items: nodes }, lease, events] = await Promise.all([
      operations.listAll({ namespace: ref.namespace, signal }),
      hypervisors.listAll({ signal }),
      nodeName === ''
        ? undefined
        : client.resource<Lease>(builtin.leases).find({ namespace: leaseNamespace, name: nodeName }, { signal }),
      eventsOf(client, machine, signal),
    ]);
    const renewed = Date.parse(lease?.spec?.renewTime ?? '');
    const facts: Facts = {
      machine,
      operations: all.filter(({ spec }) => spec.virtualMachine === ref.name),
      nodes,
      hypervisor: nodes.find(({ metadata }) => metadata.name === nodeName),
      executorSeenAt: Number.isNaN(renewed) ? undefined : renewed,
      leaseMs: (lease?.spec?.leaseDurationSeconds ?? defaultLeaseMs / 1000) * 1000,
      now: context.now(),
    };
    return { facts, events };
  });
}

async function eventsOf(client: KubeClient, machine: VirtualMachine, signal: AbortSignal): Promise<readonly Event[]> {
  const { namespace, uid } = machine.metadata;
  const { items } = await client.resource<Event>(builtin.events).listAll({ namespace, signal });
  return items
    .filter(({ regarding }) => regarding?.uid === uid)
    .sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1))
    .slice(-shownEvents);
}

const timeOf = (event: Event): string =>
  event.series?.lastObservedTime ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';

function describeEvent(event: Event): string {
  const times = (event.series?.count ?? 1) > 1 ? ` (${event.series?.count ?? 1} times)` : '';
  return `${timeOf(event).slice(0, 19)}Z ${event.type ?? ''} ${event.reason ?? ''}: ${event.note ?? ''}${times}`;
}

/** The ends of QEMU's log and of the serial log, when the machine is on this host; else why not. */
async function logTails(context: Context, name: string, flags: LocalFlags): Promise<readonly string[]> {
  let paths: readonly (readonly [title: string, path: string | undefined])[];
  try {
    paths = await withLocalDomain(context, name, flags, async (domain) => [
      ["QEMU's log", `/var/log/libvirt/qemu/${domain.name}.log`],
      ['Serial log', await serialLogPath(domain, context.signal)],
    ]);
  } catch (error) {
    context.signal.throwIfAborted();
    return ['', `Logs: not at hand here: ${toError(error).message}`];
  }
  const lines: string[] = [];
  for (const [title, path] of paths) {
    if (path === undefined) continue;
    const parts: Buffer[] = [];
    try {
      for await (const part of followFile(path, { follow: false, tail: shownLogLines, signal: context.signal })) {
        parts.push(part);
      }
    } catch (error) {
      context.signal.throwIfAborted();
      lines.push('', `${title}: ${toError(error).message}`);
      continue;
    }
    const text = Buffer.concat(parts).toString('utf8').trimEnd();
    if (text === '') continue;
    lines.push('', `${title} (${path}):`, ...text.split('\n').map((line) => `  ${printable(line)}`));
  }
  return lines;
}

/** Without the control characters that a guest may send to a terminal. */
function printable(line: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what it is about
  return line.replaceAll(/\u001b\[[0-9;?]*[a-zA-Z]|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}
