import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import { ForbiddenError } from '../../src/base/errors.ts';
import { runCheck, type Check, type Finding } from '../../src/commands/doctor/check.ts';
import { controlPlaneChecks } from '../../src/commands/doctor/control-plane-checks.ts';
import { nodeChecks, type HostProbes } from '../../src/commands/doctor/node-checks.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { ErrorNumber as ErrorCode } from '../../src/libvirt/constants.gen.ts';
import { AuthenticationError, ConnectionError, LibvirtError } from '../../src/libvirt/errors.ts';
import type { Libvirt } from '../../src/libvirt/libvirt.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { commandLine } from '../support/command-line.ts';
import { startFakeApiServer, type FakeApiServer } from '../support/fake-api-server.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const { signal } = new AbortController();
const GiB = 2 ** 30;

/** What each check found, by its name. */
async function findingsOf(checks: readonly Check[]): Promise<Record<string, Finding>> {
  const found: Record<string, Finding> = {};
  for (const check of checks) found[check.name] = await runCheck(check, signal);
  return found;
}

interface FakePool {
  readonly name: string;
  readonly active: boolean;
  readonly available: number;
}

interface FakeHost {
  readonly libvirt?: string;
  readonly qemu?: string;
  readonly free?: number;
  readonly pools?: readonly FakePool[];
}

const soundPool: FakePool = { name: 'default', active: true, available: 50 * GiB };

/** A libvirt with what the checks look at. */
function fakeLibvirt({ libvirt = '9.0.0', qemu = '7.2.0', free = 4 * GiB, pools = [soundPool] }: FakeHost): Libvirt {
  const made = pools.map(({ name, active, available }) => ({
    name,
    isActive: () => Promise.resolve(active),
    info: () => Promise.resolve({ availableBytes: available, capacityBytes: 100 * GiB }),
  }));
  const details = { domain: 18, level: 2, message: 'no storage pool', str1: null, str2: null, str3: null };
  const notFound = new LibvirtError('storagePoolLookupByName', {
    ...{ ...details, code: ErrorCode.NO_STORAGE_POOL },
    ...{ int1: 0, int2: 0 },
  });
  return {
    node: {
      hostname: () => Promise.resolve('n1'),
      libvirtVersion: () => Promise.resolve(libvirt),
      hypervisor: () => Promise.resolve('QEMU'),
      hypervisorVersion: () => Promise.resolve(qemu),
      info: () => Promise.resolve({ cpus: 2, memoryKiB: 8 * 2 ** 20 }),
      freeMemoryBytes: () => Promise.resolve(free),
    },
    pools: {
      byName: (name: string) => {
        const pool = made.find((one) => one.name === name);
        return pool === undefined ? Promise.reject(notFound) : Promise.resolve(pool);
      },
      list: () => Promise.resolve(made.filter((_, index) => pools[index]?.active)),
    },
    close: () => Promise.resolve(),
  } as unknown as Libvirt;
}

const soundHost: HostProbes = {
  kvmDevice: () => Promise.resolve(undefined),
  kvm: () => Promise.resolve({ usable: true, message: 'a guest booted under KVM' }),
  programFolders: ['/usr/bin', '/usr/sbin'],
};

const ofNode = (host: FakeHost, probes: Partial<HostProbes> = {}): Promise<Record<string, Finding>> =>
  findingsOf(
    nodeChecks('qemu:///system', () => Promise.resolve(fakeLibvirt(host)), { ...soundHost, ...probes }).checks,
  );

