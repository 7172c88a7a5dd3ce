import { describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';

const validate = (stdin: string, ...flags: string[]): ReturnType<typeof commandLine> =>
  commandLine(['validate', '-', ...flags], { stdin });

const machine = (domain: string): string =>
  `apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: web\nspec:\n  domain:\n${domain}`;

describe('virtctl validate', () => {
  it('accepts a machine', async () => {
    const outcome = await validate(machine('    memory: {unit: MiB, value: 512}\n    vcpu: {value: 2}\n'));
    expect(outcome).toEqual({ exitCode: 0, stdout: '-: VirtualMachine web: valid\n', stderr: '' });
  });

  it('names every problem with its line, column and path, and the nearest key', async () => {
    const text = machine(
      '    memroy: {value: 1}\n    vcpu: {value: two}\n    devices:\n      disk:\n      - {type: fiel, driver: {cache: 1}}\n      rng: {model: virtio}\n',
    );
    const { exitCode, stderr, stdout } = await validate(text);
    expect(exitCode).toBe(8);
    expect(stdout).toBe('');
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toBe('error: -:7:5: spec.domain.memroy: unknown key; did you mean memory?');
    expect(lines[1]).toMatch(/^error: -:8:19: spec\.domain\.vcpu\.value: expected an integer.*found "two"/);
    expect(lines[2]).toMatch(/^error: -:11:16: spec\.domain\.devices\.disk\[0\]\.type: .*did you mean file\?/);
    expect(lines[3]).toMatch(/^error: -:11:38: spec\.domain\.devices\.disk\[0\]\.driver\.cache: expected one of /);
    expect(lines[4]).toMatch(/^error: -:12:7: spec\.domain\.devices\.rng: expected a list/);
  });

  it.each([
    [
      'kind: VirtualMachine\nmetadata: {name: a}\nspec: {}\n',
      'apiVersion: expected virtctl.dev/v1alpha1, found nothing',
    ],
    ['apiVersion: virtctl.dev/v1\nkind: VirtualMachine\nmetadata: {name: a}\n', '-:1:13: apiVersion: expected'],
    ['apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachin\nmetadata: {name: a}\n', '-:2:7: kind: '],
    ['apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachin\nmetadata: {name: a}\n', 'did you mean VirtualMachine?'],
    ['apiVersion: virtcl.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: a}\n', '-:1:13: apiVersion: expected'],
  ])('refuses the head %j', async (text, words) => {
    const { exitCode, stderr } = await validate(text);
    expect(exitCode).toBe(8);
    expect(stderr).toContain(words);
  });

  it.each([
    ['{name: Web}', '-:3:18: metadata.name: expected at most 253 lower-case'],
    ['{name: on}', 'the boolean true'],
    ['{nam: web}', '-:3:12: metadata.nam: unknown key; did you mean name?'],
    ['{name: web, namespace: a.b}', 'metadata.namespace: expected at most 63'],
    ['{name: web, labels: {a: 1}}', 'metadata.labels["a"]: expected a string, found 1'],
    ['{name: web, labels: {"a b": x}}', 'metadata.labels["a b"]: the key is not a name'],
    ['{name: web, labels: {a: "x y"}}', 'metadata.labels["a"]: expected at most 63 letters'],
    ['[]', 'metadata: '],
  ])('refuses the metadata %s', async (metadata, words) => {
    const text = `apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachine\nmetadata: ${metadata}\nspec: {domain: {}}\n`;
    const { exitCode, stderr } = await validate(text);
    expect(exitCode).toBe(8);
    expect(stderr).toContain(words);
  });

  it('refuses fields of ours that do not exist', async () => {
    const text = machine('    vcpu: {value: 1}\n').replace('spec:\n', 'spec:\n  runStratgy: Always\n');
    const { exitCode, stderr } = await validate(text);
    expect(exitCode).toBe(8);
    expect(stderr).toMatch(/^error: -:6:3: spec\.runStratgy: unknown .*runStrategy/);
  });

  it("names what libvirt's schema does not know in XML, at its place", async () => {
    const { exitCode, stderr } = await validate(
      "<domain type='kvm'>\n  <name>web</name>\n  <memroy>1</memroy>\n  <devices><disk type='fiel'/></devices>\n</domain>\n",
    );
    expect(exitCode).toBe(8);
    expect(stderr).toMatch(/^error: -:3:3: memroy: unknown element <memroy>; did you mean <memory>\?$/m);
    expect(stderr).toMatch(/^error: -:4:12: devices\.disk\[0\]\.type: expected one of /m);
  });

  it("accepts XML, and a document of libvirt's that has no kind of ours", async () => {
    expect((await validate('<network><name>n</name></network>')).stdout).toBe('-: network n: valid\n');
    expect((await validate('nwfilter: {name: f}\n')).stdout).toBe('-: nwfilter f: valid\n');
  });

  it('asks what a bare document is when its keys do not tell', async () => {
    const { exitCode, stderr } = await validate('name: x\n');
    expect(exitCode).toBe(8);
    expect(stderr).toContain('--kind');
    expect((await validate('name: x\n', '--kind', 'network')).exitCode).toBe(0);
    expect((await validate('name: x\n', '--kind', 'netwrok')).stderr).toContain('did you mean network?');
  });

  it('does not judge objects of other API groups', async () => {
    const { exitCode, stderr, stdout } = await validate('apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n');
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    expect(stderr).toBe('warning: -: Secret s: not checked, not a kind of virtctl\n');
  });

  it('says what is wrong in each document of a file', async () => {
    const { stderr, stdout } = await validate(`network: {name: 1}\n---\nnetwork: {name: b}\n---\nnetwork: [\n`);
    expect(stderr).toMatch(/^error: -:1:17: network\.name: /m);
    expect(stderr).toMatch(/^error: -:\d+:\d+: not YAML: /m);
    expect(stdout).toBe('-: network b: valid\n');
  });

  it('says nothing of a value that is right but unusually spelled', async () => {
    const { exitCode, stderr } = await validate('<network><name>a</name><mtu size="0900"/></network>');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  it('ends with 2 when nothing is named and with 3 for a file that does not exist', async () => {
    expect((await commandLine(['validate'])).exitCode).toBe(2);
    const { exitCode, stderr } = await commandLine(['validate', '/nonexistent.yaml']);
    expect(exitCode).toBe(3);
    expect(stderr).toBe('error: /nonexistent.yaml: no such file or folder\n');
  });

  it('warns of two networks that want the same, and refuses two machines that want the same address', async () => {
    const network = (name: string): string =>
      `apiVersion: virtctl.dev/v1alpha1\nkind: VirtualNetwork\nmetadata: {name: ${name}}\nspec:\n  network:\n    bridge: {name: br7}\n`;
    const web = (name: string): string =>
      `apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: ${name}}\nspec:\n  interfaces:\n  - {name: eth0, virtualNetwork: a, ip: 10.0.0.5}\n`;
    const networks = await validate(`${network('a')}---\n${network('b')}`);
    expect(networks.exitCode).toBe(0);
    expect(networks.stderr).toContain('warning: -:13:20: spec.network.bridge.name: the bridge "br7" is that of');
    const machines = await validate(`${web('one')}---\n${web('two')}`);
    expect(machines.exitCode).toBe(8);
    expect(machines.stderr).toContain('10.0.0.5 of VirtualNetwork "a" is that of VirtualMachine "one"');
  });
});
