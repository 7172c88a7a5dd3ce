import { stat } from 'node:fs/promises';

/** What can be seen of `/dev/kvm` without a guest. */
export interface KvmDeviceProblem {
  readonly problem: 'missing' | 'mode';
  /** For people. */
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
}

/**
 * Looks at `/dev/kvm`. QEMU runs as a user of its own, so a device that only root can open is none for it; and libvirt,
 * which sees that KVM's usability differs from what it remembers, asks QEMU for its abilities anew each time, which takes
 * up to a minute.
 *
 * @param path Another file, for tests.
 * @returns undefined when there is nothing to say; which does not mean that KVM works.
 */
export async function kvmDeviceProblem(path = '/dev/kvm'): Promise<KvmDeviceProblem | undefined> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o060) === 0o060 || (mode & 0o006) === 0o006) return undefined;
    return {
      problem: 'mode',
      message: `${path} has mode ${(mode & 0o777).toString(8).padStart(4, '0')}: only its owner can open it, and QEMU usually runs as another user`,
      fix: `chgrp kvm ${path} && chmod 0660 ${path}, and have udev do so: KERNEL=="kvm", GROUP="kvm", MODE="0660"`,
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return {
      problem: 'missing',
      message: `there is no ${path}`,
      fix: 'enable virtualisation in the firmware, or nested virtualisation on the outer host, and load kvm_intel or kvm_amd',
    };
  }
}
