import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { createLogger, type Logger } from '../../src/base/logger.ts';
import { resourceOfKind } from '../../src/api/kinds.ts';
import { runController } from '../../src/controller/controller.ts';
import type { SecretObject } from '../../src/controller/webhook/certificates.ts';
import {
  validatingWebhookConfigurations,
  type ValidatingWebhookConfiguration,
} from '../../src/controller/webhook/configuration.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer, type ApiServer } from '../../src/standalone/server.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { makeTestFolder } from '../support/test-folder.ts';
import { rm } from 'node:fs/promises';

let real: KubeApiserver;
let embedded: ApiServer;
let folder: string;
let client: KubeClient;
let embeddedClient: KubeClient;
let machines: ResourceClient<VirtualMachine>;
let embeddedMachines: ResourceClient<VirtualMachine>;
let configurations: ResourceClient<ValidatingWebhookConfiguration>;
let secrets: ResourceClient<SecretObject>;
const log: string[] = [];
const logger: Logger = createLogger({ level: 'info', write: (line) => log.push(line), now: Date.now });
let stop = new AbortController();
let running: Promise<void> | undefined;
const secretRef = { namespace: 'virtctl-system', name: 'virtctl-webhook' };

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not in time: ${what}\n${log.slice(-20).join('')}`);
    await delay(50);
  }
}

function machine(name: string, spec: VirtualMachineSpec): VirtualMachine {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'default' },
    spec,
  };
}

/** What a server says to a write, without what Kubernetes puts before a webhook's words. */
async function refusal(write: () => Promise<unknown>): Promise<string> {
  try {
    await write();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was allowed');
}

function startController(failurePolicy: 'Fail' | 'Ignore' = 'Fail'): void {
  stop = new AbortController();
  running = runController(
    { client, identity: 'test', logger, webhook: { host: '127.0.0.1', port: 0, failurePolicy } },
    stop.signal,
  );
}

async function stopController(): Promise<void> {
  stop.abort(new Error('the test stops it'));
  await running;
  running = undefined;
}

/** The configuration is there, and the API server goes by it: it needs a moment to notice. */
async function untilAsked(): Promise<void> {
  await until('the webhook to be asked', async () => {
    try {
      await machines.create(machine('probe', { overlay: [{ at: 'nothing.here', xml: '<a/>' }] }), { dryRun: true });
      return undefined;
    } catch (error) {
      return (error as Error).message.includes('spec.overlay[0].at') ? true : undefined;
    }
  });
}

beforeAll(async () => {
  folder = makeTestFolder('controller');
  embedded = await startApiServer({ folder, definitions: virtctlKinds(), logger, version: 'test' });
  real = await startKubeApiserver();
  const where = { env: {}, home: '/', cwd: '/' };
  client = new KubeClient(await selectConnection({ kubeconfig: real.kubeconfigPath, ...where }));
  embeddedClient = new KubeClient(await selectConnection({ kubeconfig: embedded.kubeconfig, ...where }));
  for (const kind of kinds) {
    const crd = customResourceDefinition(kind) as KubeObject;
    await client.resource<KubeObject>(builtin.customResourceDefinitions).apply(crd, { force: true });
  }
  for (const { kind } of kinds) {
    await until(`${kind} to be served`, async () => {
      try {
        return await client.resource(resourceOfKind(kind)).list({ limit: 1 });
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    });
  }
  machines = client.resource<VirtualMachine>(resourceOfKind('VirtualMachine'));
  embeddedMachines = embeddedClient.resource<VirtualMachine>(resourceOfKind('VirtualMachine'));
  configurations = client.resource<ValidatingWebhookConfiguration>(validatingWebhookConfigurations);
  secrets = client.resource<SecretObject>(builtin.secrets);
  startController();
  await untilAsked();
});

afterAll(async () => {
  await stopController();
  client.close();
  embeddedClient.close();
  await real.stop();
  await embedded.close();
  await rm(folder, { recursive: true, force: true });
});

describe('the admission webhook on a real API server', () => {
  it('refuses a machine over 128 KiB with the words of the embedded server', async () => {
    const large = machine('large', { overlay: [{ at: 'devices', xml: `<a>${'x'.repeat(140_000)}</a>` }] });
    const message = await refusal(() => machines.create(large));
    expect(message).toMatch(/the VirtualMachine has \d+ bytes of YAML \(13\d\.\d KiB\), at most 131072 \(128 KiB\)/);
    const own = await refusal(() => embeddedMachines.create(large));
    // The real server has stamped the object with uid, time and managed fields, which count.
    expect(own.replace(/\d+/g, 'N')).toContain(/the VirtualMachine.*$/.exec(message)?.[0].replace(/\d+/g, 'N') ?? '?');
  });

  it('refuses another node while a domain may exist, and lets one be chosen once', async () => {
    const words = 'spec.nodeName: cannot be changed from a while a domain may exist there';
    for (const [objects, hypervisors] of [
      [machines, client.resource(resourceOfKind('Hypervisor'))],
      [embeddedMachines, embeddedClient.resource(resourceOfKind('Hypervisor'))],
    ] as const) {
      const hypervisor = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor', metadata: { name: 'a' }, spec: {} };
      await hypervisors.create(hypervisor);
      const ref = { namespace: 'default', name: 'bound' };
      await objects.create(machine('bound', {}));
      await objects.mergePatch(ref, { spec: { nodeName: 'a' } });
      expect(await refusal(() => objects.mergePatch(ref, { spec: { nodeName: 'b' } }))).toContain(words);
      expect(await refusal(() => objects.mergePatch(ref, { spec: { nodeName: null } }))).toContain(words);
      // Status is the executor's, and the webhook is not in its way.
      const patch = { status: { printableStatus: 'Running', nodeName: 'a' } };
      await objects.mergePatch(ref, patch, { subresource: 'status' });
    }
  });

  it('refuses the second read-write user of a disk, also the moment after the first', async () => {
    const using = (name: string, more = {}): VirtualMachine =>
      machine(name, { volumes: [{ name: 'root', virtualDisk: 'one-disk', ...more }] });
    const words =
      'spec.volumes[0].virtualDisk: VirtualMachine "first" has one-disk read-write already; ' +
      'a disk has one such user, unless both say shareable';
    for (const objects of [machines, embeddedMachines]) {
      await objects.create(using('first'));
      expect(await refusal(() => objects.create(using('second')))).toContain(words);
      // What only was tried out does not count, and what has let go of the disk does not either.
      await objects.mergePatch({ namespace: 'default', name: 'first' }, { spec: { volumes: [] } });
      await objects.create(using('trial'), { dryRun: true });
      await objects.create(using('second'));
    }
  });

  it('lets only one of many have the disk when all ask at once', async () => {
    const all = await Promise.allSettled(
      Array.from({ length: 12 }, (_, index) =>
        machines.create(machine(`rival-${index}`, { volumes: [{ name: 'root', virtualDisk: 'wanted' }] })),
      ),
    );
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('refuses to delete what is protected', async () => {
    await machines.create(machine('kept', { deletionProtection: true }));
    const ref = { namespace: 'default', name: 'kept' };
    expect(await refusal(() => machines.delete(ref))).toContain('is protected: set deletionProtection to false first');
    await machines.mergePatch(ref, { spec: { deletionProtection: false } });
    await machines.delete(ref);
  });

  it('makes new certificates when they are lost, and tells the API server', async () => {
    const before = (await configurations.get({ name: 'virtctl' })).webhooks?.[0]?.clientConfig.caBundle;
    const authority = (await secrets.get(secretRef)).data?.['ca.crt'];
    expect(before).toBe(authority);
    await stopController();
    await secrets.delete(secretRef);
    startController();
    const after = await until('another bundle', async () => {
      const bundle = (await configurations.get({ name: 'virtctl' })).webhooks?.[0]?.clientConfig.caBundle;
      return bundle === before ? undefined : bundle;
    });
    expect(after).toBe((await secrets.get(secretRef)).data?.['ca.crt']);
    await untilAsked();
  });

  it('refuses changes of spec while nobody answers, but no status, and lets them pass where that is wanted', async () => {
    await stopController();
    expect(await refusal(() => machines.create(machine('late', {})))).toMatch(/failed calling webhook/);
    const ref = { namespace: 'default', name: 'bound' };
    await machines.mergePatch(ref, { status: { printableStatus: 'Stopped' } }, { subresource: 'status' });
    startController('Ignore');
    await untilAsked();
    await stopController();
    await until('a create without the webhook', async () => {
      try {
        return await machines.create(machine('late', {}));
      } catch (error) {
        if (/failed calling webhook/.test((error as Error).message)) return undefined;
        throw error;
      }
    });
    startController();
    await untilAsked();
  });
});
