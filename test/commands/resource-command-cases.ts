/** What the commands for objects do, the same against every API server: the embedded one and a real kube-apiserver. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { hypervisorKind, virtualMachineKind, virtualMachineOperationKind } from '../../src/api/kinds.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { resourceOf } from '../../src/cli/resources/known-resources.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { EventRecorder, type KubeEvent } from '../../src/reconcile/event-recorder.ts';
import { commandLine, type CommandResult, type CommandSurroundings } from '../support/command-line.ts';

/** A server that the cases run against. */
export interface CaseServer {
  readonly kubeconfigPath: string;
  readonly stop: () => Promise<void>;
  /** A token of a user who may do nothing; the embedded server knows one user only. */
  readonly nobodyToken?: string;
}

type Machine = KubeObject & { readonly spec: Record<string, unknown>; readonly status?: Record<string, unknown> };

const vmYaml = (name: string, more = ''): string => `apiVersion: virtctl.dev/v1alpha1
kind: VirtualMachine
metadata:
  name: ${name}
  labels: {app: ${name}}
spec:
  domain:
    memory: {unit: MiB, value: 64}
    os: {type: {arch: x86_64, machine: q35, value: hvm}}
${more}`;

/** Registers the cases; `start` starts the server once. `hasRights`: it knows users with and without rights. */
export function resourceCommandCases(start: () => Promise<CaseServer>, hasRights = false): void {
  let server: CaseServer;
  let client: KubeClient;
  let folder: string;
  const started: (() => Promise<void>)[] = [];
  let namespaces = 0;

  const run = (args: readonly string[], around: CommandSurroundings = {}): Promise<CommandResult> =>
    commandLine([...args, '--kubeconfig', server.kubeconfigPath], { cwd: folder, ...around });
  const machines = (): ReturnType<typeof client.resource<Machine>> =>
    client.resource<Machine>(resourceOf(virtualMachineKind));

  /** A namespace of its own for each case. */
  async function namespace(): Promise<string> {
    namespaces += 1;
    const name = `case-${namespaces}`;
    await client
      .resource<KubeObject>(builtin.namespaces)
      .create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    return name;
  }

  async function ok(args: readonly string[], around?: CommandSurroundings): Promise<string> {
    const result = await run(args, around);
    expect([result.exitCode, result.stderr], args.join(' ')).toEqual([0, '']);
    return result.stdout;
  }

  const lines = (text: string): string[][] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s{2,}/));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-cases-'));
    started.push(() => rm(folder, { recursive: true, force: true }));
    server = await start();
    started.push(() => server.stop());
    client = new KubeClient(
      await selectConnection({ kubeconfig: server.kubeconfigPath, env: {}, home: '/', cwd: '/' }),
    );
    started.push(() => {
      client.close();
      return Promise.resolve();
    });
  });

  afterAll(async () => {
    for (const end of started.reverse()) await end();
  });

  describe('create', () => {
    it('creates what standard input says, with the defaults that it shows', async () => {
      const ns = await namespace();
      expect(await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web') })).toBe(
        'virtualmachine.virtctl.dev/web created\n',
      );
      const { spec } = await machines().get({ namespace: ns, name: 'web' });
      expect(spec).toMatchObject({
        runStrategy: 'Always',
        domain: { type: 'kvm', devices: { serial: [{ type: 'pty' }] } },
      });
    });

    it('ends with 4 for an object that exists, and creates the others', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const result = await run(['create', '-f', '-', '-n', ns], { stdin: `${vmYaml('a')}---\n${vmYaml('b')}` });
      expect(result.exitCode).toBe(4);
      expect(result.stderr).toMatch(/error: .*"a" already exists/);
      expect(result.stdout).toBe('virtualmachine.virtctl.dev/b created\n');
    });

    it('tells where a file is wrong, ends with 8 and stores nothing', async () => {
      const ns = await namespace();
      await writeFile(join(folder, 'wrong.yaml'), vmYaml('wrong', '  runStrateg: Always\n'));
      const result = await run(['create', '-f', 'wrong.yaml', '-n', ns]);
      expect(result.exitCode).toBe(8);
      expect(result.stderr).toMatch(/wrong\.yaml:10:3: spec\.runStrateg: unknown key; did you mean runStrategy\?/);
      expect((await machines().list({ namespace: ns })).items).toEqual([]);
    });

    it('refuses 128 KiB and a byte with the size', async () => {
      const ns = await namespace();
      const base = vmYaml('big', '    description: ');
      const stdin = `${base}${'x'.repeat(128 * 1024 + 1 - base.length - 1)}\n`;
      expect(stdin.length).toBe(128 * 1024 + 1);
      const result = await run(['create', '-f', '-', '-n', ns], { stdin });
      expect([result.exitCode, result.stdout]).toEqual([8, '']);
      expect(result.stderr).toMatch(/\b13\d{4} bytes/);
    });

    it('makes a machine from flags, and only shows it with --dry-run=client', async () => {
      const ns = await namespace();
      const flags = [
        '--cpus',
        '2',
        '--memory',
        '2Gi',
        '--disk',
        'web-root,boot=1',
        '--interface',
        'front',
        '--label',
        'app=web',
      ];
      const shown = await ok(['create', 'vm', 'web', '-n', ns, ...flags, '--dry-run=client', '-o', 'yaml']);
      expect(parse(shown)).toMatchObject({
        kind: 'VirtualMachine',
        metadata: { name: 'web', namespace: ns, labels: { app: 'web' } },
        spec: {
          runStrategy: 'Always',
          volumes: [{ name: 'web-root', virtualDisk: 'web-root', bootOrder: 1, target: { bus: 'virtio' } }],
          interfaces: [{ name: 'eth0', virtualNetwork: 'front', model: 'virtio' }],
          domain: {
            type: 'kvm',
            vcpu: { value: 2 },
            memory: { unit: 'GiB', value: 2 },
            os: { type: { machine: 'q35' } },
          },
        },
      });
      const xml = await ok(['create', 'vm', 'web', '-n', ns, ...flags, '--dry-run=client', '-o', 'xml']);
      expect(xml).toMatch(/<domain type="kvm">[^]*<vcpu>2<\/vcpu>/);
      expect((await machines().list({ namespace: ns })).items).toEqual([]);
      // A server that knows our rules warns of what the machine names before it is there.
      const created = await run(['create', 'vm', 'web', '-n', ns, ...flags, '--no-start']);
      expect([
        created.exitCode,
        created.stderr.replace(/^Warning: spec\.\S+: there is no \w+ "[^"]+" in \S+ yet\n/gm, ''),
      ]).toEqual([0, '']);
      expect((await machines().get({ namespace: ns, name: 'web' })).spec['runStrategy']).toBe('Halted');
    });

    it('checks with --dry-run=server and stores nothing', async () => {
      const ns = await namespace();
      expect(await ok(['create', '-f', '-', '-n', ns, '--dry-run=server'], { stdin: vmYaml('web') })).toBe(
        'virtualmachine.virtctl.dev/web created (server dry run)\n',
      );
      expect((await machines().list({ namespace: ns })).items).toEqual([]);
    });

    it("takes libvirt's XML, and adds nothing to it", async () => {
      const ns = await namespace();
      const stdin = '<domain type="qemu"><name>Old_One</name><memory>65536</memory><os><type>hvm</type></os></domain>';
      expect(await ok(['create', '-f', '-', '-n', ns], { stdin })).toBe('virtualmachine.virtctl.dev/old-one created\n');
      const { spec } = await machines().get({ namespace: ns, name: 'old-one' });
      expect(spec['domain']).toEqual({
        type: 'qemu',
        name: 'Old_One',
        memory: { value: 65536 },
        os: { type: { value: 'hvm' } },
      });
    });
  });

  describe('apply', () => {
    it('creates, says when nothing changed, and changes', async () => {
      const ns = await namespace();
      const apply = (stdin: string): Promise<string> => ok(['apply', '-f', '-', '-n', ns], { stdin });
      expect(await apply(vmYaml('web'))).toBe('virtualmachine.virtctl.dev/web created\n');
      expect(await apply(vmYaml('web'))).toBe('virtualmachine.virtctl.dev/web unchanged\n');
      expect(await apply(vmYaml('web', '  runStrategy: Halted\n'))).toBe('virtualmachine.virtctl.dev/web configured\n');
      expect((await machines().get({ namespace: ns, name: 'web' })).spec['runStrategy']).toBe('Halted');
    });

    it('takes what get -o yaml printed', async () => {
      const ns = await namespace();
      await ok(['apply', '-f', '-', '-n', ns], { stdin: vmYaml('web') });
      const stdin = await ok(['get', 'vm/web', '-n', ns, '-o', 'yaml']);
      expect(await ok(['apply', '-f', '-', '-n', ns], { stdin })).toBe('virtualmachine.virtctl.dev/web unchanged\n');
    });

    it('leaves alone what somebody else has set, ends with 4, and takes it over when forced', async () => {
      const ns = await namespace();
      await ok(['apply', '-f', '-', '-n', ns, '--field-manager', 'other'], {
        stdin: vmYaml('web', '  priority: 1\n'),
      });
      const args = ['apply', '-f', '-', '-n', ns];
      const refused = await run(args, { stdin: vmYaml('web', '  priority: 2\n') });
      expect([refused.exitCode, refused.stdout]).toEqual([4, '']);
      expect(refused.stderr).toMatch(/conflict with "other"[^]*\.spec\.priority[^]*--force-conflicts/);
      await ok([...args, '--force-conflicts'], { stdin: vmYaml('web', '  priority: 2\n') });
      expect((await machines().get({ namespace: ns, name: 'web' })).spec['priority']).toBe(2);
    });
  });

  describe('get', () => {
    it('lists in a table, in every namespace with -A, and wider with -o wide', async () => {
      const ns = await namespace();
      for (const name of ['a', 'b']) await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml(name) });
      await machines().mergePatch(
        { namespace: ns, name: 'a' },
        {
          status: {
            printableStatus: 'Running',
            nodeName: 'n1',
            interfaces: [{ mac: '52:54:00:00:00:01', ips: ['10.0.0.1'] }],
          },
        },
        { subresource: 'status' },
      );
      const [header, a, b] = lines(await ok(['get', 'vm', '-n', ns]));
      expect(header).toEqual(['NAME', 'STATUS', 'READY', 'NODE', 'AGE']);
      expect(a?.slice(0, 3)).toEqual(['a', 'Running', 'n1']);
      expect(b?.[0]).toBe('b');
      const all = lines(await ok(['get', 'virtualmachines.virtctl.dev', '-A', '-l', 'app=a', '--no-headers']));
      expect(all.filter(([where]) => where === ns).map((cells) => cells[1])).toEqual(['a']);
      const wide = await ok(['get', 'vms', '-n', ns, '-o', 'wide', '--show-labels']);
      expect(wide).toMatch(/STRATEGY\s+IP\s+RESTART\s+DRIFT\s+DOMAIN\s+LABELS\n.*Always\s+10\.0\.0\.1\s+app=a/);
    });

    it('names what is not there, ends with 3, and prints the rest', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const result = await run(['get', 'vm', 'a', 'nope', '-n', ns, '-o', 'name']);
      expect([result.exitCode, result.stdout]).toEqual([3, 'virtualmachine.virtctl.dev/a\n']);
      expect(result.stderr).toBe('error: virtualmachines.virtctl.dev "nope" not found\n');
      expect((await run(['get', 'vm', 'nope', '-n', ns, '--ignore-not-found'])).exitCode).toBe(0);
    });

    it('says on stderr when there is nothing', async () => {
      const ns = await namespace();
      const { exitCode, stdout, stderr } = await run(['get', 'vm', '-n', ns]);
      expect([exitCode, stdout, stderr]).toEqual([0, '', `No resources found in ${ns} namespace.\n`]);
    });

    it('prints several kinds one after the other, with their kind before the name', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const disk = {
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualDisk',
        metadata: { name: 'd' },
        spec: { capacity: '1Gi' },
      };
      await ok(['create', '-f', '-', '-n', ns], { stdin: JSON.stringify(disk) });
      const text = await ok(['get', 'vm,vdisk', '-n', ns]);
      expect(text).toMatch(
        /^NAME[^]*\nvirtualmachine\.virtctl\.dev\/a [^]*\n\nNAME[^]*\nvirtualdisk\.virtctl\.dev\/d /,
      );
      expect(await ok(['get', 'vm/a', 'vdisk/d', '-n', ns, '-o', 'name'])).toBe(
        'virtualmachine.virtctl.dev/a\nvirtualdisk.virtctl.dev/d\n',
      );
    });

    it('prints JSON, YAML, JSONPath, columns of choice and XML', async () => {
      const ns = await namespace();
      for (const name of ['a', 'b']) await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml(name) });
      const one = JSON.parse(await ok(['get', 'vm', 'a', '-n', ns, '-o', 'json'])) as KubeObject;
      expect([one.kind, one.metadata.name, one.metadata.managedFields]).toEqual(['VirtualMachine', 'a', undefined]);
      const list = parse(await ok(['get', 'vm', '-n', ns, '-o', 'yaml'])) as { kind: string; items: KubeObject[] };
      expect([list.kind, list.items.map((item) => item.metadata.name)]).toEqual(['List', ['a', 'b']]);
      const template = '{range .items[*]}{.metadata.name}={.spec.domain.memory.value}{"\\n"}{end}';
      expect(await ok(['get', 'vm', '-n', ns, '-o', `jsonpath=${template}`])).toBe('a=64\nb=64\n');
      expect(await ok(['get', 'vm', '-n', ns, '-o', 'custom-columns=NAME:.metadata.name,NODE:.spec.nodeName'])).toBe(
        'NAME   NODE\na      <none>\nb      <none>\n',
      );
      expect(await ok(['get', 'vm', 'a', '-n', ns, '-o', 'xml'])).toMatch(
        /^<domain type="kvm">[^]*<memory unit="MiB">64</,
      );
    });

    it('sorts, and selects by field', async () => {
      const ns = await namespace();
      for (const [name, priority] of [
        ['a', 3],
        ['b', 1],
        ['c', 2],
      ] as const) {
        await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml(name, `  priority: ${priority}\n`) });
      }
      const sorted = lines(await ok(['get', 'vm', '-n', ns, '--sort-by', '.spec.priority', '--no-headers']));
      expect(sorted.map(([name]) => name)).toEqual(['b', 'c', 'a']);
      expect(await ok(['get', 'vm', '-n', ns, '--field-selector', 'metadata.name=b', '-o', 'name'])).toBe(
        'virtualmachine.virtctl.dev/b\n',
      );
    });

    it('goes on printing changes with --watch, until it is interrupted', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const interrupt = new AbortController();
      const watching = run(['get', 'vm', '-n', ns, '-w', '-o', 'jsonpath={.metadata.name}:{.spec.priority}'], {
        signal: interrupt.signal,
        onOutput: (text) => {
          if (text.includes('a:7')) interrupt.abort(new Error('enough'));
          else if (text.includes('a:'))
            void machines().mergePatch({ namespace: ns, name: 'a' }, { spec: { priority: 7 } });
        },
      });
      const { exitCode, stdout } = await watching;
      expect([exitCode, stdout]).toEqual([0, 'a:\na:7\n']);
    });

    it('refuses kinds and formats that there are not, with 2', async () => {
      const kind = await run(['get', 'vmm']);
      expect([kind.exitCode, kind.stderr]).toEqual([
        2,
        expect.stringMatching(/there is no kind "vmm"[^]*did you mean vm/),
      ]);
      expect((await run(['get', 'vm', '-o', 'toml'])).exitCode).toBe(2);
      expect((await run(['get', 'vm', '-o', 'jsonpath={.a'])).exitCode).toBe(2);
      expect((await run(['get'])).exitCode).toBe(2);
    });

    it('ends with 6 when there is no server', async () => {
      const { exitCode, stderr } = await commandLine(['get', 'vm'], { env: { KUBECONFIG: '/nonexistent' } });
      expect([exitCode, stderr]).toEqual([6, expect.stringMatching(/^error: /)]);
    });
  });

  describe('without rights', () => {
    const kubeconfigOf = async (token: string): Promise<string> => {
      const config = parse(await readFile(server.kubeconfigPath, 'utf8')) as { users: object[] };
      config.users = config.users.map((user) => ({ ...user, user: { token } }));
      const file = join(folder, 'other-user');
      await writeFile(file, JSON.stringify(config));
      return file;
    };
    const calls = ['get vm', 'get vm web -o yaml', 'create -f -', 'apply -f -', 'start web', 'delete vm web'];
    const callAs = async (token: string, line: string): Promise<[number, string]> => {
      const words = [...line.split(' '), '--kubeconfig', await kubeconfigOf(token)];
      const { exitCode, stderr } = await commandLine(words, { cwd: folder, stdin: vmYaml('web') });
      return [exitCode, stderr];
    };

    it.each(calls)('%s ends with 7 for somebody whom the server does not know', async (line) => {
      const told: unknown = expect.stringMatching(/^error: .*(Unauthorized|must be logged in)/m);
      expect(await callAs('wrong', line)).toEqual([7, told]);
    });

    if (hasRights) {
      it.each(calls)("%s ends with 7 for somebody who may not, in the server's words", async (line) => {
        expect(await callAs(server.nobodyToken ?? '', line)).toEqual([
          7,
          expect.stringMatching(/User "nobody" cannot/),
        ]);
      });
    }
  });

  describe('describe and events', () => {
    it('show a machine with its conditions and events on one page', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web') });
      const machine = await machines().get({ namespace: ns, name: 'web' });
      const condition = {
        type: 'Ready',
        status: 'False',
        reason: 'StartFailed',
        message: 'internal error: no such disk\u001b[31m',
        lastTransitionTime: '2024-01-01T00:00:00Z',
      };
      await machines().mergePatch(
        { namespace: ns, name: 'web' },
        {
          status: {
            printableStatus: 'Error',
            conditions: [condition],
            restartRequired: [{ path: 'vcpu.value', from: '1', to: '2' }],
          },
        },
        { subresource: 'status' },
      );
      await client.resource<KubeObject>({ ...builtin.events, group: '', version: 'v1' }).create({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: 'web.1', namespace: ns },
        involvedObject: { kind: 'VirtualMachine', name: 'web', namespace: ns, uid: machine.metadata.uid },
        type: 'Warning',
        reason: 'StartFailed',
        message: 'libvirt refused it\nFAKE LINE',
        firstTimestamp: '2024-01-01T00:00:00Z',
        lastTimestamp: '2024-01-01T00:00:00Z',
      } as KubeObject);
      const page = await ok(['describe', 'vm', 'web', '-n', ns]);
      expect(page).toMatch(/^Name: +web\nNamespace: +case-/);
      expect(page).toMatch(/Status: +Error\n/);
      expect(page).toMatch(/Takes effect at the next start:\n +FIELD +NOW +THEN\n +vcpu\.value +1 +2\n/);
      expect(page).toMatch(/Conditions:\n[^]*Ready +False +StartFailed +\S+ +internal error: no such disk/);
      expect(page).toMatch(/Events:\n[^]*Warning +StartFailed +\S* *libvirt refused it FAKE LINE\n/);
      expect(page).not.toContain('\u001b');
      const events = await ok(['events', 'vm/web', '-n', ns]);
      expect(lines(events)[1]?.slice(1)).toEqual([
        'Warning',
        'StartFailed',
        'virtualmachine/web',
        'libvirt refused it FAKE LINE',
      ]);
      const none = await run(['events', '-n', ns, '--types=Normal']);
      expect([none.exitCode, none.stdout]).toEqual([0, '']);
    });

    it('find the events of a cluster-wide object wherever they were written', async () => {
      const hypervisors = client.resource<KubeObject>(resourceOf(hypervisorKind));
      const { metadata } = await hypervisors.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'Hypervisor',
        metadata: { name: 'told' },
        spec: {},
      });
      // The recorder's own way, which kube-apiserver takes to kube-system, and another's, to default.
      const recorder = new EventRecorder({
        events: client.resource<KubeEvent>(builtin.events),
        controller: 'virtctl.dev/test',
        instance: 'test',
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
      });
      const stop = new AbortController();
      const running = recorder.run(stop.signal);
      const regarding = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor', metadata };
      recorder.record({ regarding, type: 'Warning', reason: 'NotReady', action: 'Watch', note: 'no sign of life' });
      stop.abort();
      await running;
      await client.resource<KubeObject>({ ...builtin.events, group: '', version: 'v1' }).create({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: 'told.1', namespace: 'default' },
        involvedObject: { kind: 'Hypervisor', name: 'told', uid: metadata.uid },
        type: 'Normal',
        reason: 'Rebooted',
        message: 'it was rebooted',
        firstTimestamp: '2024-01-01T00:00:00Z',
        lastTimestamp: '2024-01-01T00:00:00Z',
      } as KubeObject);
      const page = await ok(['describe', 'hv', 'told']);
      expect(page).toMatch(/Warning +NotReady +\S+ +no sign of life/);
      expect(page).toMatch(/Normal +Rebooted +\S+ +it was rebooted/);
      expect(lines(await ok(['events', 'hv/told'])).map((cells) => cells[2])).toEqual([
        'REASON',
        'Rebooted',
        'NotReady',
      ]);
      await hypervisors.delete({ name: 'told' });
    });

    it('end with 3 for what is not there, and never show a secret', async () => {
      const ns = await namespace();
      expect((await run(['describe', 'vm', 'nope', '-n', ns])).exitCode).toBe(3);
      for (const more of [['-l', 'app=b'], ['--field-selector', 'metadata.name=b'], ['-A'], ['-f', 'x.yaml']]) {
        expect([more, (await run(['describe', 'vm', 'nope', ...more])).exitCode]).toEqual([more, 2]);
      }
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { password: 'hunter2' } };
      await ok(['create', '-f', '-', '-n', ns], { stdin: JSON.stringify(secret) });
      const page = await ok(['describe', 'secret', 's', '-n', ns]);
      expect(page).toMatch(/password +7 bytes/);
      expect(page).not.toMatch(/hunter2|aHVudGVyMg/);
    });
  });

  describe('set-password', () => {
    const operations = (): ReturnType<typeof client.resource<VirtualMachineOperation>> =>
      client.resource<VirtualMachineOperation>(resourceOf(virtualMachineOperationKind));
    const secretsOf = async (ns: string): Promise<KubeObject[]> =>
      (await client.resource<KubeObject>(builtin.secrets).listAll({ namespace: ns })).items.filter(({ metadata }) =>
        metadata.name?.startsWith('web-password-'),
      );
    const setPassword = (ns: string, ...more: string[]): Promise<CommandResult> =>
      run(['set-password', 'web', '--user', 'root', '--password-file', '-', '-n', ns, ...more], { stdin: 'tr0ub4dor' });

    it('leaves the Secret to the operation, and the operation only for a minute, when nobody waits', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web') });
      expect(await setPassword(ns, '--wait=false')).toMatchObject({ exitCode: 0, stderr: '' });
      const [operation] = (await operations().listAll({ namespace: ns })).items;
      expect(operation?.spec.ttlSecondsAfterFinished).toBe(60);
      const { uid } = operation?.metadata ?? {};
      expect((await secretsOf(ns)).map(({ metadata }) => metadata.ownerReferences)).toMatchObject([
        [{ kind: 'VirtualMachineOperation', uid }],
      ]);
    });

    it.each(['Succeeded', 'Failed'])('takes the Secret away when the operation has %s', async (phase) => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web') });
      const running = setPassword(ns, '--timeout', '30s');
      let name: string | undefined;
      while (name === undefined) {
        await delay(20);
        name = (await operations().listAll({ namespace: ns })).items[0]?.metadata.name;
      }
      expect(await secretsOf(ns)).toHaveLength(1);
      const patch = { status: { phase, reason: 'Told', message: 'told by the test' } };
      await operations().mergePatch({ namespace: ns, name }, patch, { subresource: 'status' });
      const result = await running;
      expect(result.exitCode).toBe(phase === 'Failed' ? 1 : 0);
      expect(result.stdout + result.stderr).not.toContain('tr0ub4dor');
      expect(await secretsOf(ns)).toEqual([]);
    });
  });

  describe('label, delete and wait', () => {
    it('label sets, refuses to change without --overwrite, and removes', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      expect(await ok(['label', 'vm', 'a', 'tier=front', '-n', ns])).toBe('virtualmachine.virtctl.dev/a labeled\n');
      expect(await ok(['label', 'vm/a', 'tier=front', '-n', ns])).toBe('virtualmachine.virtctl.dev/a not labeled\n');
      expect((await run(['label', 'vm/a', 'tier=back', '-n', ns])).exitCode).toBe(4);
      await ok(['label', 'vm', '-l', 'tier=front', 'tier=back', 'app-', '--overwrite', '-n', ns]);
      expect((await machines().get({ namespace: ns, name: 'a' })).metadata.labels).toEqual({ tier: 'back' });
    });

    it('label changes what its flags select and its files hold, and nothing where they contradict each other', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: `${vmYaml('a')}---\n${vmYaml('b')}---\n${vmYaml('c')}` });
      const labelled = async (): Promise<readonly (string | undefined)[]> =>
        (await machines().listAll({ namespace: ns, labelSelector: 'tier' })).items.map(({ metadata }) => metadata.name);
      for (const args of [
        ['vm', 'a', 'tier=x', '--all'],
        ['vm', 'a', 'tier=x', '-l', 'app=b'],
        ['vm', 'a', 'tier=x', '-A'],
        ['vm', 'a', 'tier=x', '-f', '-'],
        ['tier=x', '-f', '-', '-l', 'app=b'],
        ['vm', 'tier=x'],
      ]) {
        expect([args, (await run(['label', ...args, '-n', ns])).exitCode]).toEqual([args, 2]);
      }
      expect(await labelled()).toEqual([]);
      await ok(['label', 'vm', '--field-selector', 'metadata.name=a', 'tier=x', '-n', ns]);
      expect(await labelled()).toEqual(['a']);
      await ok(['label', '-f', '-', 'tier=x', '-n', ns], { stdin: vmYaml('b') });
      expect(await labelled()).toEqual(['a', 'b']);
    });

    it('delete waits until the object is gone, and times out with 5 while a finalizer keeps it', async () => {
      const ns = await namespace();
      const kept = vmYaml('kept').replace('metadata:\n', 'metadata:\n  finalizers: [virtctl.dev/test]\n');
      await ok(['create', '-f', '-', '-n', ns], { stdin: `${vmYaml('a')}---\n${kept}` });
      expect(await ok(['delete', 'vm', 'a', '-n', ns])).toBe('virtualmachine.virtctl.dev/a deleted\n');
      const late = await run(['delete', 'vm/kept', '-n', ns, '--timeout=1s', '--grace-period=5']);
      expect([late.exitCode, late.stdout]).toEqual([5, 'virtualmachine.virtctl.dev/kept deleted\n']);
      const machine = await machines().get({ namespace: ns, name: 'kept' });
      expect(machine.spec['terminationGracePeriodSeconds']).toBe(5);
      const gone = run(['wait', 'vm/kept', '--for=delete', '-n', ns]);
      await delay(50);
      await machines().mergePatch({ namespace: ns, name: 'kept' }, { metadata: { finalizers: null } });
      expect(await gone).toEqual({ exitCode: 0, stdout: 'virtualmachine.virtctl.dev/kept deleted\n', stderr: '' });
    });

    it('apply and plan go on with what create and set made, and never with what somebody else set', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web', '  priority: 1\n') });
      const change = { stdin: vmYaml('web', '  priority: 2\n') };
      expect(await ok(['apply', '-f', '-', '-n', ns], change)).toBe('virtualmachine.virtctl.dev/web configured\n');
      await ok(['set', 'vm', 'web', '--title', 'new', '--wait=false', '-n', ns]);
      expect((await machines().get({ namespace: ns, name: 'web' })).spec['priority']).toBe(2);
      await machines().mergePatch({ namespace: ns, name: 'web' }, { spec: { priority: 3 } }, { fieldManager: 'other' });
      const refused = await run(['apply', '-f', '-', '-n', ns], change);
      expect(refused.exitCode).toBe(4);
      expect(refused.stderr).toContain('--force-conflicts');
    });

    it('set says what a change waits for when its time is over', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('web', '  nodeName: n1\n') });
      const condition = {
        ...{ type: 'Synchronized', status: 'False', reason: 'VolumeNotReady', message: 'there is no VirtualDisk "a"' },
        lastTransitionTime: '2024-01-01T00:00:00Z',
      };
      const status = { observedGeneration: 99, conditions: [condition] };
      await machines().mergePatch({ namespace: ns, name: 'web' }, { status }, { subresource: 'status' });
      const late = await run(['set', 'vm', 'web', '--cpus', '2', '--timeout=1s', '-n', ns]);
      expect(late.exitCode).toBe(5);
      expect(late.stderr).toMatch(
        /^error: timed out after 1 s: .*vm\/web; last seen VolumeNotReady: there is no VirtualDisk "a"\n/,
      );
      expect(late.stderr).toContain('hint: virtctl why vm/web');
    });

    it('delete asks for everything before it waits for the first', async () => {
      const ns = await namespace();
      const kept = (name: string): string =>
        vmYaml(name).replace('metadata:\n', 'metadata:\n  finalizers: [virtctl.dev/test]\n');
      await ok(['create', '-f', '-', '-n', ns], { stdin: `${kept('a')}---\n${kept('b')}` });
      const late = await run(['delete', 'vm', 'a', 'b', '-n', ns, '--timeout=1s']);
      expect(late.exitCode).toBe(5);
      expect(late.stdout).toBe('virtualmachine.virtctl.dev/a deleted\nvirtualmachine.virtctl.dev/b deleted\n');
      expect(late.stderr.match(/timed out after/g)).toHaveLength(2);
      for (const name of ['a', 'b']) {
        expect((await machines().get({ namespace: ns, name })).metadata.deletionTimestamp).toBeDefined();
        await machines().mergePatch({ namespace: ns, name }, { metadata: { finalizers: null } });
      }
    });

    it('delete takes selectors and files, and refuses what is protected', async () => {
      const ns = await namespace();
      const guarded = vmYaml('guarded', '  deletionProtection: true\n');
      await ok(['create', '-f', '-', '-n', ns], { stdin: [vmYaml('a'), vmYaml('b'), guarded].join('---\n') });
      expect((await run(['delete', 'vm', '-n', ns])).exitCode).toBe(2);
      expect(await ok(['delete', 'vm', '-l', 'app=a', '-n', ns, '-o', 'name'])).toBe('virtualmachine.virtctl.dev/a\n');
      expect(await ok(['delete', '-f', '-', '-n', ns, '--dry-run=server'], { stdin: vmYaml('b') })).toMatch(
        /server dry run/,
      );
      expect(await ok(['delete', '-f', '-', '-n', ns], { stdin: vmYaml('b') })).toBe(
        'virtualmachine.virtctl.dev/b deleted\n',
      );
      const refused = await run(['delete', 'vm', 'guarded', '-n', ns]);
      expect([refused.exitCode, refused.stderr]).toEqual([8, expect.stringMatching(/is protected/)]);
      expect((await run(['delete', 'vm', 'nope', '-n', ns])).exitCode).toBe(3);
      expect((await run(['delete', 'vm', 'nope', '-n', ns, '--ignore-not-found'])).exitCode).toBe(0);
    });

    it('wait sees conditions and values come, and times out with 5', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const late = await run(['wait', 'vm/a', '--for=condition=Ready', '--timeout=1s', '-n', ns]);
      expect([late.exitCode, late.stderr]).toEqual([5, expect.stringMatching(/condition=Ready of virtualmachine/)]);
      const ready = run([
        'wait',
        'vm',
        'a',
        '--for=condition=ready',
        '--for=jsonpath={.status.printableStatus}=Running',
        '-n',
        ns,
      ]);
      await delay(50);
      const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: '2024-01-01T00:00:00Z' }];
      await machines().mergePatch(
        { namespace: ns, name: 'a' },
        { status: { printableStatus: 'Running', conditions } },
        { subresource: 'status' },
      );
      expect(await ready).toEqual({ exitCode: 0, stdout: 'virtualmachine.virtctl.dev/a condition met\n', stderr: '' });
      expect((await run(['wait', 'vm/nope', '--for=condition=Ready', '-n', ns])).exitCode).toBe(3);
      expect((await run(['wait', 'vm/a', '--for=nonsense', '-n', ns])).exitCode).toBe(2);
    });
  });

  describe('edit', () => {
    async function editor(script: string): Promise<Record<string, string>> {
      const file = join(folder, `editor-${Math.random().toString(36).slice(2)}`);
      await writeFile(file, `#!/bin/sh\n${script}\n`);
      await chmod(file, 0o755);
      return { EDITOR: file };
    }

    it('writes back what was changed in the editor', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const env = await editor(`sed -i 's/runStrategy: Always/runStrategy: Halted/' "$1"`);
      expect(await ok(['edit', 'vm', 'a', '-n', ns], { env })).toBe('virtualmachine.virtctl.dev/a edited\n');
      expect((await machines().get({ namespace: ns, name: 'a' })).spec['runStrategy']).toBe('Halted');
    });

    it('changes nothing when nothing was changed, or what is not valid', async () => {
      const ns = await namespace();
      await ok(['create', '-f', '-', '-n', ns], { stdin: vmYaml('a') });
      const same = await run(['edit', 'vm/a', '-n', ns], { env: await editor('true') });
      expect([same.exitCode, same.stdout, same.stderr]).toEqual([0, '', 'Edit cancelled, no changes made.\n']);
      const wrong = await run(['edit', 'vm/a', '-n', ns], { env: await editor(`sed -i 's/Always/Sometimes/' "$1"`) });
      expect([wrong.exitCode, wrong.stderr]).toEqual([8, expect.stringMatching(/spec\.runStrategy: expected one of/)]);
      const kept = /what you wrote is kept in (\S+)/.exec(wrong.stderr)?.[1] ?? '';
      expect(await readFile(kept, 'utf8')).toContain('Sometimes');
      await rm(dirname(kept), { recursive: true });
      const failed = await run(['edit', 'vm/a', '-n', ns], { env: await editor('exit 3') });
      expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringMatching(/ended with 3/)]);
    });
  });
}
