import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processesOf, removeRemains } from '../../scripts/lab/remains.ts';
import { runProgram } from '../support/run-program.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const root = join(import.meta.dirname, '../..');
let folder: string;
let groups: string[];
const guestName = `left-${process.pid}`;

const lab = (...args: string[]): Promise<string> =>
  runProgram(process.execPath, ['--import', 'tsx', join(root, 'scripts/lab.ts'), '--folder', folder, ...args]);

/** Processes whose command line has a text, which guests' have. */
async function withText(text: string): Promise<number> {
  const lines = (await readdir('/proc'))
    .filter((entry) => /^\d+$/.test(entry))
    .map(async (pid) => {
      try {
        return await readFile(`/proc/${pid}/cmdline`, 'utf8');
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
        throw error;
      }
    });
  return (await Promise.all(lines)).filter((line) => line.startsWith('/usr/bin/qemu') && line.includes(text)).length;
}

async function isGroupLeft(): Promise<boolean> {
  const all = await readdir('/sys/fs/cgroup', { recursive: true }).catch((error: unknown) => {
    // Another test's group went meanwhile: whatever is left is found the next time.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  return all === undefined || all.some((path) => groups.some((group) => path.includes(group)));
}

beforeAll(() => {
  folder = join(makeTestFolder('lab-command'), 'lab');
});
afterAll(() => removeRemains(folder));

describe('npm run lab', () => {
  it('brings nodes up, and says how they are', async () => {
    expect(await lab('up', '--nodes', '2')).toMatch(/Next:\n {2}export KUBECONFIG=.*\/lab\/kubeconfig\n/);
    groups = await Promise.all(
      ['node-1', 'node-2'].map((node) => readFile(join(folder, 'nodes', node, 'group'), 'utf8')),
    );
    const status = await lab('status');
    expect(status).toMatch(/^node-1 {2}10\.99\.0\.1 {2}running, libvirtd running, executor running /m);
    expect(await lab('exec', 'node-2', 'hostname')).toBe('node-2');
    await expect(lab('up')).rejects.toThrow('a lab is up in');
    await expect(lab('kill', 'node-7')).rejects.toThrow('there is no node node-7; there are node-1, node-2');
    await expect(lab('kill')).rejects.toThrow('usage: npm run lab');
  });

  it('breaks and mends nodes', async () => {
    expect(await lab('kill', 'node-1', 'libvirtd')).toMatch(/^node-1 .* running, libvirtd off, executor running/m);
    expect(await lab('start', 'node-1')).toMatch(/^node-1 .* running, libvirtd running, executor running/m);
    const other = ['exec', 'node-1', 'timeout', '5', 'virsh', '-c', 'qemu+tcp://node-2/system', 'hostname'];
    expect(await lab(...other)).toBe('node-2');
    expect(await lab('partition', 'node-2')).toMatch(/^node-2 .*, cut off/m);
    await expect(lab(...other)).rejects.toThrow('ended with 124');
    expect(await lab('heal', 'node-2')).not.toContain('cut off');
    await expect.poll(() => lab(...other).catch(String), { timeout: 120_000 }).toBe('node-2');
  });

  it('leaves no process and no guest behind when what keeps it is killed, also of a paused node', async () => {
    const xml = join(folder, 'guest.xml');
    const document = `<domain type='qemu'><name>${guestName}</name><memory>16384</memory><os><type>hvm</type></os></domain>`;
    await writeFile(xml, document);
    await lab('exec', 'node-1', 'virsh', 'create', xml);
    expect(await withText(`guest=${guestName}`)).toBeGreaterThan(0);
    await lab('pause', 'node-1');
    const keeper = (await Promise.all((await processesOf(folder)).map(commandOf))).find(({ line }) =>
      line.includes('keeper.ts'),
    );
    process.kill(keeper?.pid ?? 0, 'SIGKILL');
    await expect.poll(() => processesOf(folder), { timeout: 120_000 }).toEqual([]);
    await expect.poll(() => withText(`guest=${guestName}`), { timeout: 120_000 }).toBe(0);
    expect(await lab('down')).toContain('nothing is left');
    expect(existsSync(folder)).toBe(false);
    expect(await lab('down')).toContain('nothing is left');
  });

  it('takes everything down, also when parts of it were killed', async () => {
    await lab('up', '--nodes', '2');
    groups = await Promise.all(
      ['node-1', 'node-2'].map((node) => readFile(join(folder, 'nodes', node, 'group'), 'utf8')),
    );
    const all = await Promise.all((await processesOf(folder)).map(commandOf));
    // Who would have removed the control groups, the switch, and the API server.
    for (const { pid, line } of all) {
      if (/ supervise |forward\.ts| standalone /.test(line.replaceAll('\0', ' '))) process.kill(pid, 'SIGKILL');
    }
    expect(await lab('down')).toContain('nothing is left');
    expect(await processesOf(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    await expect.poll(isGroupLeft).toBe(false);
  });
});

async function commandOf(pid: number): Promise<{ readonly pid: number; readonly line: string }> {
  return { pid, line: await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') };
}
