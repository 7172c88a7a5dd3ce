/** The test guest (guest.ts) as the spec of a VirtualMachine, and its boots as its serial console tells them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Guest } from './guest.ts';
import type { ExecutorNode } from './executor-node.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { Domain } from '../../src/model/types.gen.ts';

/** What {@link guestMachine} can be asked for. */
export interface GuestMachineOptions {
  readonly runStrategy?: VirtualMachineSpec['runStrategy'];
  readonly spec?: Partial<VirtualMachineSpec>;
  /** Merged over the domain, devices by kind. */
  readonly domain?: Partial<Domain>;
  /** Without it the guest hears neither agent nor power button. */
  readonly acpi?: boolean;
  readonly agent?: boolean;
  /** Added to the kernel's command line. */
  readonly cmdline?: string;
}

/** The spec of a machine that boots the test guest under emulation; its console goes to {@link consolePath}. */
export function guestMachine(
  node: ExecutorNode,
  guest: Guest,
  name: string,
  options: GuestMachineOptions = {},
): VirtualMachineSpec {
  const { devices, ...domain } = options.domain ?? {};
  return {
    runStrategy: options.runStrategy ?? 'Always',
    terminationGracePeriodSeconds: 30,
    ...options.spec,
    domain: {
      type: 'qemu',
      memory: { unit: 'MiB', value: 192 },
      vcpu: { value: 1 },
      os: {
        type: { arch: 'x86_64', machine: 'q35', value: 'hvm' },
        kernel: guest.kernel,
        initrd: guest.initrd,
        cmdline: `${guest.cmdline}${options.cmdline === undefined ? '' : ` ${options.cmdline}`}`,
      },
      features: options.acpi === false ? {} : { acpi: {}, apic: {} },
      ...domain,
      devices: {
        serial: [{ type: 'file', source: [{ path: consolePath(node, name), append: true }] }],
        ...(options.agent === false
          ? {}
          : { channel: [{ type: 'unix', target: { type: 'virtio', name: 'org.qemu.guest_agent.0' } }] }),
        ...devices,
      },
    },
  };
}

/** The file that a guest's serial console is written to, over all its boots. */
export function consolePath(node: ExecutorNode, name: string): string {
  return join(node.libvirtd.dir, `console-${name}.log`);
}

/** How often a guest came to its shell: each boot writes one line. */
export async function bootsOf(node: ExecutorNode, name: string): Promise<number> {
  try {
    return (await readFile(consolePath(node, name), 'utf8')).split('virtctl-guest ready').length - 1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

/** Waits until a guest has come to its shell so many times. */
export async function untilBoots(node: ExecutorNode, name: string, boots: number, timeoutMs = 240_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (let seen = await bootsOf(node, name); seen < boots; seen = await bootsOf(node, name)) {
    if (Date.now() > end) {
      throw new Error(
        `${name} booted ${seen} times, not ${boots}: ${JSON.stringify((await node.get(name)).status, null, 1)}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
