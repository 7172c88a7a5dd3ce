import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { commandLine } from '../support/command-line.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtctl-convert-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const put = (name: string, text: string): void => {
  mkdirSync(join(folder, name, '..'), { recursive: true });
  writeFileSync(join(folder, name), text);
};
const get = (name: string): string => readFileSync(join(folder, name), 'utf8');
const all = (name: string): string[] => readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' }).sort();
const convert = (...args: string[]): ReturnType<typeof commandLine> =>
  commandLine(['convert', ...args], { cwd: folder });
const pipe = (stdin: string, ...args: string[]): ReturnType<typeof commandLine> =>
  commandLine(['convert', '-', ...args], { stdin });

const web = `<domain type='kvm'>
  <name>Web_1</name>
  <memory unit='MiB'>512</memory>
  <vcpu>2</vcpu>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a b.img'/><target dev='vda'/></disk>
    <video><model type='virtio'><resolution x='800' y='600'/></model></video>
  </devices>
</domain>
`;

describe('virtctl convert', () => {
  it("writes libvirt's XML as an object of ours in YAML, by the rules", async () => {
    const { exitCode, stdout, stderr } = await pipe(web);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(parse(stdout, { version: '1.1' })).toMatchObject({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web-1' },
      spec: {
        domain: {
          type: 'kvm',
          name: 'Web_1',
          memory: { unit: 'MiB', value: 512 },
          vcpu: { value: 2 },
          features: { acpi: {} },
          devices: {
            disk: [{ type: 'file', source: { file: '/a b.img' } }],
            video: [{ model: { resolution: { x: 800, y: 600 } } }],
          },
        },
      },
    });
    expect(stdout).toContain('"y": 600');
  });

  it('writes the YAML as XML again that says the same', async () => {
    const { stdout } = await pipe((await pipe(web)).stdout);
    const yaml = (await pipe(stdout)).stdout;
    expect(stdout).toContain('<acpi/>');
    expect(stdout).toContain('<resolution x="800" y="600"/>');
    expect((await pipe(yaml)).stdout).toBe(stdout);
  });

  it.each(['yaml', 'json', 'xml'])('takes every form and gives it as %s', async (format) => {
    const ordered = (await pipe(web, '-o', 'xml')).stdout;
    const expected = (await pipe(ordered, '-o', format)).stdout;
    for (const form of ['yaml', 'json', 'xml']) {
      const text = (await pipe(ordered, '-o', form)).stdout;
      expect((await pipe(text, '-o', format)).stdout).toBe(expected);
    }
  });

  it('leaves the object off with --bare, and finds out what a bare document is', async () => {
    const bare = await pipe(web, '--bare');
    expect(Object.keys(parse(bare.stdout) as object)).toEqual([
      'type',
      'name',
      'memory',
      'vcpu',
      'features',
      'devices',
    ]);
    expect((await pipe(bare.stdout)).stdout).toContain('<domain type="kvm">');
  });

  it.each([
    ['<network><name>n</name></network>', 'VirtualNetwork'],
    ["<pool type='dir'><name>p</name><target><path>/p</path></target></pool>", 'VirtualPool'],
    ["<volume><name>v</name><capacity unit='GiB'>1</capacity></volume>", 'VirtualDisk'],
    ['<domainsnapshot><name>s</name><domain><name>Web</name></domain></domainsnapshot>', 'VirtualMachineSnapshot'],
  ])('puts %s into a %s', async (xml, kind) => {
    const yaml = (await pipe(xml)).stdout;
    expect(parse(yaml)).toMatchObject({ kind });
    expect((await pipe(yaml)).stdout.replaceAll(/\n\s*/g, '')).toBe(xml.replaceAll("'", '"'));
  });

  it('writes a document without a kind of ours under the name of its root element', async () => {
    const yaml = (
      await pipe("<secret ephemeral='no' private='yes'><uuid>55806c7d-8e93-456f-829b-607d8c198367</uuid></secret>")
    ).stdout;
    expect(yaml).toMatch(/^secret:\n {2}ephemeral: false\n/);
    expect((await pipe(yaml)).stdout).toContain('<secret ephemeral="no" private="yes">');
  });

  it('does not take a document with but a domain for that domain', async () => {
    for (const xml of [
      "<domaincheckpoint><domain type='kvm'><name>a</name></domain></domaincheckpoint>",
      "<network><domain name='example'/></network>",
    ]) {
      for (const flags of [[], ['--bare']]) {
        const yaml = (await pipe(xml, ...flags)).stdout;
        expect((await pipe(yaml, '--bare', '-o', 'xml')).stdout).toMatch(new RegExp(`^${/^<[a-z]+>/.exec(xml)?.[0]}`));
      }
    }
    const bare = 'domain:\n  type: kvm\n  name: a\n';
    expect((await pipe(bare, '--kind', 'domaincheckpoint')).stdout).toContain('<domaincheckpoint>');
    expect((await pipe(bare)).stdout).toMatch(/^<domain type="kvm">/);
  });

  it('does not add a name to a document that has one which no schema takes', async () => {
    const yaml = (await pipe("<domain type='kvm'><name>a\nb</name></domain>")).stdout;
    expect((await pipe(yaml)).stdout.match(/<name>/g)).toHaveLength(1);
  });

  it('keeps what the schema does not know in the overlay, also without the object', async () => {
    const xml = "<domain type='kvm'><name>a</name><strange x='1'/></domain>";
    for (const flags of [[], ['--bare']]) {
      const { exitCode, stdout: yaml, stderr } = await pipe(xml, ...flags);
      expect(exitCode).toBe(0);
      expect(stderr).toBe('warning: -:1:34: strange: unknown element <strange>; it is kept in the overlay\n');
      expect(yaml).toContain('overlay:');
      expect((await pipe(yaml)).stdout).toContain("<strange x='1'/>");
    }
  });

  it('reads several documents and Lists, and prints several', async () => {
    const two = (await pipe('<network><name>a</name></network>\n<network><name>b</name></network>')).stdout;
    expect(two.split('---\n')).toHaveLength(2);
    const list = (await pipe(two, '-o', 'json')).stdout;
    expect(JSON.parse(list)).toMatchObject({
      kind: 'List',
      items: [{ kind: 'VirtualNetwork' }, { kind: 'VirtualNetwork' }],
    });
    const xml = (await pipe(list)).stdout;
    expect(xml.match(/<network>/g)).toHaveLength(2);
    expect((await pipe(xml)).stdout).toBe(two);
  });

  it('gives a domain the name and the type that it has to have when it has none', async () => {
    const head = 'apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachine\n';
    const xml = await pipe(`${head}metadata: {name: web, namespace: shop}\nspec: {domain: {vcpu: {value: 1}}}\n`);
    expect(xml.stdout).toMatch(/^<domain type="kvm">\n {2}<name>shop\.web<\/name>/);
    expect((await pipe(`${head}metadata: {name: web}\nspec: {domain: {name: Web}}\n`)).stdout).toContain(
      '<name>Web</name>',
    );
  });

  it('says which fields have no XML', async () => {
    const yaml = `${(await pipe(web)).stdout}  volumes:\n  - name: root\n    virtualDisk: web\n`;
    const { exitCode, stderr } = await pipe(yaml);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^warning: -:\d+:3: spec\.volumes: /);
  });
});

