import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { domainsInPool, domainsWith } from '../../../src/executor/virtual-disk/disk-users.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { Libvirt } from '../../../src/libvirt/libvirt.ts';

const { signal } = new AbortController();

interface World {
  /** Domains by name: what is in `<os>` and in `<devices>`, and whether it runs. */
  readonly domains: Readonly<
    Record<string, { readonly os?: string; readonly devices?: string; readonly active?: true }>
  >;
  /** Pools by name: their XML, and the paths of their volumes with what lies below them. */
  readonly pools: Readonly<
    Record<string, { readonly xml: string; readonly volumes?: Readonly<Record<string, string>> }>
  >;
}

function gone(): Promise<never> {
  const silent = { str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  const details = { ...silent, code: ErrorNumber.NO_STORAGE_VOL, domain: 18, level: 2, message: 'gone' };
  return Promise.reject(new LibvirtError('storageVolLookupByPath', details));
}

function libvirtOf({ domains, pools }: World): Libvirt {
  const volume = (path: string, below: string) => ({
    // It went away after it was listed.
    path: () => (path.endsWith('/vanished') ? gone() : Promise.resolve(path)),
    xml: () =>
      Promise.resolve(
        `<volume><name>v</name>${below === '' ? '' : `<backingStore><path>${below}</path></backingStore>`}</volume>`,
      ),
  });
  const all = Object.values(pools).flatMap(({ volumes = {} }) => Object.entries(volumes));
  const libvirt = {
    domains: {
      list: ({ active }: { readonly active?: boolean }) =>
        Promise.resolve(
          Object.entries(domains)
            .filter(([, one]) => active !== true || one.active === true)
            .map(([name, { os = '', devices = '' }]) => ({
              name,
              xml: () =>
                Promise.resolve(
                  `<domain type='qemu'><name>${name}</name><os><type>hvm</type>${os}</os>` +
                    `<devices>${devices}</devices></domain>`,
                ),
            })),
        ),
    },
    pools: {
      byName: (name: string) => {
        const pool = pools[name];
        if (pool === undefined) return gone();
        return Promise.resolve({
          xml: () => Promise.resolve(pool.xml),
          volumes: () =>
            Promise.resolve(Object.entries(pool.volumes ?? {}).map(([path, below]) => volume(path, below))),
        });
      },
      volumeByPath: (path: string) => {
        const found = all.find(([one]) => one === path);
        return found === undefined ? gone() : Promise.resolve(volume(...found));
      },
    },
  };
  return libvirt as unknown as Libvirt;
}

const dir = (path: string): string => `<pool type='dir'><name>p</name><target><path>${path}</path></target></pool>`;
const disk = (path: string, more = "<driver name='qemu' type='qcow2'/>", kind: 'file' | 'dev' = 'file'): string =>
  `<disk type='${kind === 'file' ? 'file' : 'block'}' device='disk'>${more}<source ${kind}='${path}'/><target dev='vda'/></disk>`;

describe('a pool is needed by domains', () => {
  const inPool = (
    world: Pick<World, 'domains'> & { readonly xml?: string; readonly volumes?: Record<string, string> },
  ) =>
    domainsInPool(
      libvirtOf({ domains: world.domains, pools: { p: { xml: world.xml ?? dir('/pool'), ...world } } }),
      'p',
      false,
      signal,
    );

  it('that name one of its files by its path, wherever they name it', async () => {
    const domains = {
      'a-disk': { devices: disk('/pool/x.qcow2') },
      'b-kernel': { os: '<kernel>/pool/vmlinuz</kernel>' },
      'c-nvram': { os: '<nvram>/pool/vars.fd</nvram>' },
      'd-share': { devices: "<filesystem><source dir='/pool'/><target dir='x'/></filesystem>" },
      'e-below': {
        devices: disk('/other/x', "<backingStore type='file'><source file='/pool/base.raw'/></backingStore>"),
      },
      'f-copied': { devices: disk('/other/x', "<mirror type='file'><source file='/pool/copy'/></mirror>") },
      'g-volume': { devices: "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>" },
      'x-other': { devices: disk('/pool-2/x.qcow2') },
      'y-deeper': { devices: disk('/pool/of-another/x.qcow2') },
      'z-none': { devices: "<disk type='file' device='cdrom'><target dev='sda'/></disk>" },
    };
    expect(await inPool({ domains })).toEqual([
      'a-disk',
      'b-kernel',
      'c-nvram',
      'd-share',
      'e-below',
      'f-copied',
      'g-volume',
    ]);
  });

  it('that have a file anywhere below where it is mounted', async () => {
    const xml = "<pool type='netfs'><name>p</name><target><path>/mnt</path></target></pool>";
    expect(await inPool({ domains: { deep: { devices: disk('/mnt/a/b/x.raw') } }, xml })).toEqual(['deep']);
  });

  it('that have one of its devices, and not those that have another of the same folder', async () => {
    const xml = "<pool type='iscsi'><name>p</name><target><path>/dev/disk/by-path</path></target></pool>";
    const domains = {
      own: { devices: disk('/dev/disk/by-path/lun-0', '', 'dev') },
      other: { devices: disk('/dev/disk/by-path/usb-0', '', 'dev') },
    };
    expect(await inPool({ domains, xml, volumes: { '/dev/disk/by-path/lun-0': '' } })).toEqual(['own']);
  });

  it('that have one of its devices, when another goes away meanwhile', async () => {
    const xml = "<pool type='iscsi'><name>p</name><target><path>/dev/disk/by-path</path></target></pool>";
    const volumes = { '/dev/disk/by-path/vanished': '', '/dev/disk/by-path/lun-1': '' };
    const domains = { web: { devices: disk('/dev/disk/by-path/lun-1', '', 'dev') } };
    expect(await inPool({ domains, xml, volumes })).toEqual(['web']);
  });

  it('that are off and have a disk over one of its files', async () => {
    const domains = { off: { devices: disk('/other/x') } };
    const libvirt = libvirtOf({
      domains,
      pools: {
        p: { xml: dir('/pool') },
        other: { xml: dir('/other'), volumes: { '/other/x': '/other/y', '/other/y': '/pool/base' } },
      },
    });
    expect(await domainsInPool(libvirt, 'p', false, signal)).toEqual(['off']);
    expect(await domainsInPool(libvirt, 'p', true, signal)).toEqual([]);
  });
});

describe('a volume is used by domains', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'virtctl-disk-users-'));
    await mkdir(join(root, 'real'));
    await symlink(join(root, 'real'), join(root, 'link'));
    await writeFile(join(root, 'real', 'x.raw'), '');
  });
  afterEach(() => rm(root, { recursive: true }));

  it('that write its path in another way', async () => {
    const path = join(root, 'real', 'x.raw');
    for (const written of [path, `${root}/real/../real//x.raw`, `${root}/link/x.raw`]) {
      const libvirt = libvirtOf({ domains: { web: { devices: disk(written) } }, pools: {} });
      expect(await domainsWith(libvirt, path, false, signal)).toMatchObject([
        { domain: { name: 'web' }, target: 'vda' },
      ]);
      expect(
        await domainsInPool(
          libvirtOf({ domains: { web: { devices: disk(written) } }, pools: { p: { xml: dir(join(root, 'link')) } } }),
          'p',
          false,
          signal,
        ),
      ).toEqual(['web']);
    }
  });

  it("that are off and have a file over it, unless the file is raw: its content is the guest's", async () => {
    const pools = { p: { xml: dir('/pool'), volumes: { '/pool/over': '/pool/base', '/pool/base': '/pool/over' } } };
    const domains = {
      thin: { devices: disk('/pool/over') },
      raw: { devices: disk('/pool/over', "<driver type='raw'/>") },
    };
    const users = await domainsWith(libvirtOf({ domains, pools }), '/pool/base', false, signal);
    expect(users.map(({ domain, target }) => [domain.name, target])).toEqual([['thin', undefined]]);
  });
});
