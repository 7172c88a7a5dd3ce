import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { hostOf } from './install.ts';
import { installationManifests, printedManifest, resourceOfManifest } from './install/installation.ts';
import type { Manifest } from './install/manifest.ts';
import { clearHost } from './install/node-setup.ts';
import { strayObjects } from './install/stray-objects.ts';
import { leaseNamespace } from '../api/hypervisor.ts';
import { kinds, virtualMachineKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { systemClock } from '../base/clock.ts';
import { ConflictError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { parsePort } from '../cli/resources/parse-integer.ts';
import { addDryRunOption, dryRunNote, type DryRun } from '../cli/resources/resource-options.ts';
import { retryOnConflict } from '../cli/retry-on-conflict.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound } from '../kube/status-error.ts';

interface UninstallFlags extends KubeFlags {
  readonly objects?: boolean;
  readonly guests?: boolean;
  readonly dryRun: DryRun;
  readonly timeout: number;
}

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string; readonly leaseDurationSeconds?: number };
}

/** `virtctl uninstall`: takes the control plane out of a cluster; guests run on, and objects stay, unless told otherwise. */
export function configure(command: Command, context: Context): void {
  command
    .option('--objects', 'delete the kinds too, and with them every object of theirs; guests run on')
    .option('--guests', 'delete every machine first: guests are shut down and undefined')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
    );
  addDryRunOption(command);
  addKubeOptions(command);
  addExamples(command, [
    ['Take the control plane away; machines and their objects stay', 'virtctl uninstall'],
    ['Leave nothing but the guests', 'virtctl uninstall --objects'],
    ['A host without kubelet', 'virtctl uninstall node root@node-3'],
  ]);
  command.action((flags: UninstallFlags) =>
    withKubeClient(context, flags, (client) => new Uninstaller(context, client, flags).run()),
  );
  const node = command.command('node').summary('take the executor away from a host, over ssh');
  node
    .description('Take the executor away from a host; its guests run on.')
    .argument('<destination>', 'where ssh goes, as root@node-3')
    .addOption(new Option('-p, --port <number>', "ssh's port").argParser(parsePort))
    .option('-i, --identity <file>', "ssh's key");
  node.action(async (destination: string, flags: { readonly port?: number; readonly identity?: string }) => {
    const host = hostOf(destination);
    const { port, identity } = flags;
    const key = identity === undefined ? undefined : resolve(context.cwd, identity);
    const was = await clearHost({ destination, port, identity: key, env: context.env, signal: context.signal });
    if (was) await writeResult(context, `hypervisor.virtctl.dev/${host} uninstalled\n`);
    else context.stderr.write(`${destination} has no executor\n`);
  });
}

class Uninstaller {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #flags: UninstallFlags;

  constructor(context: Context, client: KubeClient, flags: UninstallFlags) {
    this.#context = context;
    this.#client = client;
    this.#flags = flags;
  }