describe('virtctl convert --output-dir', () => {
  it('keeps relative names, with the new ending, in folders and their folders', async () => {
    put('in/a.xml', web);
    put('in/deep/er/b.xml', '<network><name>b</name></network>');
    put('in/notes.txt', 'no');
    const { exitCode, stdout, stderr } = await convert('in', '--output-dir', 'out');
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(all('out')).toEqual(['a.yaml', 'deep', 'deep/er', 'deep/er/b.yaml']);
    expect((await convert('out', '--output-dir', 'back')).exitCode).toBe(0);
    expect(get('back/deep/er/b.xml')).toBe('<network>\n  <name>b</name>\n</network>\n');
  });

  it('does not read its own results when the folder is inside of the one that is read', async () => {
    put('a.xml', web);
    for (const _run of [1, 2]) expect((await convert('.', '--output-dir', 'out')).exitCode).toBe(0);
    expect(all('out')).toEqual(['a.yaml']);
  });

  it('writes several XML documents of one file into one file each', async () => {
    put('two.yaml', 'network: {name: a}\n---\nnetwork: {name: b}\n');
    await convert('two.yaml', '--output-dir', 'out');
    expect(all('out')).toEqual(['two-1.xml', 'two-2.xml']);
    await convert('two.yaml', '--output-dir', 'out', '-o', 'json');
    expect(JSON.parse(get('out/two.json'))).toMatchObject({ kind: 'List' });
  });

  it('goes on after a bad file, writes nothing for it, and ends with 8', async () => {
    put('in/a.xml', web);
    put('in/bad.xml', '<domain><name>x</domain>');
    put('in/half.yaml', 'network: {name: a}\n---\nnetwork: {nam: b}\n');
    put('in/z.xml', '<network><name>z</name></network>');
    const { exitCode, stderr } = await convert('in', '--output-dir', 'out', '-o', 'json');
    expect(exitCode).toBe(8);
    expect(all('out')).toEqual(['a.json', 'z.json']);
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^error: in\/bad\.xml:1:\d+: not well-formed XML/);
    expect(lines[1]).toBe('error: in/half.yaml:3:11: network.nam: unknown key; did you mean name?');
  });

  it('never writes two inputs to one name, nor over an input', async () => {
    put('x/a.xml', web);
    put('y/a.xml', '<network><name>y</name></network>');
    const twice = await convert('x', 'y', '--output-dir', 'out');
    expect(twice.exitCode).toBe(4);
    expect(twice.stderr).toContain('y/a.xml: a.yaml is written for x/a.xml already');
    expect(get('out/a.yaml')).toContain('VirtualMachine');
    const over = await convert('x', '-o', 'xml', '--output-dir', 'x');
    expect(over.exitCode).toBe(4);
    expect(get('x/a.xml')).toBe(web);
  });

  it('does not follow a link out of the folder', async () => {
    put('in/sub/a.xml', web);
    mkdirSync(join(folder, 'out'));
    mkdirSync(join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'out/sub'));
    const { exitCode, stderr } = await convert('in', '--output-dir', 'out');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('leads outside');
    expect(all('elsewhere')).toEqual([]);
  });

  it('takes a file from above by its own name', async () => {
    put('a.xml', web);
    mkdirSync(join(folder, 'w'));
    const { exitCode } = await commandLine(['convert', '../a.xml', '--output-dir', 'out'], { cwd: join(folder, 'w') });
    expect(exitCode).toBe(0);
    expect(all('w')).toEqual(['out', 'out/a.yaml']);
  });
});