describe('virtctl doctor, of a node', () => {
  it('finds nothing where nothing is wrong', async () => {
    const { 'programs beside libvirt': _, ...found } = await ofNode({});
    expect(Object.values(found).map(({ status, fix }) => [status, fix])).toEqual(
      Object.keys(found).map(() => ['ok', undefined]),
    );
  });

  it.each([
    [new ConnectionError('cannot connect to /run/libvirt'), /^systemctl start libvirtd .* libvirt-daemon-system/],
    [new AuthenticationError('refused', { hint: 'join the group libvirt, or run as root' }), /join the group libvirt/],
    [new Error('who knows'), /systemctl start libvirtd/],
  ])('fails where libvirt cannot be used, and leaves out what needs it: %s', async (error, fix) => {
    const found = await findingsOf(nodeChecks('qemu:///system', () => Promise.reject(error), soundHost).checks);
    expect(found['libvirt is reachable']).toEqual({
      status: 'fail',
      message: error.message,
      fix: expect.stringMatching(fix) as string,
    });
    expect(found['KVM works']).toEqual({ status: 'skip', message: 'needs libvirt' });
  });

  it.each([
    ['libvirt', { libvirt: '7.10.0' }, 'libvirt 7.10.0, QEMU 7.2.0'],
    ['QEMU', { qemu: '6.1.9' }, 'libvirt 9.0.0, QEMU 6.1.9'],
  ])('warns of a %s that is older than what is tested', async (_, host, message) => {
    expect((await ofNode(host))['versions']).toEqual({
      status: 'warn',
      message: `${message}: older than what is tested`,
      fix: 'upgrade to libvirt 8.0.0 and QEMU 6.2.0 at least',
    });
  });

  it.each([['8.0.0', '6.2.0'] as const, ['10.0.0', '10.0.0'] as const])(
    'has nothing against libvirt %s with QEMU %s',
    async (libvirt, qemu) => {
      expect((await ofNode({ libvirt, qemu }))['versions']).toMatchObject({ status: 'ok' });
    },
  );

  it('warns of KVM that is not there, that only its owner may open, and that runs no guest', async () => {
    const missing = { problem: 'missing', message: 'there is no /dev/kvm', fix: 'load kvm_intel' } as const;
    const mode = { problem: 'mode', message: 'has mode 0600', fix: 'chmod 0660 /dev/kvm' } as const;
    const unusable = { usable: false, message: 'a guest did not boot\nwithin 10 s' };
    const kvm = async (device: typeof missing | typeof mode | undefined, usable: boolean): Promise<unknown> => {
      const probes = {
        kvmDevice: () => Promise.resolve(device),
        kvm: () => Promise.resolve(usable ? { usable, message: 'a guest booted' } : unusable),
      };
      return (await ofNode({}, probes))['KVM works'];
    };
    const warns = (message: RegExp, fix: RegExp): unknown => ({
      status: 'warn',
      message: expect.stringMatching(message) as string,
      fix: expect.stringMatching(fix) as string,
    });
    expect(await kvm(missing, false)).toEqual(warns(/no \/dev\/kvm/, /load kvm_intel; or set spec\.allowEmulation/));
    expect(await kvm(mode, true)).toEqual(warns(/booted, but has mode 0600/, /^chmod 0660/));
    expect(await kvm(mode, false)).toEqual(warns(/boot within 10 s; has mode 0600/, /^chmod 0660/));
    expect(await kvm(undefined, false)).toEqual(warns(/guests cannot run: a guest did not boot within/, /firmware/));
  });

  it.each([
    [[], 'does not exist', /^virsh pool-define-as default/],
    [[{ ...soundPool, active: false }], 'not active', /^virsh pool-start default/],
  ])('warns of a default pool that is not as it should be: %j', async (pools, message, fix) => {
    expect((await ofNode({ pools }))['storage pool "default"']).toEqual({
      status: 'warn',
      message,
      fix: expect.stringMatching(fix) as string,
    });
  });

  it('warns of pools that are nearly full, and of little memory', async () => {
    const pools = [
      soundPool,
      { name: 'small', active: true, available: GiB },
      { name: 'twentieth', active: true, available: 4.5 * GiB },
      { name: 'stopped', active: false, available: 0 },
    ];
    const found = await ofNode({ pools, free: 100 * 2 ** 20 });
    expect(found['space in the pools']).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/^small has 1Gi of 100Gi left; twentieth has 4\.5Gi of/) as string,
      fix: expect.stringContaining('delete disks') as string,
    });
    expect(found['processor and memory']).toMatchObject({ status: 'warn', fix: expect.any(String) as string });
  });

  it('warns of programs that are missing, with their packages', async () => {
    const found = await ofNode({}, { programFolders: ['/nonexistent'] });
    expect(found['programs beside libvirt']).toMatchObject({
      status: 'warn',
      fix: 'apt-get install qemu-utils genisoimage dnsmasq-base',
    });
  });
});

