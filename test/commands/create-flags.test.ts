import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';

describe('the flags of virtctl create', () => {
  let folder: string;
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMvmP9mZzxGxvKvVb0YQ3b1B8v0QkqWvN3sYyP0Wc3k me@here';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-create-'));
    await writeFile(join(folder, 'empty'), ' \n');
    await writeFile(join(folder, 'notes'), 'buy milk\n');
    await writeFile(join(folder, 'keys.pub'), `# mine\nfrom="10.0.0.1",no-pty ${key}\n${key}\n`);
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const create = (...words: readonly string[]): Promise<CommandResult> =>
    commandLine(['create', ...words, '--dry-run=client', '-o', 'yaml'], { cwd: folder });

  it.each([
    [['vm', 'web', '--initrd', '/boot/initrd'], '--initrd and --cmdline go with --kernel'],
    [['vm', 'web', '--cmdline', 'quiet'], '--initrd and --cmdline go with --kernel'],
    [['vm', 'web', '--memory', '8Ei'], '"8Ei" is more than there can be'],
    [['vm', 'web', '--memory', '99999999Ti'], 'expected less than 8Ei'],
    [['vm', 'web', '--cloud-init', 'empty'], '--cloud-init empty: there is nothing in it'],
    [['vm', 'web', '--ssh-key', 'empty'], '--ssh-key empty: there is no key in it'],
    [['vm', 'web', '--ssh-key', 'notes'], '--ssh-key notes: "buy milk" is not a public key'],
    [['vm', 'web', '--start', '--no-start'], 'give --start or --no-start, not both'],
    [['vm', 'web', '--no-start', '--start=true'], 'give --start or --no-start, not both'],
    [['disk', 'root', '--size', '1Gi', '--format', 'nosuch'], '--format nosuch: expected a format of libvirt'],
    [['network', 'front'], 'there is no `create network`; there are vm, disk and namespace'],
    [['web'], 'there is no `create web`'],
  ])('are refused with 2 and a reason: %j', async (words, message) => {
    const result = await create(...words);
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toContain(message);
  });

  it('take public keys with their options, the largest memory, and an initial RAM disk beside a kernel', async () => {
    const kernel = ['--kernel', '/boot/vmlinuz', '--initrd', '/boot/initrd', '--cmdline', 'quiet'];
    const result = await create('vm', 'web', '--ssh-key', 'keys.pub', '--memory', '7Ei', ...kernel);
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(result.stdout.split(key)).toHaveLength(3);
  });

  it('are looked at before a server is asked', async () => {
    const disk = ['create', 'disk', 'root', '--from-snapshot', 'before', '--format', 'nosuch'];
    expect(await commandLine([...disk, '--kubeconfig', '/nonexistent'])).toMatchObject({ exitCode: 2 });
    expect(await commandLine(['top', 'vm', 'web', '-l', 'app=web'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('give names or -l, not both') as string,
    });
  });

  it.each(['vimg/debian', 'image/debian', 'virtualimages.virtctl.dev/debian'])(
    'and of image upload take %s for the image debian',
    async (name) => {
      // The file is looked for once the name is accepted.
      const result = await commandLine(['image', 'upload', name, 'none.qcow2'], { cwd: folder });
      expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('there is no file') as string });
      expect(await commandLine(['image', 'upload', `vm/${name}`, 'none.qcow2'], { cwd: folder })).toMatchObject({
        exitCode: 2,
      });
    },
  );

  it.each(['0', '65536', '99999999', 'two', '1e3'])(
    'and of set know how many CPUs there can be: not %s',
    async (count) => {
      for (const flag of ['--cpus', '--max-cpus']) {
        const result = await commandLine(['set', 'vm', 'web', flag, count]);
        expect(result).toMatchObject({ exitCode: 2, stdout: '' });
        expect(result.stderr).toContain('expected a number of CPUs from 1 to 65535');
      }
    },
  );
});
