import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, type VirtctlProcess } from '../end-to-end/virtctl-process.ts';
import { resourceOf } from '../support/executor-node.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { parseConnection } from '../support/kube-connection.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { runController } from '../../src/controller/controller.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';

const page = join(import.meta.dirname, '../../docs/operations.md');

/** A part of the page: commands that are run together, or something that happens in between. */
type Part =
  | { readonly section: string; readonly script: string; readonly event?: undefined }
  | { readonly section: string; readonly script?: undefined; readonly event: string };

function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let section = '';
  for (const match of text.matchAll(/^#+ (.*)$|^```sh\n([\s\S]*?)^```$|^<!-- here: (.*) -->$/gm)) {
    const [, heading, script, event] = match;
    if (heading !== undefined) section = heading;
    else if (script !== undefined) parts.push({ section, script });
    else if (event !== undefined) parts.push({ section, event });
  }
  return parts;
}

/**
 * The host root@node-1, as ssh's destination: puts files below a folder, and runs the executor as the unit says, with
 * what it was given.
 */
const host = `#!${process.execPath}
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { HOST_ROOT: root, HOST_URI: uri, VIRTCTL: program, HOST_METRICS: metrics } = process.env;
const args = process.argv.slice(2);
const words = args.slice(args.indexOf('--') + 2);
const at = (name) => path.join(root, name);
const pidFile = at('executor.pid');
function stop() {
  if (!fs.existsSync(pidFile)) return;
  const pid = Number(fs.readFileSync(pidFile, 'utf8'));
  fs.rmSync(pidFile);
  try { process.kill(pid, 'SIGTERM'); } catch (error) { if (error.code !== 'ESRCH') throw error; }
  for (;;) {
    try { process.kill(pid, 0); } catch { return; }
    const state = fs.readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ')[1][0];
    if (state === 'Z') return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
}
function start() {
  const defaults = Object.fromEntries(
    fs.readFileSync(at('etc/default/virtctl-executor'), 'utf8').trim().split('\\n').map((line) => line.split('=')),
  );
  if (defaults.LIBVIRT_URI !== 'qemu:///system') throw new Error('another URI: ' + defaults.LIBVIRT_URI);
  const out = fs.openSync(at('executor.log'), 'a');
  const child = spawn(process.execPath, [
    program, 'executor', '--node-name', defaults.NODE_NAME, '--connect', uri, '--kubeconfig', at('etc/virtctl/kubeconfig'),
    '--data-dir', at('var/lib/virtctl'), '--metrics-address', metrics, '--lease-duration', '4',
  ], { detached: true, stdio: ['ignore', out, out], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: root } });
  child.unref();
  fs.writeFileSync(pidFile, String(child.pid));
}
const [command, ...rest] = words;
if (command === 'id') console.log(0);
else if (command === 'install') {
  const [mode, , target] = rest.slice(2);
  fs.mkdirSync(path.dirname(at(target)), { recursive: true });
  fs.writeFileSync(at(target), '', { mode: parseInt(mode, 8) });
} else if (command === 'dd') fs.writeFileSync(at(rest[0].slice('of='.length)), fs.readFileSync(0));
else if (command === 'mv') fs.renameSync(at(rest[1]), at(rest[2]));
else if (command === 'rm') rest.slice(1).forEach((name) => fs.rmSync(at(name), { force: true }));
else if (command.startsWith('/usr/bin/virtctl')) {
  fs.accessSync(at(command), fs.constants.X_OK);
} else if (command === 'systemctl') {
  if (rest[0] === 'restart') { stop(); start(); }
  else if (rest[0] === 'disable') stop();
  else if (rest[0] === 'list-unit-files') console.log(rest.at(-1));
  else if (!['--version', 'daemon-reload', 'enable'].includes(rest[0])) throw new Error('systemctl ' + rest.join(' '));
} else throw new Error('no such program: ' + words.join(' '));
`;

const idle =
  "<domain type='qemu'><name>db</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>";

