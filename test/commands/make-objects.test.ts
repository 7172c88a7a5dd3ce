import { rm } from 'node:fs/promises';
import { PassThrough, Writable } from 'node:stream';
import { Chalk } from 'chalk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTestFolder } from '../support/test-folder.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { DryRun } from '../../src/cli/resources/resource-options.ts';
import { ObjectMaker } from '../../src/commands/adopt/make-objects.ts';
import { Namespaces } from '../../src/commands/recover/namespaces.ts';
import type { NewObject } from '../../src/executor/adoption/known-objects.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer, type ApiServer } from '../../src/standalone/server.ts';

const apiVersion = 'virtctl.dev/v1alpha1';
const disk = (namespace: string, name: string, volume = `${name}.qcow2`): VirtualDisk => ({
  apiVersion,
  kind: 'VirtualDisk',
  metadata: { namespace, name },
  spec: { pool: 'default', source: { import: { volume } } },
});
const machine = (namespace: string, name: string): VirtualMachine => ({
  apiVersion,
  kind: 'VirtualMachine',
  metadata: { namespace, name },
  spec: { domain: { memory: { unit: 'MiB', value: 64 }, os: { type: { value: 'hvm' } } } },
});

describe.each<DryRun>(['client', 'server'])('a dry run (%s) of what makes objects again', (dryRun) => {
  let folder: string;
  let server: ApiServer;
  let client: KubeClient;
  const note = dryRun === 'client' ? ' (dry run)' : ' (server dry run)';

  beforeAll(async () => {
    folder = makeTestFolder('make-objects');
    server = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
    const { kubeconfig } = server;
    client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' }));
  });
  afterAll(async () => {
    client.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** @returns What was printed; what was thrown ends it. */
  async function make(mode: DryRun, objects: readonly NewObject[]): Promise<string> {
    let told = '';
    const stdout = new Writable({
      write(chunk: Buffer, _encoding, done): void {
        told += chunk.toString();
        done();
      },
    });
    const { signal } = new AbortController();
    const context = {
      stdin: new PassThrough().end(),
      ...{ stdout, stderr: stdout, env: {}, cwd: '/', home: '/nonexistent', signal },
      now: () => 0,
      colours: () => Promise.resolve(new Chalk({ level: 0 })),
    };
    const maker = new ObjectMaker(context, client, { dryRun: mode, done: 'recovered' });
    const namespaces = new Namespaces(client, mode, signal, (one) => maker.tell(one, 'created'));
    for (const object of objects) {
      await namespaces.ensure(object.metadata.namespace);
      await maker.make(object);
    }
    await maker.finish();
    return told;
  }

  it('says the same as the run after it, of what is there and what is not', async () => {
    await make('none', [disk('default', 'there')]);
    const objects = [disk('default', 'there'), disk('default', 'new'), machine('default', 'web')];
    const dry = await make(dryRun, objects);
    expect(dry).toBe(
      `virtualdisk.virtctl.dev/there unchanged${note}\nvirtualdisk.virtctl.dev/new created${note}\nvirtualmachine.virtctl.dev/web recovered${note}\n`,
    );
    expect(await make('none', objects)).toBe(dry.replaceAll(note, ''));
  });

  it('looks further where not even the namespace is there, and makes neither', async () => {
    const objects = [disk('lost', 'data'), machine('lost', 'web')];
    const dry = await make(dryRun, objects);
    const namespaces = client.resource(builtin.namespaces);
    expect(await namespaces.find({ name: 'lost' })).toBeUndefined();
    expect(await make('none', objects)).toBe(dry.replaceAll(note, ''));
    expect(dry).toBe(
      `namespace/lost created${note}\nvirtualdisk.virtctl.dev/data created${note}\nvirtualmachine.virtctl.dev/web recovered${note}\n`,
    );
  });

  it.each([
    ['a machine of that name is there', machine('default', 'old'), machine('default', 'old'), 'already exists'],
    [
      'a disk of that name is another',
      disk('default', 'root', 'a'),
      disk('default', 'root', 'b'),
      'was made meanwhile',
    ],
  ])('refuses as the run after it where %s', async (_, there, object, message) => {
    await make('none', [there]);
    await expect(make(dryRun, [object])).rejects.toThrow(message);
    await expect(make('none', [object])).rejects.toThrow(message);
  });

  it.each(['default', 'nowhere'])('refuses in namespace %s what admission will', async (namespace) => {
    const wrong = { ...disk(namespace, 'wrong'), spec: { capacity: '-1Gi' } };
    await expect(make(dryRun, [wrong])).rejects.toThrow('spec.capacity');
  });
});
