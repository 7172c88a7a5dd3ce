/**
 * Installs what the tests need from Debian's or Ubuntu's packages: libvirt, QEMU, etcd and a few tools. Does nothing
 * when all is there. Fails loudly when something is missing and cannot be installed (`npm run test:unit` needs none).
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import process from 'node:process';

/** A package and a file that it brings; the file's presence says that it is installed. */
const packages: Readonly<Record<string, string>> = {
  'libvirt-daemon-system': '/usr/sbin/libvirtd',
  'libvirt-daemon-driver-qemu': '/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so',
  'libvirt-clients': '/usr/bin/virsh',
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'qemu-utils': '/usr/bin/qemu-img',
  'dnsmasq-base': '/usr/sbin/dnsmasq',
  iptables: '/usr/sbin/iptables',
  iproute2: '/usr/sbin/ip',
  ovmf: '/usr/share/OVMF/OVMF_CODE_4M.fd',
  'etcd-server': '/usr/bin/etcd',
  'busybox-static': '/usr/bin/busybox',
  cpio: '/usr/bin/cpio',
  genisoimage: '/usr/bin/genisoimage',
  openssl: '/usr/bin/openssl',
  zstd: '/usr/bin/zstd',
  'libxml2-utils': '/usr/bin/xmllint',
  'python3-libvirt': '/usr/lib/python3/dist-packages/libvirt.py',
};

const isInstalled = (file: string): boolean => existsSync(file) || existsSync(file.replace(/^\/usr/, ''));
const missing = Object.entries(packages)
  .filter(([, file]) => !isInstalled(file))
  .map(([name]) => name);

if (missing.length > 0) {
  process.stderr.write(`installing for the tests: ${missing.join(' ')}\n`);
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  run([...sudo, 'apt-get', 'update', '-qq']);
  run([...sudo, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing]);
}

function run(words: readonly string[]): void {
  const [program, ...args] = words;
  if (program === undefined) throw new Error('no program');
  const { status, error } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (error !== undefined || status !== 0) {
    process.stderr.write(
      `error: ${words.join(' ')} failed${error === undefined ? '' : `: ${error.message}`}\n` +
        `hint: install ${missing.join(', ')} by hand, or run the part that needs none of it: npm run test:unit\n`,
    );
    process.exit(1);
  }
}
