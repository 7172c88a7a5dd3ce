/**
 * Installs what the tests need from Debian's or Ubuntu's packages: libvirt, QEMU, etcd and a few tools. Does nothing
 * when all is there. Fails loudly when something is missing and cannot be installed (`npm run test:unit` needs none).
 */
import { installPackages } from './install-packages.ts';

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
  'swtpm-tools': '/usr/bin/swtpm_setup',
  'etcd-server': '/usr/bin/etcd',
  'busybox-static': '/usr/bin/busybox',
  cpio: '/usr/bin/cpio',
  genisoimage: '/usr/bin/genisoimage',
  virtinst: '/usr/bin/virt-install',
  lvm2: '/usr/sbin/vgcreate',
  parted: '/usr/sbin/parted',
  'openssh-client': '/usr/bin/ssh-keygen',
  openssl: '/usr/bin/openssl',
  zstd: '/usr/bin/zstd',
  zsh: '/usr/bin/zsh',
  fish: '/usr/bin/fish',
  'libxml2-utils': '/usr/bin/xmllint',
  'python3-libvirt': '/usr/lib/python3/dist-packages/libvirt.py',
};

installPackages(packages, 'the tests', ', or run the part that needs none of it: npm run test:unit');