/** What the fake server says. */
interface Plane {
  readonly leases?: readonly object[];
  readonly served?: readonly string[];
  readonly crds?: readonly { readonly metadata: { readonly name: string } }[];
  /** Of the server's clock. */
  readonly serverTime?: number;
  readonly forbidden?: boolean;
  readonly unknownUser?: boolean;
  /** How long each answer is on its way, by this host's clock; the server's is the same then. */
  readonly delaySeconds?: number;
  /** Whether answers have no `Date`. */
  readonly isTimeless?: boolean;
  readonly orphans?: readonly string[];
}

const now = Date.parse('2026-01-01T12:00:00Z');
const at = (offsetSeconds: number): string => new Date(now + offsetSeconds * 1000).toISOString();
const currentCrds = kinds.map(customResourceDefinition);

/** A lease renewed at `renewed` by its node's clock, and stored at `stored` by the server's; seconds from now. */
function lease(name: string, renewed: number, stored = renewed, labelled?: number): object {
  const fields = (time: number, fieldsV1: object): object => ({ manager: 'x', time: at(time), fieldsV1 });
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name,
      namespace: 'virtctl-node-lease',
      managedFields: [
        fields(stored, { 'f:spec': { 'f:renewTime': {} } }),
        ...(labelled === undefined ? [] : [fields(labelled, { 'f:metadata': { 'f:labels': {} } })]),
      ],
    },
    spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime: at(renewed) },
  };
}