describe('virtctl convert --check', () => {
  it('says that nothing is different', async () => {
    put('in/a.xml', web);
    put('in/b.yaml', 'network: {name: b, ips: []}\n');
    const { exitCode, stdout, stderr } = await convert('--check', 'in').then(async () =>
      convert('--check', 'in/a.xml'),
    );
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    expect(stderr).toBe('1 documents there and back: no differences\n');
  });

  it('takes no output flags', async () => {
    expect((await convert('--check', '-o', 'xml', 'a')).exitCode).toBe(2);
  });

  it('ends with 8 for what cannot be converted', async () => {
    put('a.xml', '<html/>');
    const { exitCode, stderr } = await convert('--check', 'a.xml');
    expect(exitCode).toBe(8);
    expect(stderr).toMatch(/^error: a\.xml:1:1: expected a libvirt document/);
  });
});

describe('bad input', () => {
  it.each([
    ['malformed XML', '<domain><name>a</name', /^error: -:1:\d+: not well-formed XML: /],
    ['truncated XML', '<domain>\n<name>a</name>\n', /^error: -:\d+:\d+: not well-formed XML: /],
    ["XML that is not libvirt's", '<html/>', /^error: -:1:1: expected a libvirt document .*found <html>/],
    [
      'a DTD',
      '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain><name>&x;</name></domain>',
      /^error: -:1:\d+: .*DTD/,
    ],
    ['absurd nesting in XML', '<domain>'.repeat(5000), /^error: -:1:\d+: .*nested deeper/],
    [
      'XML over 128 KiB',
      `<domain><name>${'a'.repeat(140_000)}</name></domain>`,
      /^error: -:1:1: the document has 140030 bytes/,
    ],
    [
      'YAML over 128 KiB',
      `domain: {title: "${'a'.repeat(140_000)}"}\n`,
      /^error: -:1:1: the document has 140020 bytes/,
    ],
    ['a duplicate key', 'domain:\n  name: a\n  name: b\n', /^error: -:3:3: the key "name" is given twice/],
    [
      'a wrong type',
      'domain:\n  vcpu: {value: [1]}\n',
      /^error: -:2:10: domain\.vcpu\.value: expected a single value, found a list/,
    ],
    ['an unknown field', 'domain:\n  nmae: a\n', /^error: -:2:3: domain\.nmae: unknown key; did you mean name\?/],
    ['what is no object', 'just words', /^error: -:1:1: expected an object/],
    [
      'an unknown kind',
      'apiVersion: virtctl.dev/v1alpha1\nkind: VirtualMachin\n',
      /^error: -:2:7: kind: expected .*did you mean VirtualMachine\?/,
    ],
    ['keys of nothing', 'a: 1\n', /^error: -:1:1: expected apiVersion and kind/],
    ['a broken overlay', 'network: {name: a}\noverlay: [{at: "", xml: "<a>"}]\n', /^error: -:2:\d+: overlay\[0\]/],
    [
      'an overlay that leads nowhere',
      'network: {name: a}\noverlay: [{at: ips, xml: "<a/>"}]\n',
      /^error: -:2:\d+: overlay\[0\]/,
    ],
    [
      'an overlay of another shape',
      'network: {name: a}\noverlay: [{at: "", xlm: "<a/>"}]\n',
      /^error: -:2:\d+: overlay\[0\]\.xlm: unknown key; did you mean xml\?/,
    ],
    ['nothing at all', '', /^error: -:1:1: empty/],
  ])('as %s is one line, and the end is 8', async (_what, text, line) => {
    const { exitCode, stdout, stderr } = await pipe(text);
    expect(exitCode).toBe(8);
    expect(stdout).toBe('');
    expect(stderr.split('\n')[0]).toMatch(line);
  });

  it('as bytes that are no text names the place', async () => {
    const { exitCode, stderr } = await commandLine(['convert', '-'], {
      stdin: Buffer.from([0x61, 0x0a, 0xff, 0xfe, 0x62]),
    });
    expect(exitCode).toBe(8);
    expect(stderr).toBe('error: -:2:1: the byte 0xff is not UTF-8 text\n');
  });
});