  async run(): Promise<void> {
    const { guests, objects } = this.#flags;
    if (guests === true) await this.#deleteGuests();
    const all = installationManifests({ image: 'none', replicas: 1, nodes: { labels: {} } }).reverse();
    const isDefinition = ({ kind }: Manifest): boolean => kind === 'CustomResourceDefinition';
    // Nobody answers any more: with it, nothing could be deleted.
    await this.#delete({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'virtctl' },
    });
    const workloads = all.filter(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet');
    for (const manifest of workloads) await this.#delete(manifest);
    // What another version had installed beside; its workloads come first.
    for (const manifest of await strayObjects(this.#client, all, this.#context.signal)) await this.#delete(manifest);
    if (objects === true) {
      await this.#refuseExecutors();
      await this.#releaseObjects();
      for (const manifest of all.filter(isDefinition)) await this.#delete(manifest);
    }
    const rest = all.filter((one) => !isDefinition(one) && !workloads.includes(one));
    for (const manifest of rest) await this.#delete(manifest);
  }

  async #delete(manifest: Manifest): Promise<void> {
    const { dryRun } = this.#flags;
    const { signal } = this.#context;
    const resource = this.#client.resource<KubeObject>(resourceOfManifest(manifest));
    try {
      const found = await resource.find(refOf(manifest), { signal });
      if (found === undefined) return;
      if (dryRun !== 'client') {
        await resource.delete(refOf(manifest), {
          dryRun: dryRun === 'server',
          propagationPolicy: 'Background',
          signal,
        });
      }
      await writeResult(this.#context, `${printedManifest(manifest)} deleted${dryRunNote(dryRun)}\n`);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** While executors and controller still run, so that each guest is shut down as it should. */
  async #deleteGuests(): Promise<void> {
    const { signal } = this.#context;
    const { dryRun, timeout } = this.#flags;
    const machines = this.#client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const { items } = await machines.listAll({ signal });
    for (const { metadata } of items) {
      const ref = { namespace: metadata.namespace, name: metadata.name ?? '' };
      if (dryRun !== 'client') {
        const options = { dryRun: dryRun === 'server', preconditions: { uid: metadata.uid }, signal };
        await machines.delete(ref, options).catch((error: unknown) => {
          // Somebody else's deletion has come to its end meanwhile.
          if (!isNotFound(error)) throw error;
        });
      }
      const where = metadata.namespace ?? '';
      await writeResult(
        this.#context,
        `virtualmachine.virtctl.dev/${ref.name} in ${where} deleted${dryRunNote(dryRun)}\n`,
      );
    }
    if (dryRun !== 'none') return;
    for (const machine of items) {
      await waitForObject(machines, refOf(machine), (now) => now?.metadata.uid !== machine.metadata.uid, {
        signal,
        timeoutMs: timeout,
        what: `vm/${machine.metadata.name ?? ''} to be gone`,
      });
    }
  }

  /** An executor that still runs would take the deletion of an object for the wish to undefine its guest. */
  async #refuseExecutors(): Promise<void> {
    const { signal, now } = this.#context;
    const leases = this.#client.resource<Lease>(builtin.leases);
    const end = now() + this.#flags.timeout;
    for (;;) {
      const { items } = await leases.listAll({ namespace: leaseNamespace, signal });
      const alive = items
        .filter(({ spec }) => {
          const renewed = Date.parse(spec?.renewTime ?? '');
          return now() - renewed < (spec?.leaseDurationSeconds ?? 40) * 1000;
        })
        .map(({ metadata }) => metadata.name ?? '');
      if (alive.length === 0 || this.#flags.dryRun !== 'none') return;
      if (now() > end) {
        throw new ConflictError(`executors still run on ${alive.join(', ')}: they would undefine their guests`, {
          hint: 'stop them first: virtctl uninstall node root@HOST, or systemctl stop virtctl-executor there',
        });
      }
      await systemClock.sleep(1_000, signal);
    }
  }

  /** Without executors nobody would take the finalizers away; what they stand for, the guests, stays. */
  async #releaseObjects(): Promise<void> {
    const { signal } = this.#context;
    const { dryRun } = this.#flags;
    if (dryRun !== 'none') return;
    for (const kind of kinds) {
      const resource = this.#client.resource<KubeObject>(resourceTypeOf(kind));
      let items: readonly KubeObject[];
      try {
        items = (await resource.listAll({ signal })).items;
      } catch (error) {
        if (!isNotFound(error)) throw error;
        continue;
      }
      for (const object of items) {
        let now: KubeObject | undefined = object;
        await retryOnConflict(async () => {
          now ??= await resource.find(refOf(object), { signal });
          const seen = now;
          now = undefined;
          if (seen !== undefined) await release(resource, seen, signal);
        });
      }
    }
  }
}

/** Takes our finalizers from an object, and nobody else's: the list is written as a whole, if it is still that. */
async function release(
  resource: ResourceClient<KubeObject>,
  { metadata }: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { uid, resourceVersion, finalizers: before = [], namespace, name = '' } = metadata;
  const finalizers = before.filter((one) => !one.startsWith('virtctl.dev/'));
  if (finalizers.length === before.length) return;
  try {
    await resource.mergePatch({ namespace, name }, { metadata: { uid, resourceVersion, finalizers } }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
