import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { uploadOf } from '../../src/api/image-upload.ts';
import type { VirtualImage } from '../../src/api/virtual-image.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** The way to libvirtd, which breaks off where it is told. */
class BreakingRoad {
  /** What has gone to libvirtd over all connections, in bytes. */
  sentBytes = 0;
  /** At so many bytes it breaks off; in order. */
  breaks: number[] = [];
  /** Called instead when it is time to break off; nothing goes on until libvirtd or the command ends it. */
  onHold: (() => void) | undefined;
  readonly socket: string;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(socket: string, target: string) {
    this.socket = socket;
    this.#server = createServer((client) => {
      const daemon = createConnection(target);
      const both = [client, daemon];
      const end = (): void => both.forEach((one) => one.destroy());
      for (const one of both) {
        this.#open.add(one);
        one.on('error', end);
        one.on('close', () => {
          this.#open.delete(one);
          end();
        });
      }
      daemon.pipe(client);
      client.on('data', (data) => {
        this.sentBytes += data.length;
        const next = this.breaks[0];
        if (next !== undefined && this.sentBytes >= next) {
          this.breaks.shift();
          if (this.onHold === undefined) end();
          else {
            client.pause();
            this.onHold();
            this.onHold = undefined;
          }
        } else if (!daemon.write(data)) {
          client.pause();
          daemon.once('drain', () => client.resume());
        }
      });
    });
  }

  static async build(socket: string, target: string): Promise<BreakingRoad> {
    const road = new BreakingRoad(socket, target);
    road.#server.listen(socket);
    await once(road.#server, 'listening');
    return road;
  }

  mend(): void {
    this.sentBytes = 0;
    this.breaks = [];
    this.onHold = undefined;
  }

  close(): void {
    this.#server.close();
    for (const one of this.#open) one.destroy();
  }
}

/** However often an upload is cut off: it goes on where it was, and what is there in the end is the file. */
describe('an upload that is cut off', () => {
  let node: ExecutorNode;
  let road: BreakingRoad;
  let images: ResourceClient<VirtualImage>;
  let folder: string;
  /** Six parts: data, a hole from within one part into the next but one, and data. */
  const content = Buffer.concat([randomBytes(40 * MiB), Buffer.alloc(32 * MiB), randomBytes(24 * MiB)]);
  const dataBytes = 64 * MiB;

  beforeAll(async () => {
    node = await startExecutorNode();
    road = await BreakingRoad.build(join(node.libvirtd.dir, 'road.sock'), node.libvirtd.socket);
    images = node.client.resource(resourceOf('VirtualImage'));
    folder = join(node.libvirtd.dir, 'pool');
    const pools = node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
    await pools.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: folder } } },
    });
    for (const end = Date.now() + 120_000; (await pools.get({ name: 'local' })).status?.summary !== '1/1';) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
    await writeFile(file('disk.raw'), content);
  });
  afterEach(() => road.mend());
  afterAll(async () => {
    road.close();
    await node.close();
  });

  const file = (name: string): string => join(node.libvirtd.dir, name);
  const volume = (name: string): string => join(folder, `image_default.${name}.raw`);
  const upload = (name: string, from = 'disk.raw', signal = new AbortController().signal): Promise<CommandResult> =>
    commandLine(
      [
        ...['image', 'upload', name, file(from), '--pool', 'local', '--format', 'raw', '--kubeconfig', node.kubeconfig],
        ...['--connect', `qemu+unix:///system?socket=${road.socket}`],
      ],
      { signal },
    );
  /** Resolves when so many bytes are under way, and no more go on. */
  const heldAt = (bytes: number): Promise<void> => {
    road.mend();
    road.breaks = [bytes];
    return new Promise((resolve) => (road.onHold = resolve));
  };
  /** An upload that is interrupted. */
  async function cutOff(name: string, atBytes: number): Promise<void> {
    const held = heldAt(atBytes);
    const over = new AbortController();
    const sent = upload(name, 'disk.raw', over.signal);
    await Promise.race([held, sent]);
    over.abort(new Error('interrupted'));
    expect((await sent).exitCode).not.toBe(0);
    expect(uploadOf(await images.get({ namespace: 'default', name }))).toMatchObject({ isOver: true });
    road.mend();
  }
  const kept = async (name: string): Promise<number | undefined> =>
    uploadOf(await images.get({ namespace: 'default', name }))?.sent;
  async function expectContent(name: string, wanted: Buffer): Promise<void> {
    const found = await readFile(volume(name));
    expect([found.length, sha256(found)]).toEqual([wanted.length, sha256(wanted)]);
  }

  it('goes on by itself, at several tenths of the file, and keeps its holes', async () => {
    road.breaks = [1, 3, 5, 7, 9].map((tenth) => (dataBytes * tenth) / 10);
    const { exitCode, stdout, stderr } = await upload('tenths');
    expect([exitCode, stdout]).toEqual([0, `vimg/tenths uploaded (sha256:${sha256(content)})\n`]);
    expect(road.breaks).toEqual([]);
    expect(stderr.match(/the connection was lost/g)).toHaveLength(5);
    expect(stderr).toMatch(/note: vimg\/tenths: goes on behind the [\d.]+Mi of 96Mi that are there/);
    // At each cut no more than one part is sent twice, and each loss halves the parts.
    expect(road.sentBytes).toBeLessThan(dataBytes + (16 + 8 + 4 + 2 + 1) * MiB + MiB);
    await expectContent('tenths', content);
    expect((await stat(volume('tenths'))).blocks * 512).toBeLessThan(dataBytes + 2 * MiB);
  });

  it('goes on with the same command, also when the executor was killed in between', async () => {
    await cutOff('later', 36 * MiB);
    expect(await kept('later')).toBe(32 * MiB);
    await node.stopExecutor('SIGKILL');
    const sent = upload('later');
    await node.startExecutor();
    expect(await sent).toMatchObject({
      exitCode: 0,
      stderr: 'note: vimg/later: goes on behind the 32Mi of 96Mi that are there\n',
    });
    expect(road.sentBytes).toBeLessThan(33 * MiB);
    await expectContent('later', content);
  });

  it('goes on when libvirtd is killed while it is sent', async () => {
    const held = heldAt(20 * MiB);
    const sent = upload('killed');
    await Promise.race([held, sent]);
    await node.libvirtd.restart('KILL');
    expect(await sent).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('the connection was lost') as string,
    });
    await expectContent('killed', content);
  });

  it('is taken over by another command, and then writes no more', async () => {
    const held = heldAt(36 * MiB);
    const first = upload('two');
    await Promise.race([held, first]);
    const second = upload('two');
    expect(await first).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('another upload of it has begun meanwhile') as string,
    });
    expect(await second).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('an earlier command did not say that it has ended; waits 10 s') as string,
    });
    await expectContent('two', content);
  });

  it('begins anew with another file of that length, and says so', async () => {
    await cutOff('other', 36 * MiB);
    const other = Buffer.from(content);
    other.writeUInt8(other.readUInt8(5) ^ 1, 5);
    await writeFile(file('other.raw'), other);
    expect(await upload('other', 'other.raw')).toMatchObject({
      exitCode: 0,
      stderr: 'note: vimg/other: 32Mi of another file were sent before; begins anew\n',
    });
    await expectContent('other', other);
  });

  it('begins anew where the part that is there is gone, or was changed', async () => {
    await cutOff('changed', 20 * MiB);
    const there = await open(volume('changed'), 'r+');
    await there.write('changed', 1000);
    await there.close();
    const changed = await upload('changed');
    expect([changed.exitCode, changed.stderr]).toEqual([
      0,
      'note: vimg/changed: goes on behind the 16Mi of 96Mi that are there\n' +
        'note: vimg/changed: what was there of an earlier attempt is damaged; sends all of it anew\n',
    ]);
    await expectContent('changed', content);
    await cutOff('gone', 20 * MiB);
    await node.libvirtd.virsh('vol-delete', 'image_default.gone.raw', '--pool', 'local');
    expect(await upload('gone')).toMatchObject({
      exitCode: 0,
      stderr: 'note: vimg/gone: the 16Mi that were sent before are gone; begins anew\n',
    });
    await expectContent('gone', content);
  });
});
