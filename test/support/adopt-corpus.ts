/**
 * Adopts every domain of libvirt's own test corpus that this machine's libvirt takes, once what the machine lacks is
 * adjusted: hardware acceleration, and the paths and versions of other machines' QEMU.
 */
import { deepEqual, match } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AdoptingHost } from './adopting-host.ts';

/** Where the corpus is, when it is there. */
export const domainCorpus = join(import.meta.dirname, '../../../shared/corpus/domain');

/** What became of the corpus. */
export interface CorpusAdoption {
  readonly documents: number;
  /** How many of them libvirt took. */
  readonly defined: number;
  readonly adopted: number;
  /** What was refused, in virtctl's words. */
  readonly refused: readonly string[];
}

/**
 * Defines, adopts, plans, changes and deletes; expects that nothing but what is asked for changes.
 *
 * @param every Takes one document of so many.
 */
export async function adoptCorpus(host: AdoptingHost, every: number): Promise<CorpusAdoption> {
  const { node } = host;
  const names = (await readdir(domainCorpus)).filter((name) => name.endsWith('.xml')).sort();
  const chosen = names.filter((_name, index) => index % every === 0);
  await defineAll(host, chosen);
  const before = await host.standings();
  const { stdout, stderr } = await host.virtctl('adopt', 'node-1', '--all', '--timeout', '10m', '-o', 'name');
  const adopted = stdout.split('\n').filter((line) => line.startsWith('virtualmachine.'));
  deepEqual(await host.standings(), before);
  await host.expectNothingPlanned();
  await host.expectNothingPending();

  const machines = (await node.machines.listAll()).items.map(({ metadata }) => metadata.name ?? '');
  for (const name of machines) await node.patch(name, { domain: { title: 'ours now' } });
  for (const name of machines) await node.untilObserved(name);
  const after = await host.standings();
  // Libvirt may sort controllers anew whenever a domain is defined.
  const plain = (xml: string): string[] =>
    xml
      .split('\n')
      .filter((line) => !line.startsWith('  <title>'))
      .sort();
  const owned = (await node.machines.listAll()).items.map(({ spec }) => spec.domain?.uuid ?? '');
  for (const uuid of owned) {
    match(after[uuid]?.inactive ?? '', /<title>ours now<\/title>/);
    deepEqual(plain(after[uuid]?.inactive ?? ''), plain(before[uuid]?.inactive ?? ''));
  }
  await Promise.all(machines.map((name) => node.delete(name)));
  deepEqual((await host.domains()).size, Object.keys(before).length - machines.length);
  return {
    documents: chosen.length,
    defined: Object.keys(before).length,
    adopted: adopted.length,
    refused: stderr.split('\n').filter((line) => line.startsWith('error:')),
  };
}

async function defineAll({ node }: AdoptingHost, names: readonly string[]): Promise<void> {
  const folder = join(node.libvirtd.dir, 'corpus');
  await mkdir(folder, { recursive: true });
  const commands: string[] = [];
  for (const name of names) {
    const file = join(folder, name);
    await writeFile(file, adjusted(name, await readFile(join(domainCorpus, name), 'utf8')));
    // Another architecture, a network card or a feature that this host does not have: virsh goes on with the next.
    commands.push(`define ${file}`);
  }
  await node.libvirtd.virsh([...commands, 'list --all'].join('; '));
}

function adjusted(name: string, xml: string): string {
  const digest = createHash('sha256').update(name).digest('hex');
  const uuid = [8, 4, 4, 4, 12].map((length, index) => digest.slice(index * 12, index * 12 + length)).join('-');
  return xml
    .replace(/(<domain\b[^>]*type=)(['"])(?:kvm|kqemu|hvf)\2/, '$1$2qemu$2')
    .replaceAll(/<emulator>[^<]*(?:x86_64|i386|kvm)<\/emulator>/g, '<emulator>/usr/bin/qemu-system-x86_64</emulator>')
    .replace(/<name>[^<]*<\/name>/, `<name>${name.slice(0, -4)}</name>`)
    .replace(/<uuid>[^<]*<\/uuid>/, `<uuid>${uuid}</uuid>`)
    .replace(/machine=(['"])pc-[0-9.]+\1/, 'machine=$1pc$1')
    .replace(/machine=(['"])(?:pc-)?q35-[0-9.]+\1/, 'machine=$1q35$1');
}
