import { hostname } from 'node:os';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { findCondition } from '../../api/meta.ts';
import { hypervisorKind, virtualDiskKind, virtualImageKind, virtualNetworkKind } from '../../api/kinds.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import { UnreachableError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { localUri, type LocalFlags } from '../../cli/local-domain.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { planMachine, type MachinePlan } from '../../executor/plan/plan-machine.ts';
import { Media } from '../../executor/virtual-machine/media.ts';
import type { ConfigMapObject, SecretObject } from '../../executor/virtual-machine/volumes.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { builtin } from '../../kube/resource-type.ts';
import { openLibvirt, type Libvirt } from '../../libvirt/libvirt.ts';
import { parseElement, type XmlElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Flags of what needs the node's libvirt. */
export interface JudgeFlags extends LocalFlags {
  readonly dataDir: string;
}

/** What this host's libvirt says of a machine, or why it was not asked. */
export type Judgement =
  { readonly plan: MachinePlan; readonly note?: string } | { readonly plan?: undefined; readonly note: string };

interface Host {
  readonly libvirt: Libvirt;
  readonly uuid: string;
  readonly arch: string;
  readonly nativeType: string;
  readonly hypervisors: readonly Hypervisor[];
}

/**
 * Asks this host's libvirt what would become of machines. Connects when first asked, and only once; a libvirt that cannot
 * be reached is a note, not an error.
 */
export class NodeJudge {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #flags: JudgeFlags;
  #host: Promise<Host> | undefined;

  constructor(context: Context, client: KubeClient, flags: JudgeFlags) {
    this.#context = context;
    this.#client = client;
    this.#flags = flags;
  }

  /** @param machine As it would be after the change. */
  async judge(machine: VirtualMachine): Promise<Judgement> {
    let host: Host;
    try {
      host = await (this.#host ??= this.#open());
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return { note: `not judged by libvirt: ${error.message}` };
    }
    const nodeName = machine.spec.nodeName ?? '';
    const here = host.hypervisors.filter(({ status }) => sameUuid(status?.nodeInfo?.systemUUID, host.uuid));
    const node = here.find(({ metadata }) => nodeName === '' || metadata.name === nodeName);
    const isElsewhere = nodeName !== '' && node === undefined;
    if (isElsewhere && host.hypervisors.some(({ metadata }) => metadata.name === nodeName)) {
      return {
        note: `not judged by libvirt: node ${nodeName} is not this host (${hostname()}); run this there, or give --connect`,
      };
    }
    const usable = findCondition(node?.status, 'KVMUsable');
    const plan = await planMachine(
      machine,
      {
        ...this.#sources(nodeName === '' ? (node?.metadata.name ?? '') : nodeName),
        libvirt: host.libvirt,
        traits: {
          arch: host.arch,
          nativeType: host.nativeType,
          emulate: usable?.status === 'False' && node?.spec.allowEmulation === true,
          kvmUsable: usable?.status !== 'False',
          kvmMessage: usable?.message ?? '',
        },
        newId: randomUUID,
      },
      this.#context.signal,
    );
    if (nodeName === '') return { plan, note: "it has no node yet: judged by this host's libvirt" };
    if (node === undefined) return { plan, note: `node ${nodeName} is not known: judged by this host's libvirt` };
    return { plan };
  }

  async close(): Promise<void> {
    const host = await this.#host?.catch(() => undefined);
    await host?.libvirt.close();
  }

  async #open(): Promise<Host> {
    const { signal } = this.#context;
    const libvirt = await openLibvirt(localUri(this.#context, this.#flags), { signal });
    try {
      const [driver, xml, hypervisors] = await Promise.all([
        libvirt.node.hypervisor({ signal }),
        libvirt.node.capabilities({ signal }),
        this.#client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).listAll({ signal }),
      ]);
      const host = child(parseElement(xml, { maxBytes: maxReportedBytes }), 'host');
      return {
        libvirt,
        uuid: child(host, 'uuid')?.text.trim() ?? '',
        arch: child(child(host, 'cpu'), 'arch')?.text.trim() ?? 'x86_64',
        nativeType: driver === 'QEMU' ? 'kvm' : driver.toLowerCase(),
        hypervisors: hypervisors.items,
      };
    } catch (error) {
      await libvirt.close();
      throw error;
    }
  }

  #sources(nodeName: string): Pick<Parameters<typeof planMachine>[1], SourceKeys> {
    const client = this.#client;
    return {
      nodeName,
      disks: client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind)),
      images: client.resource<VirtualImage>(resourceTypeOf(virtualImageKind)),
      networks: client.resource<VirtualNetwork>(resourceTypeOf(virtualNetworkKind)),
      secrets: client.resource<SecretObject>(builtin.secrets),
      configMaps: client.resource<ConfigMapObject>(builtin.configMaps),
      media: new Media(join(this.#flags.dataDir, 'machines'), true),
    };
  }
}

type SourceKeys = 'nodeName' | 'disks' | 'images' | 'networks' | 'secrets' | 'configMaps' | 'media';

function sameUuid(one: string | undefined, other: string): boolean {
  return one !== undefined && one !== '' && one.toLowerCase() === other.toLowerCase();
}

function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((one) => one.name === name);
}