describe('virtctl doctor, of the control plane', () => {
  const ends: (() => Promise<unknown>)[] = [];
  /** This host's clock. */
  let hostMs = now;
  afterEach(async () => {
    hostMs = now;
    for (const end of ends.splice(0)) await end();
  });

  function planeServer(plane: Plane): Promise<FakeApiServer> {
    return startFakeApiServer(({ url }, response) => {
      const reply = (code: number, body: object): void => {
        const date = new Date(plane.serverTime ?? hostMs).toUTCString();
        hostMs += (plane.delaySeconds ?? 0) * 1000;
        response.sendDate = false;
        const told = plane.isTimeless === true ? {} : { date };
        response.writeHead(code, { 'content-type': 'application/json', ...told }).end(JSON.stringify(body));
      };
      const status = (code: number, reason: string): void =>
        reply(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason });
      const list = (items: readonly object[]): void => reply(200, { kind: 'List', metadata: {}, items });
      if (plane.unknownUser === true) status(401, 'Unauthorized');
      else if (url.pathname === '/version') reply(200, { major: '1', minor: '30', gitVersion: 'v1.30.0' });
      else if (plane.forbidden === true) status(403, 'Forbidden');
      else if (url.pathname === '/apis/virtctl.dev/v1alpha1') {
        const served = plane.served ?? kinds.map(({ kind }) => kind);
        if (served.length === 0) status(404, 'NotFound');
        else reply(200, { resources: served.map((kind) => ({ name: kind.toLowerCase(), kind, namespaced: true })) });
      } else if (url.pathname.includes('/customresourcedefinitions/')) {
        const found = (plane.crds ?? currentCrds).find(({ metadata }) => url.pathname.endsWith(`/${metadata.name}`));
        if (found === undefined) status(404, 'NotFound');
        else reply(200, found);
      } else if (url.pathname.endsWith('/leases')) list(plane.leases ?? [lease('n1', -5), lease('n2', -10)]);
      else if (url.pathname.endsWith('/hypervisors')) {
        const orphans = (plane.orphans ?? []).map((domain) => ({ domain }));
        list([
          { apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor', metadata: { name: 'n1' }, status: { orphans } },
        ]);
      } else status(404, 'NotFound');
    });
  }

  async function ofPlane(plane: Plane): Promise<Record<string, Finding>> {
    const server = await planeServer(plane);
    ends.push(() => server.close());
    const { checks, close } = controlPlaneChecks(
      (onServerTime) => Promise.resolve(new KubeClient(server.connection(), { onServerTime, maxRetries: 0 })),
      () => hostMs,
    );
    try {
      return await findingsOf(checks);
    } finally {
      close();
    }
  }

  const warns = (message: string, fix: string): unknown => ({
    status: 'warn',
    message,
    fix: expect.stringContaining(fix) as string,
  });

  it('finds nothing where nothing is wrong', async () => {
    const found = await ofPlane({});
    expect(Object.values(found).map(({ status, fix }) => [status, fix])).toEqual(
      Object.keys(found).map(() => ['ok', undefined]),
    );
    expect(found['clocks agree']?.message).toBe('this host, n1, n2 and the API server');
  });

  it('fails where there is no server, says where it looked, and leaves out the rest', async () => {
    const server = await planeServer({});
    await server.close();
    const { checks } = controlPlaneChecks(
      () => Promise.resolve(new KubeClient(server.connection(), { maxRetries: 0 })),
      () => now,
    );
    const found = await findingsOf(checks);
    expect(found['API server is reachable']).toMatchObject({
      status: 'fail',
      message: expect.stringContaining(server.url) as string,
      fix: expect.stringContaining('virtctl standalone') as string,
    });
    expect(found['executors are alive']).toEqual({ status: 'skip', message: 'needs the API server' });
  });

  it.each([
    [[], 'the server does not know virtctl.dev/v1alpha1'],
    [kinds.slice(1).map(({ kind }) => kind), `missing: ${kinds[0]?.kind ?? ''}`],
  ])('fails where kinds are not installed: %j are', async (served, message) => {
    expect((await ofPlane({ served }))['kinds are installed and current']).toEqual({
      status: 'fail',
      message,
      fix: 'virtctl crd | kubectl apply --server-side -f -',
    });
  });

  it('warns of kinds of another version', async () => {
    const [first, ...rest] = structuredClone(currentCrds) as unknown as { metadata: { name: string }; spec: Spec }[];
    if (first?.spec.versions[0] === undefined) throw new Error('no kinds');
    first.spec.versions[0].schema = { openAPIV3Schema: { type: 'object' } };
    const found = await ofPlane({ crds: [first, ...rest] });
    expect(found['kinds are installed and current']).toEqual(
      warns(`of another version: ${kinds[0]?.kind ?? ''}`, 'virtctl crd | kubectl apply'),
    );
  });

  it('warns of executors that are dead, and of none', async () => {
    const dead = await ofPlane({ leases: [lease('n1', -5), lease('n2', -90), lease('n3', -3600)] });
    expect(dead['executors are alive']).toEqual(
      warns('n2 was last heard of 90 s ago; n3 was last heard of 3600 s ago', 'systemctl status virtctl-executor'),
    );
    expect((await ofPlane({ leases: [] }))['executors are alive']).toEqual(
      warns('there is none', 'virtctl executor --node-name NAME'),
    );
  });

  it('tells a dead executor from a clock that is ahead, and tells of both', async () => {
    const found = await ofPlane({ leases: [lease('n1', 600, -90), lease('n2', -300, -5), lease('n3', 0, -1)] });
    expect(found['clocks agree']).toEqual(
      warns('n1 is 690 s ahead of the API server; n2 is 295 s behind the API server', 'chrony'),
    );
    expect(found['executors are alive']).toMatchObject({ status: 'warn', message: 'n1 was last heard of 90 s ago' });
  });

  it('does not take a label that was set on a lease for a sign of life', async () => {
    const found = await ofPlane({ leases: [lease('n1', -90, -90, -1)] });
    expect(found['executors are alive']).toMatchObject({ status: 'warn' });
    expect(found['clocks agree']).toMatchObject({ status: 'ok' });
  });

  it.each([
    [300, 'this host is 300 s behind the API server'],
    [-300, 'this host is 300 s ahead of the API server'],
  ])('warns of the clock of this host, and judges executors by the server’s: %i s', async (seconds, message) => {
    const leases = [lease('n1', seconds - 5), lease('n2', seconds - 90)];
    const found = await ofPlane({ serverTime: now + seconds * 1000, leases });
    expect(found['clocks agree']).toEqual(warns(message, 'chrony'));
    expect(found['executors are alive']).toMatchObject({ status: 'warn', message: 'n2 was last heard of 90 s ago' });
  });

  it('does not take a slow network for a clock that is off', async () => {
    const found = await ofPlane({ delaySeconds: 8, leases: [lease('n1', 60)] });
    expect(found['clocks agree']).toEqual({ status: 'ok', message: 'this host, n1 and the API server' });
    expect(found['executors are alive']).toMatchObject({ status: 'ok' });
    const off = await ofPlane({ delaySeconds: 8, serverTime: now - 600_000, leases: [] });
    expect(off['clocks agree']).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/^this host is \d{3} s ahead/) as string,
    });
  });

  it('vouches for no clock of which nothing is said', async () => {
    const found = await ofPlane({ isTimeless: true });
    expect(found['clocks agree']).toEqual({ status: 'ok', message: 'n1, n2 and the API server' });
    expect((await ofPlane({ isTimeless: true, leases: [] }))['clocks agree']).toEqual({
      status: 'skip',
      message: 'the API server does not say what time it is',
    });
  });

  it('fails where the server does not know this user', async () => {
    const found = await ofPlane({ unknownUser: true });
    expect(found['API server is reachable']).toMatchObject({
      status: 'fail',
      fix: 'the server did not accept the credentials of this kubeconfig',
    });
    expect(found['clocks agree']).toMatchObject({ status: 'skip' });
  });

  it('warns of domains whose machines are gone', async () => {
    expect((await ofPlane({ orphans: ['shop.web'] }))['domains have their machines']).toEqual(
      warns('the machines of these domains are gone: n1: shop.web', 'virtctl recover'),
    );
  });

  it('passes over what this user may not see, and says so', async () => {
    const found = await ofPlane({ forbidden: true });
    expect(found['executors are alive']).toMatchObject({
      status: 'skip',
      fix: expect.stringContaining('kubectl auth can-i') as string,
    });
    class Denied extends ForbiddenError {}
    const check = { name: 'x', fix: 'y', run: () => Promise.reject(new Denied('no', { hint: 'ask' })) };
    expect(await runCheck(check, signal)).toEqual({ status: 'skip', message: 'no', fix: 'ask' });
  });
});

