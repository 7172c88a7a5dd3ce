/** A host that somebody else has used before, and the command that adopts what is on it. */
import { deepEqual } from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commandLine, type CommandResult } from './command-line.ts';
import type { ExecutorNode } from './executor-node.ts';
import { runProgram } from './run-program.ts';

/** How a domain stands: what must be the same after it was adopted. */
export interface Standing {
  readonly id: string;
  /** Of QEMU; empty where none runs. */
  readonly pid: string;
  readonly live: string;
  readonly inactive: string;
  readonly info: string;
}

/** Stands between what virsh says to one question and the next. */
const divider = '='.repeat(40);

/** See the head of this file. */
export class AdoptingHost {
  readonly node: ExecutorNode;
  /** The folder of the pool `vms`. */
  readonly images: string;

  constructor(node: ExecutorNode) {
    this.node = node;
    this.images = join(node.libvirtd.dir, 'images');
  }

  readonly #virsh = (...words: string[]): Promise<string> => this.node.libvirtd.virsh(...words);

  /** Makes the pool `vms` and the NAT network `default`, as hosts have them. */
  async furnish(): Promise<void> {
    const { dir } = this.node.libvirtd;
    const virsh = this.#virsh;
    await mkdir(this.images, { recursive: true });
    await virsh('pool-define-as', 'vms', 'dir', '--target', this.images);
    await virsh('pool-start', 'vms');
    const file = join(dir, 'default-network.xml');
    await writeFile(
      file,
      `<network><name>default</name><forward mode='nat'/><bridge name='virbr7'/><ip address='192.168.197.1' netmask='255.255.255.0'><dhcp><range start='192.168.197.10' end='192.168.197.99'/></dhcp></ip></network>`,
    );
    await virsh('net-define', file);
    await virsh('net-start', 'default');
  }

  /** A blank qcow2 file in the pool; its path. */
  async image(name: string): Promise<string> {
    const path = join(this.images, name);
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '32M']);
    await this.node.libvirtd.virsh('pool-refresh', 'vms');
    return path;
  }

  /** Defines a domain from XML. */
  async define(xml: string): Promise<void> {
    const file = join(this.node.libvirtd.dir, 'domain.xml');
    await writeFile(file, xml);
    await this.node.libvirtd.virsh('define', file);
  }

  /** Runs virtctl against the node's API server and libvirt. */
  virtctl(...words: readonly string[]): Promise<CommandResult> {
    const { kubeconfig, libvirtd } = this.node;
    return commandLine([
      ...words,
      '--kubeconfig',
      kubeconfig,
      ...(words[0] === 'get' ? [] : ['--connect', libvirtd.uri]),
    ]);
  }

  /** Every domain's name, by its UUID; without what executors define for a moment to try KVM. */
  async domains(): Promise<ReadonlyMap<string, string>> {
    const virsh = this.#virsh;
    const uuids = (await virsh('list', '--all', '--persistent', '--uuid')).split('\n').filter((line) => line !== '');
    if (uuids.length === 0) return new Map();
    const names = await virsh(uuids.map((uuid) => `domname ${uuid}`).join('; '));
    return new Map(names.split(/\n+/).map((name, index) => [uuids[index] ?? '', name]));
  }

  /** How each domain stands, by its UUID. */
  async standings(): Promise<Record<string, Standing>> {
    const { dir } = this.node.libvirtd;
    const standing = async (uuid: string, name: string): Promise<Standing> => {
      const asked = ['domid', 'dumpxml --security-info', 'dumpxml --inactive --security-info', 'dominfo'];
      const said = await this.#virsh(asked.map((words) => `${words} ${uuid}`).join(`; echo ${divider}; `));
      const [id = '', live = '', inactive = '', info = ''] = said.split(divider);
      return {
        id: id.trim(),
        pid: await readFile(join(dir, 'run/qemu', `${name}.pid`), 'utf8').catch(() => ''),
        ...{ live: withoutMarks(live), inactive: withoutMarks(inactive) },
        info: info.replace(/^CPU time.*$/m, ''),
      };
    };
    const entries = [...(await this.domains())].map(
      async ([uuid, name]) => [uuid, await standing(uuid, name)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }

  /** Expects that every machine's own manifest changes nothing at it, as `virtctl plan` says. */
  async expectNothingPlanned(): Promise<void> {
    const { items } = await this.node.machines.listAll();
    const manifests = items.map(({ apiVersion, kind, spec, metadata: { name, labels, annotations } }) => ({
      ...{ apiVersion, kind, spec },
      metadata: { name, labels, annotations },
    }));
    const file = join(this.node.libvirtd.dir, 'plan.json');
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }));
    const { stdout, stderr, exitCode } = await this.virtctl('plan', '-f', file);
    deepEqual(
      stdout.split('\n').filter((line) => line !== '' && !line.endsWith(' unchanged')),
      [],
    );
    deepEqual(
      { exitCode, stderr, count: stdout.trim().split('\n').length },
      { exitCode: 0, stderr: '', count: items.length },
    );
  }

  /** Expects that no machine waits for a restart, or has not what it asks for. */
  async expectNothingPending(): Promise<void> {
    const { items } = await this.node.machines.listAll();
    const pending = items.flatMap(({ metadata, status }) =>
      (status?.conditions ?? [])
        .filter(({ type, status: is }) => ['Degraded', 'RestartRequired'].includes(type) && is === 'True')
        .map(({ type, message }) => `${metadata.name ?? ''}: ${type}: ${message ?? ''}`),
    );
    deepEqual(pending, []);
  }
}

/** A domain's XML without our marks, which are all that may be new. */
export function withoutMarks(xml: string): string {
  return xml
    .replaceAll(/\s*<(\w+:)?(machine|boot) xmlns[^>]*virtctl\.dev[^>]*>[^<]*<\/(\w+:)?(machine|boot)>/g, '')
    .replaceAll(/\s*<metadata>\s*<\/metadata>/g, '')
    .replaceAll(/\s*<metadata\/>/g, '');
}