describe('docs/operations.md', () => {
  let folder: string;
  let virtctl: VirtctlProcess;
  let libvirtd: LibvirtdNode;
  const servers: KubeApiserver[] = [];
  let client: KubeClient;
  let controller: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;
  const env: Record<string, string> = {};

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-operations-'));
    virtctl = buildVirtctl();
    libvirtd = await startLibvirtd();
    const bin = join(folder, 'bin');
    const work = join(folder, 'work');
    for (const one of [bin, work, join(folder, 'host')]) await mkdir(one);
    const program = `#!/bin/sh\nexec '${process.execPath}' '${virtctl.path}' "$@"\n`;
    const files = { [join(bin, 'virtctl')]: program, [join(bin, 'ssh')]: host, [join(work, 'virtctl')]: program };
    for (const [path, text] of Object.entries(files)) {
      await writeFile(path, text);
      await chmod(path, 0o755);
    }
    Object.assign(env, {
      PATH: `${bin}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: folder,
      LIBVIRT_DEFAULT_URI: libvirtd.uri,
      HOST_ROOT: join(folder, 'host'),
      HOST_URI: libvirtd.uri,
      HOST_METRICS: `127.0.0.1:${20_000 + Math.floor(Math.random() * 20_000)}`,
      VIRTCTL: virtctl.path,
      DATA: join(folder, 'standalone'),
    });
    const embedded = await startApiServer({
      folder: join(folder, 'standalone'),
      definitions: virtctlKinds(),
      logger: silentLogger,
      version: '0.0.0-test',
    });
    await embedded.close();
    await newControlPlane();
    await writeFile(join(folder, 'db.xml'), idle);
    await libvirtd.virsh('define', join(folder, 'db.xml'));
    await libvirtd.virsh('start', 'db');
  });
  afterAll(async () => {
    const ssh = ['--', 'root@node-1', 'systemctl', 'disable'];
    if (env['HOST_ROOT'] !== undefined) {
      const ended = spawn(join(folder, 'bin/ssh'), ssh, { env, stdio: 'ignore' });
      await once(ended, 'exit');
    }
    await stopController();
    (client as KubeClient | undefined)?.close();
    for (const server of servers) await server.stop();
    await libvirtd.close();
    virtctl.remove();
    await rm(folder, { recursive: true, force: true });
  });

  /** An API server that knows nothing, with what the page takes for granted: a node with a kubelet. */
  async function newControlPlane(): Promise<void> {
    await stopController();
    (client as KubeClient | undefined)?.close();
    const server = await startKubeApiserver();
    servers.push(server);
    env['KUBECONFIG'] = server.kubeconfigPath;
    client = new KubeClient(await parseConnection(server.kubeconfigPath));
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-2' } };
    await client.resource<KubeObject>(builtin.nodes).create(node);
  }

  /** What the Deployment would run. */
  function startController(): void {
    const stop = new AbortController();
    const ended = runController({ client, identity: 'test', logger: silentLogger }, stop.signal);
    controller = { stop, ended };
  }

  async function stopController(): Promise<void> {
    controller?.stop.abort(new Error('the test is over'));
    await controller?.ended;
    controller = undefined;
  }

  const machine = (name: string): Promise<VirtualMachine | undefined> =>
    client.resource<VirtualMachine>(resourceOf('VirtualMachine')).find({ namespace: 'default', name });

  async function run(script: string): Promise<string> {
    const child = promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: join(folder, 'work'),
      env,
      timeout: 200_000,
    });
    try {
      return (await child).stdout;
    } catch (error) {
      const log = await readFile(join(folder, 'host/executor.log'), 'utf8').catch(() => '');
      throw new Error(`${script}\n${String((error as { stderr?: string }).stderr)}\n${log.slice(-2000)}`, {
        cause: error,
      });
    }
  }

  /** What has to be so before, or is to hold after, the commands of a section; by its heading. */
  const around: Readonly<
    Record<string, { readonly before?: () => Promise<unknown>; readonly after?: (said: string) => Promise<unknown> }>
  > = {
    Install: {
      // Once, for the section has one block.
      after: () => {
        startController();
        return Promise.resolve();
      },
    },
    'Hosts without a kubelet': {
      after: (said) => {
        expect(said).toMatch(/^node-1 +Ready/m);
        return Promise.resolve();
      },
    },
    'Bring in what runs already': {
      after: async (said) => {
        expect(said).toContain('virtualmachine.virtctl.dev/db adopted\n');
        expect(said).toContain('virtualmachine.virtctl.dev/db unchanged\n');
        const { items } = await client.resource<VirtualMachine>(resourceOf('VirtualMachine')).listAll();
        expect(items.map(({ metadata, status }) => [metadata.name, status?.printableStatus])).toEqual([
          ['db', 'Running'],
        ]);
        await client
          .resource(resourceOf('VirtualMachine'))
          .mergePatch({ namespace: 'default', name: 'db' }, { spec: { terminationGracePeriodSeconds: 0 } });
      },
    },
    'Work on a node': {
      after: async () => {
        await expect
          .poll(async () => (await machine('db'))?.status?.printableStatus, { timeout: 60_000 })
          .toBe('Running');
      },
    },
    'Replace a node': {
      before: async () => {
        if ((await machine('web-9')) !== undefined) return;
        const apiVersion = 'virtctl.dev/v1alpha1';
        const hypervisors = client.resource<Hypervisor>(resourceOf('Hypervisor'));
        if ((await hypervisors.find({ name: 'node-9' })) !== undefined) return;
        await hypervisors.create({ apiVersion, kind: 'Hypervisor', metadata: { name: 'node-9' }, spec: {} });
        await client.resource<VirtualMachine>(resourceOf('VirtualMachine')).create({
          apiVersion,
          kind: 'VirtualMachine',
          metadata: { namespace: 'default', name: 'web-9', finalizers: ['virtctl.dev/domain'] },
          spec: { nodeName: 'node-9', domain: { type: 'qemu' } },
        });
      },
      after: async (said) => {
        if (!said.includes('web-9')) return;
        expect((await machine('web-9'))?.spec.nodeName ?? '').toBe('');
      },
    },
    'Disaster recovery': {
      after: async (said) => {
        if (said.includes('node-1 installed')) startController();
        if (said.includes('virtualmachine.virtctl.dev/db recovered\n')) {
          await expect
            .poll(async () => (await machine('db'))?.status?.printableStatus, { timeout: 60_000 })
            .toBe('Running');
          expect(await libvirtd.virsh('domid', 'db')).toBe(domainId);
        }
        const node = await client.resource<Hypervisor>(resourceOf('Hypervisor')).get({ name: 'node-1' });
        if (said.includes('Machines:')) {
          expect(findCondition(node.status, 'OrphanedDomains')?.status).toBe('True');
          expect(said).toContain('their machines are gone: db');
        }
      },
    },
  };

  let domainId = '';

  /** Things that happen, by what the page calls them. */
  const events: Readonly<Record<string, () => Promise<unknown>>> = {
    'the control plane is lost': async () => {
      domainId = await libvirtd.virsh('domid', 'db');
      await newControlPlane();
      await client.resource<KubeObject>(builtin.namespaces).find({ name: 'default' });
    },
  };

  it('has commands that do what it says', async () => {
    const text = await readFile(page, 'utf8');
    const parts = partsOf(text);
    // No block of another language, no event and no section that nobody knows.
    expect(parts.filter(({ script }) => script !== undefined)).toHaveLength((text.match(/^ *```/gm)?.length ?? 0) / 2);
    expect(parts.flatMap(({ event }) => (event === undefined ? [] : [event]))).toEqual(Object.keys(events));
    const sections = new Set(parts.map(({ section }) => section));
    expect(Object.keys(around).filter((section) => !sections.has(section))).toEqual([]);
    for (const { section, script, event } of parts) {
      if (event !== undefined) await events[event]?.();
      else {
        await around[section]?.before?.();
        const said = await run(script);
        await around[section]?.after?.(said);
      }
    }
    // Objects and control plane are gone; the guest is not.
    expect(await libvirtd.virsh('domid', 'db')).toBe(domainId);
  });
});
