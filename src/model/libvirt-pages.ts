/** Links from a field to the section of libvirt's documentation that describes it. */
import type { DocumentKind } from './document-kind.ts';

const site = 'https://libvirt.org/';

const pages: Readonly<Record<DocumentKind, string>> = {
  domain: 'formatdomain.html',
  domainsnapshot: 'formatsnapshot.html',
  domaincheckpoint: 'formatcheckpoint.html',
  network: 'formatnetwork.html',
  networkport: 'formatnetworkport.html',
  storagepool: 'formatstorage.html',
  storagevol: 'formatstorage.html',
  nwfilter: 'formatnwfilter.html',
  secret: 'formatsecret.html',
  nodedev: 'formatnode.html',
};

/** Sections by the longest path that starts a field's. */
const sections: Readonly<Record<string, string>> = {
  'domain name': 'general-metadata',
  'domain uuid': 'general-metadata',
  'domain genid': 'general-metadata',
  'domain title': 'general-metadata',
  'domain description': 'general-metadata',
  'domain metadata': 'general-metadata',
  'domain os': 'operating-system-booting',
  'domain bootloader': 'host-bootloader',
  'domain bootloader_args': 'host-bootloader',
  'domain sysinfo': 'smbios-system-information',
  'domain vcpu': 'cpu-allocation',
  'domain vcpus': 'cpu-allocation',
  'domain iothreads': 'iothreads-allocation',
  'domain iothreadids': 'iothreads-allocation',
  'domain defaultiothread': 'iothreads-allocation',
  'domain cputune': 'cpu-tuning',
  'domain memory': 'memory-allocation',
  'domain maxMemory': 'memory-allocation',
  'domain currentMemory': 'memory-allocation',
  'domain memoryBacking': 'memory-backing',
  'domain memtune': 'memory-tuning',
  'domain numatune': 'numa-node-tuning',
  'domain blkiotune': 'block-i-o-tuning',
  'domain resource': 'resource-partitioning',
  'domain cpu': 'cpu-model-and-topology',
  'domain on_poweroff': 'events-configuration',
  'domain on_reboot': 'events-configuration',
  'domain on_crash': 'events-configuration',
  'domain on_lockfailure': 'events-configuration',
  'domain pm': 'power-management',
  'domain throttlegroups': 'disk-throttle-group-management',
  'domain features': 'hypervisor-features',
  'domain clock': 'time-keeping',
  'domain perf': 'performance-monitoring-events',
  'domain devices': 'devices',
  'domain devices disk': 'hard-drives-floppy-disks-cdroms',
  'domain devices filesystem': 'filesystems',
  'domain devices controller': 'controllers',
  'domain devices lease': 'device-leases',
  'domain devices hostdev': 'host-device-assignment',
  'domain devices redirdev': 'redirected-devices',
  'domain devices redirfilter': 'redirected-devices',
  'domain devices smartcard': 'smartcard-devices',
  'domain devices interface': 'network-interfaces',
  'domain devices input': 'input-devices',
  'domain devices hub': 'hub-devices',
  'domain devices graphics': 'graphical-framebuffers',
  'domain devices video': 'video-devices',
  'domain devices parallel': 'consoles-serial-parallel-channel-devices',
  'domain devices serial': 'consoles-serial-parallel-channel-devices',
  'domain devices console': 'consoles-serial-parallel-channel-devices',
  'domain devices channel': 'consoles-serial-parallel-channel-devices',
  'domain devices sound': 'sound-devices',
  'domain devices audio': 'audio-backends',
  'domain devices watchdog': 'watchdog-devices',
  'domain devices memballoon': 'memory-balloon-device',
  'domain devices rng': 'random-number-generator-device',
  'domain devices tpm': 'tpm-device',
  'domain devices nvram': 'nvram-device',
  'domain devices panic': 'panic-device',
  'domain devices shmem': 'shared-memory-device',
  'domain devices memory': 'memory-devices',
  'domain devices iommu': 'iommu-devices',
  'domain devices vsock': 'vsock',
  'domain devices crypto': 'crypto',
  'domain devices pstore': 'pstore',
  'domain seclabel': 'security-label',
  'domain keywrap': 'key-wrap',
  'domain launchSecurity': 'launch-security',
  'storagepool source': 'source-elements',
  'storagepool target': 'target-elements',
  'storagepool features': 'storage-pool-xml',
  storagevol: 'storage-volume-xml',
  'storagevol target': 'target-elements-1',
  'network bridge': 'connectivity',
  'network domain': 'connectivity',
  'network forward': 'connectivity',
  'network mtu': 'connectivity',
  'network bandwidth': 'quality-of-service',
  'network vlan': 'setting-vlan-tag-on-supported-network-types-only',
  'network portgroup': 'portgroups',
  'network route': 'static-routes',
  'network ip': 'addressing',
  'network mac': 'addressing',
  'network dns': 'addressing',
};

/** The page and section for a field; namespaced extensions have pages of their own. */
export function libvirtPage(kind: DocumentKind, path: readonly string[]): string {
  const [first = ''] = path;
  if (first.startsWith('qemu:')) return `${site}drvqemu.html#pass-through-of-arbitrary-qemu-commands`;
  if (first.startsWith('lxc:')) return `${site}drvlxc.html`;
  if (first.startsWith('bhyve:')) return `${site}drvbhyve.html`;
  if (first.startsWith('xen:')) return `${site}drvxen.html`;
  if (first.startsWith('vmware:')) return `${site}drvesx.html`;
  if (first.startsWith('dnsmasq:')) return `${site}formatnetwork.html#network-namespaces`;
  if (first.startsWith('fs:') || first.startsWith('rbd:')) return `${site}formatstorage.html#storage-pool-namespaces`;
  if ((kind === 'domainsnapshot' || kind === 'domaincheckpoint') && /^(?:inactiveD|d)omain$/.test(first)) {
    return libvirtPage('domain', path.slice(1));
  }
  for (let length = path.length; length >= 0; length -= 1) {
    const section = sections[[kind, ...path.slice(0, length)].join(' ')];
    if (section !== undefined) return `${site}${pages[kind]}#${section}`;
  }
  return site + pages[kind];
}