interface Spec {
  versions: { schema: unknown }[];
}

describe('virtctl doctor, as a program calls it', () => {
  it('ends with 1 where a check fails, and prints each with its fix', async () => {
    const uri = 'qemu+unix:///system?socket=/nonexistent/socket';
    const { exitCode, stdout, stderr } = await commandLine(['doctor', '--connect', uri]);
    expect([exitCode, stderr]).toEqual([1, '']);
    expect(stdout).toMatch(/^FAIL {2}libvirt is reachable: .*nonexistent.*\n {6}fix: systemctl start libvirtd/);
    expect(stdout).toMatch(/\nFAIL {2}API server is reachable: .*\n {6}fix: start one with `virtctl standalone`/);
    const json = await commandLine(['doctor', '--connect', uri, '-o', 'json']);
    const found = JSON.parse(json.stdout) as { readonly status: string; readonly fix?: string }[];
    expect(found.filter(({ status }) => status === 'fail').map(({ fix }) => typeof fix)).toEqual(['string', 'string']);
    expect(json.exitCode).toBe(1);
  });

  it('ends with 0 where none fails, against a standalone server; its clock and a node’s are found there', async () => {
    const folder = makeTestFolder('doctor');
    const server = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
    const connection = await selectConnection({ kubeconfig: server.kubeconfig, env: {}, home: '/', cwd: '/' });
    const client = new KubeClient(connection);
    try {
      const { metadata: _, ...rest } = lease('n1', 0) as { metadata: unknown; apiVersion: string; kind: string };
      const renewTime = new Date(Date.now() + 3_600_000).toISOString().replace('Z', '000Z');
      const spec = { holderIdentity: 'n1', leaseDurationSeconds: 40, renewTime };
      const namespaces = client.resource(builtin.namespaces);
      const metadata = { name: 'n1', namespace: 'virtctl-node-lease' };
      if ((await namespaces.find({ name: metadata.namespace })) === undefined) {
        await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: metadata.namespace } });
      }
      await client.resource(builtin.leases).create({ ...rest, metadata, spec } as never);
      const args = ['doctor', '--only', 'control-plane', '--kubeconfig', server.kubeconfig];
      const { exitCode, stdout } = await commandLine(args);
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(/\nwarn {2}clocks agree: n1 is 3\d\d\d s ahead of the API server\n/);
      expect(stdout).toContain('\nok    executors are alive: n1\n');
      expect(stdout).toContain('kinds, built into the server\n');
    } finally {
      client.close();
      await server.close();
      await rm(join(folder), { recursive: true, force: true });
    }
  });
});
