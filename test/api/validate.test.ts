import { describe, expect, it } from 'vitest';
import type { Lookup } from '../../src/api/lookup.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import type { Problem } from '../../src/api/problem.ts';
import { assertValid, validateDeletion, validateObject } from '../../src/api/validate.ts';
import type { VirtualMachine, VirtualMachineStatus } from '../../src/api/virtual-machine.ts';
import { InvalidInputError } from '../../src/base/errors.ts';
import { examples } from '../support/example-objects.ts';

function object(kind: string, spec: unknown, metadata: object = {}, status?: unknown): KubeObject {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind,
    metadata: { name: 'web', namespace: 'shop', ...metadata },
    spec,
    ...(status === undefined ? {} : { status }),
  };
}

const vm = (spec: unknown, metadata?: object, status?: VirtualMachineStatus): VirtualMachine =>
  object('VirtualMachine', spec, metadata, status) as VirtualMachine;

function lines(problems: readonly Problem[], severity: Problem['severity'] = 'error'): string[] {
  return problems.filter((one) => one.severity === severity).map((one) => `${one.path}: ${one.message}`);
}

const errors = (value: unknown, options?: Parameters<typeof validateObject>[1]): string[] =>
  lines(validateObject(value, options));

/** A lookup over a list of objects. */
function lookupOf(objects: readonly KubeObject[]): Lookup {
  return {
    find: (kind, namespace, name) =>
      objects.find(
        (one) =>
          one.kind === kind && one.metadata.name === name && (one.metadata.namespace ?? '') === (namespace ?? ''),
      ),
    usersOfDisk: (namespace, disk) =>
      objects.filter(
        (one): one is VirtualMachine =>
          one.kind === 'VirtualMachine' &&
          one.metadata.namespace === namespace &&
          JSON.stringify(one.spec).includes(`"virtualDisk":"${disk}"`),
      ),
  };
}

describe('validateObject', () => {
  it('finds nothing wrong with the examples of the documentation', () => {
    expect(examples.map((one) => [one.kind, errors(one)])).toEqual(examples.map((one) => [one.kind, []]));
  });

  it('leaves objects of other groups alone, and refuses kinds and versions of ours that there are not', () => {
    expect(errors({ apiVersion: 'v1', kind: 'Secret', metadata: {} })).toEqual([]);
    expect(errors({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'Pod', metadata: {} })[0]).toMatch(
      /^kind: there is no kind Pod/,
    );
    expect(errors({ apiVersion: 'virtctl.dev/v2', kind: 'VirtualMachine', metadata: {} })[0]).toMatch(/^apiVersion: /);
    expect(errors('text')).toEqual([': expected an object with apiVersion and kind']);
  });

  it('names the nearest known field for one that is unknown, at every level', () => {
    expect(errors(vm({ runStrateg: 'Always' }))).toEqual(['spec.runStrateg: unknown key; did you mean runStrategy?']);
    expect(errors(vm({ volumes: [{ name: 'a', hostPath: { pth: '/x', path: '/x' } }] }))).toEqual([
      'spec.volumes[0].hostPath.pth: unknown key; did you mean path?',
    ]);
    expect(errors(vm({ domain: { devices: { disk: [{ drivr: {} }] } } }))).toEqual([
      'spec.domain.devices.disk[0].drivr: unknown key; did you mean driver?',
    ]);
    expect(errors(vm({ volumes: [{ name: 'a', virtualDisk: 'a', device: { drivr: {} } }] }))).toEqual([
      'spec.volumes[0].device.drivr: unknown key; did you mean driver?',
    ]);
    expect(errors({ ...vm({}), specc: {} })).toEqual(['specc: unknown key; did it belong into spec?']);
  });

  it('is not fooled by names that every JavaScript object has', () => {
    const spec: unknown = JSON.parse('{"constructor": 1, "__proto__": {}, "toString": 2}');
    expect(errors(vm(spec)).map((line) => line.split(':')[0])).toEqual([
      'spec.constructor',
      'spec.__proto__',
      'spec.toString',
    ]);
  });

  it('says what was expected and found for a value of the wrong type', () => {
    expect(errors(vm({ runStrategy: 'always' }))).toEqual([
      'spec.runStrategy: expected one of Always, RerunOnFailure, Once, Manual, Halted, found "always"; did you mean Always?',
    ]);
    expect(errors(vm({ terminationGracePeriodSeconds: '60' }))).toEqual([
      'spec.terminationGracePeriodSeconds: expected an integer between 0 and 31536000, found "60"',
    ]);
    expect(errors(vm({ deletionProtection: 'yes', nodeSelector: ['a'], volumes: {} }))).toEqual([
      'spec.deletionProtection: expected true or false, found "yes"',
      'spec.nodeSelector: expected an object, found a list',
      'spec.volumes: expected a list, found an object',
    ]);
    expect(errors(object('VirtualDisk', { capacity: '10 GB' }))).toEqual([
      'spec.capacity: expected a quantity such as 10Gi, found "10 GB"',
    ]);
  });

  it('does not look at a spec that did not change, so that old objects stay writable', () => {
    const broken = vm({ runStrategy: 'Sometimes' });
    expect(errors({ ...broken, metadata: { ...broken.metadata, finalizers: [] } }, { old: broken })).toEqual([]);
    expect(errors(vm({ runStrategy: 'Never' }), { old: broken })).toHaveLength(1);
  });

  it('throws every error at once from assertValid, and no warning', () => {
    expect(() => assertValid(vm({ a: 1, b: 2 }))).toThrow(InvalidInputError);
    const lookup = lookupOf([]);
    expect(() => assertValid(vm({ volumes: [{ name: 'a', virtualDisk: 'a' }] }), { lookup })).not.toThrow();
  });
});

describe('the size of a VirtualMachine', () => {
  const sized = (length: number): VirtualMachine =>
    vm({ volumes: [{ name: 'seed', cloudInit: { userData: 'x'.repeat(length) } }] });
  const overhead = (() => {
    const [line = ''] = errors(sized(131_000 + 1000)).filter((one) => one.includes('bytes of YAML'));
    return Number(/has (\d+) bytes/.exec(line)?.[1]) - 132_000;
  })();

  it('may be 128 KiB, and not one byte more, with the size in the message', () => {
    expect(errors(sized(131_072 - overhead))).toEqual([]);
    expect(errors(sized(131_073 - overhead))).toEqual([
      expect.stringMatching(/131073 bytes of YAML \(128\.0 KiB\), at most 131072 \(128 KiB\)/),
    ]);
  });

  it('counts neither status nor what the server keeps', () => {
    const big = 'y'.repeat(200_000);
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': big };
    expect(errors(vm({}, { annotations, managedFields: [{ manager: big }] }, { printableStatus: big }))).toEqual([]);
    expect(errors(vm({}, { annotations: { mine: big } }))).toHaveLength(1);
  });

  it('counts bytes, not characters', () => {
    const text = 'ü'.repeat(70_000);
    expect(errors(vm({}, { annotations: { text } }))[0]).toMatch(/14\d{4} bytes/);
  });
});

describe('the node of a VirtualMachine', () => {
  const on = (node: string, status?: VirtualMachineStatus): VirtualMachine => vm({ nodeName: node }, {}, status);

  it('can be written once', () => {
    expect(errors(on('a'), { old: vm({}) })).toEqual([]);
    expect(errors(on('b'), { old: on('a') })[0]).toMatch(/^spec.nodeName: cannot be changed from a while a domain may/);
    expect(errors(vm({}), { old: on('a') })).toHaveLength(1);
    expect(errors(on(''), { old: on('a', { nodeName: 'a' }) })).toHaveLength(1);
  });

  it('can follow a domain that has moved', () => {
    expect(errors(on('b'), { old: on('a', { nodeName: 'b' }) })).toEqual([]);
    expect(errors(on('c'), { old: on('a', { nodeName: 'b' }) })).toHaveLength(1);
  });

  it('can be changed when the executor has released it', () => {
    const conditions = [{ type: 'Scheduled', status: 'False', reason: 'NodeReleased' } as const];
    expect(errors(on('b'), { old: on('a', { nodeName: '', conditions }) })).toEqual([]);
    expect(errors(on('b'), { old: on('a', { nodeName: 'a', conditions }) })).toHaveLength(1);
  });

  it('can be changed when there never was such a node', () => {
    const lookup = lookupOf([{ ...object('Hypervisor', {}), metadata: { name: 'a' } }]);
    expect(errors(on('b'), { old: on('typo'), lookup })).toEqual([]);
    expect(errors(on('b'), { old: on('a'), lookup })).toHaveLength(1);
    expect(errors(on('b'), { old: on('typo', { nodeName: 'typo' }), lookup })).toHaveLength(1);
  });

  it('fixes the name and the UUID of the domain', () => {
    const old = vm({ nodeName: 'a', domain: { name: 'x' } });
    expect(errors(vm({ nodeName: 'a', domain: { name: 'y' } }), { old })[0]).toMatch(
      /^spec.domain.name: cannot be changed/,
    );
    expect(errors(vm({ domain: { name: 'y' } }), { old: vm({ domain: { name: 'x' } }) })).toEqual([]);
  });
});

describe('the disks of a VirtualMachine', () => {
  const uses = (name: string, volume: object = {}): VirtualMachine =>
    vm({ volumes: [{ name: 'd', virtualDisk: 'data', ...volume }] }, { name });

  it('have one read-write user', () => {
    const lookup = lookupOf([uses('db')]);
    expect(errors(uses('web'), { lookup })).toEqual([
      'spec.volumes[0].virtualDisk: VirtualMachine "db" has data read-write already; a disk has one such user, unless both say shareable',
    ]);
    expect(errors(uses('db', { cache: 'none' }), { lookup })).toEqual([]);
    expect(errors(vm(uses('web').spec, { namespace: 'other' }), { lookup })).toEqual([]);
  });

  it('may be shared where all say so, or all only read', () => {
    expect(errors(uses('web', { shareable: true }), { lookup: lookupOf([uses('db', { shareable: true })]) })).toEqual(
      [],
    );
    expect(errors(uses('web', { shareable: true }), { lookup: lookupOf([uses('db')]) })).toHaveLength(1);
    expect(errors(uses('web', { readOnly: true }), { lookup: lookupOf([uses('db', { cdrom: true })]) })).toEqual([]);
    expect(errors(uses('web', { readOnly: true }), { lookup: lookupOf([uses('db')]) })).toHaveLength(1);
  });

  it('do not keep a machine from other changes when the clash was there before', () => {
    const lookup = lookupOf([uses('db'), uses('web')]);
    const changed = vm({ ...uses('web').spec, runStrategy: 'Halted' }, { name: 'web' });
    expect(errors(changed, { lookup, old: uses('web') })).toEqual([]);
  });

  it('are there once each, with one name, target, serial and boot order each', () => {
    const problems = errors(
      vm({
        domain: {
          devices: { disk: [{ target: { dev: 'vda' } }], interface: [{ mac: { address: '52:54:00:00:00:AA' } }] },
        },
        volumes: [
          { name: 'a', virtualDisk: 'x', target: { dev: 'vda' }, bootOrder: 1, serial: 's' },
          { name: 'b', virtualDisk: 'x', serial: 's' },
        ],
        interfaces: [
          { name: 'n', bridge: 'br0', mac: '52:54:00:00:00:aa', bootOrder: 1 },
          { name: 'm', bridge: 'br0' },
        ],
      }),
    );
    expect(problems).toEqual([
      'spec.volumes[0].target.dev: the device name vda is that of spec.domain.devices.disk[0].target.dev',
      'spec.volumes[1].serial: the serial number s is that of spec.volumes[0].serial',
      'spec.interfaces[0].mac: the MAC address 52:54:00:00:00:aa is that of spec.domain.devices.interface[0].mac.address',
      'spec.interfaces[0].bootOrder: the boot order 1 is that of spec.volumes[0].bootOrder',
      'spec.volumes[1].virtualDisk: x is in spec.volumes[0] already',
    ]);
    expect(
      errors(
        vm({
          volumes: [
            { name: 'a', virtualDisk: 'x' },
            { name: 'a', virtualDisk: 'y' },
          ],
        }),
      ),
    ).toEqual(['spec.volumes[1].name: "a" is the same as in spec.volumes[0]']);
  });

  it('have exactly one source', () => {
    expect(errors(vm({ volumes: [{ name: 'a' }, { name: 'b', virtualDisk: 'x', secret: { name: 's' } }] }))).toEqual([
      'spec.volumes[0]: expected one of virtualDisk, virtualImage, cloudInit, configMap, secret, hostPath, emptyDisk',
      'spec.volumes[1]: expected only one of virtualDisk and secret',
    ]);
  });

  it('do not leave the folder that a path names', () => {
    expect(errors(vm({ volumes: [{ name: 'a', hostPath: { path: '/var/../etc/shadow' } }] }))).toEqual([
      'spec.volumes[0].hostPath.path: must not contain ".."',
    ]);
    expect(errors(vm({ volumes: [{ name: 'a', hostPath: { path: 'x' } }] }))).toHaveLength(1);
    expect(errors(vm({ volumes: [{ name: 'a', virtualDisk: '../x' }] }))).toHaveLength(1);
  });
});

describe('the interfaces of a VirtualMachine', () => {
  const has = (one: object): string[] => errors(vm({ interfaces: [{ name: 'n', ...one }] }));

  it('have exactly one source, and only what goes with it', () => {
    expect(has({})).toHaveLength(1);
    expect(has({ bridge: 'br0', user: {} })).toHaveLength(1);
    expect(has({ bridge: 'br0', ip: '10.0.0.1' })).toEqual([
      'spec.interfaces[0].ip: is for an interface of a virtualNetwork only',
    ]);
    expect(has({ user: { portForwards: [{ hostPort: 80, guestPort: 80 }] } })).toHaveLength(1);
    expect(has({ user: { backend: 'passt', portForwards: [{ hostPort: 80, guestPort: 80 }] } })).toEqual([]);
  });

  it('have addresses that exist', () => {
    for (const ip of ['10.0.0.1', 'fd00::1', '::1', '::', '1:2:3:4:5:6:7:8', '::ffff:10.0.0.1']) {
      expect(has({ virtualNetwork: 'n', ip }), ip).toEqual([]);
    }
    for (const ip of ['10.0.0.256', '10.0.0', 'fd00', '1:2:3:4:5:6:7:8:9', '1::2::3', '::ffff:10.0.0.999']) {
      expect(has({ virtualNetwork: 'n', ip }), ip).toHaveLength(1);
    }
    expect(has({ bridge: 'br0', mac: '53:54:00:00:00:01' })[0]).toMatch(/multicast/);
    expect(has({ bridge: 'br0', mac: '52-54-00-00-00-01' })[0]).toMatch(/expected a MAC address/);
  });
});

describe('the overlay', () => {
  const overlay = (entry: object): string[] => errors(vm({ overlay: [entry] }));

  it('is addressed by a path of the document', () => {
    expect(overlay({ at: '', attributes: { a: '1' } })).toEqual([]);
    expect(overlay({ at: 'devices.disk[0].driver', attributes: { a: '1' } })).toEqual([]);
    expect(overlay({ at: 'devices.disc[0]', xml: '<a/>' })[0]).toMatch(/the document has no element devices\.disc/);
    expect(overlay({ at: 'devices.disk', xml: '<a/>' })[0]).toMatch(/devices\.disk is a list: give an index/);
    expect(overlay({ at: 'os[0]', xml: '<a/>' })[0]).toMatch(/os is not a list/);
    expect(overlay({ at: 'devices..disk', xml: '<a/>' })[0]).toMatch(/expected a path/);
  });

  it('has either XML or attributes', () => {
    expect(overlay({ at: '' })).toEqual(['spec.overlay[0]: expected exactly one of xml and attributes']);
    expect(overlay({ at: '', xml: '<a/>', attributes: { b: '' } })).toHaveLength(1);
    expect(overlay({ at: '', attributes: { 'a b': '' } })).toHaveLength(1);
  });

  it.each([
    '<a/>',
    '<a b="1" c=\'2\'>text<!-- comment --><![CDATA[<x>]]></a>',
    '<q:a xmlns:q="urn:q"><q:b/></q:a>',
    'text &amp; more &#x20;',
    '<a\n  b = "1"\n/>',
  ])('takes the well-formed %s', (xml) => {
    expect(overlay({ at: '', xml })).toEqual([]);
  });

  it.each([
    '<a>',
    '</a>',
    '<a></b>',
    '<a b=1/>',
    '<a b="1" b="2"/>',
    '<a b="<"/>',
    '<!DOCTYPE a>',
    '<?php ?>',
    'a & b',
    '<a b="&nbsp;"/>',
    '<a',
    '<!-- a -- b -->',
    '<![CDATA[',
    ']]>',
    '< a/>',
  ])('refuses %s', (xml) => {
    expect(overlay({ at: '', xml })).toEqual([expect.stringMatching(/^spec\.overlay\[0\]\.xml: is not well-formed: /)]);
  });
});

describe('names that libvirt is to hold', () => {
  it('have no slash, no control characters, and room in a file name', () => {
    expect(errors(vm({ domain: { name: 'a/b' } }))[0]).toMatch(
      /^spec\.domain\.name: libvirt takes no name with a slash/,
    );
    expect(errors(vm({ domain: { name: 'a\nb' } }))).toHaveLength(1);
    expect(errors(vm({}, { name: 'a'.repeat(240), namespace: 'b' }))[0]).toMatch(
      /^metadata\.name: .* has 242 bytes, at most 240/,
    );
    expect(errors(vm({}, { name: 'a'.repeat(238), namespace: 'b' }))).toEqual([]);
    expect(errors(object('VirtualNetwork', { network: { name: 'x/y' } }))).toHaveLength(1);
    expect(errors(object('VirtualPool', { pool: { type: 'dir', name: '..' } }))).toHaveLength(1);
  });
});

describe('an operation', () => {
  const op = (spec: object): KubeObject => object('VirtualMachineOperation', { virtualMachine: 'web', ...spec });

  it('has the parameters of its verb and no others', () => {
    expect(errors(op({ verb: 'Stop', stop: { force: true } }))).toEqual([]);
    expect(errors(op({ verb: 'Stop', restart: {} }))).toEqual(['spec.restart: is not for the verb Stop']);
    expect(errors(op({ verb: 'SendKey' }))).toEqual(['spec.sendKey: is required for the verb SendKey']);
    expect(errors(op({ verb: 'Reboot' }))[0]).toMatch(/^spec\.verb: expected one of .* found "Reboot"/);
    expect(errors(op({ verb: 'SetUserPassword', setUserPassword: { user: 'root' } }))).toEqual([
      'spec.setUserPassword.secretRef: is required',
    ]);
  });

  it('is never changed, but for when it is forgotten', () => {
    const old = op({ verb: 'Reset' });
    expect(errors(op({ verb: 'Reset', ttlSecondsAfterFinished: 5 }), { old })).toEqual([]);
    expect(errors(op({ verb: 'Pause' }), { old })[0]).toMatch(/^spec: cannot be changed/);
  });

  it('is refused where the run strategy would undo it at once', () => {
    const of = (runStrategy: string): Lookup => lookupOf([vm({ runStrategy })]);
    expect(errors(op({ verb: 'Stop' }), { lookup: of('Always') })[0]).toMatch(/^spec\.verb: .* runStrategy Always/);
    expect(errors(op({ verb: 'Start' }), { lookup: of('Halted') })[0]).toMatch(/^spec\.verb: .* runStrategy Halted/);
    expect(errors(op({ verb: 'Stop' }), { lookup: of('Manual') })).toEqual([]);
    expect(errors(op({ verb: 'Restart' }), { lookup: of('Always') })).toEqual([]);
  });
});

describe('references', () => {
  it('to objects that there are not are told, but not refused', () => {
    const machine = vm({
      volumes: [
        { name: 'a', virtualDisk: 'd' },
        { name: 'b', cloudInit: { secretRef: { name: 's' } } },
        { name: 'c', configMap: { name: 'm', optional: true } },
      ],
      interfaces: [{ name: 'n', virtualNetwork: 'front' }],
    });
    const problems = validateObject(machine, { lookup: lookupOf([]) });
    expect(lines(problems)).toEqual([]);
    expect(lines(problems, 'warning')).toEqual([
      'spec.volumes[0].virtualDisk: there is no VirtualDisk "d" in shop yet',
      'spec.volumes[1].cloudInit.secretRef.name: there is no Secret "s" in shop yet',
      'spec.interfaces[0].virtualNetwork: there is no VirtualNetwork "front" in shop yet',
    ]);
  });
});

describe('disks, images, pools, networks and snapshots', () => {
  it('need what cannot be guessed', () => {
    expect(errors(object('VirtualDisk', {}))).toEqual(['spec.capacity: is required for a blank disk']);
    expect(errors(object('VirtualDisk', { source: { image: { name: 'i' }, clone: { name: 'c' } } }))).toHaveLength(1);
    expect(errors(object('VirtualDisk', { source: { import: {} } }))).toHaveLength(1);
    expect(errors(object('VirtualDisk', { source: { clone: { name: 'web' } } }))).toHaveLength(1);
    expect(errors(object('VirtualImage', { source: {} }))).toHaveLength(1);
    expect(errors(object('VirtualImage', { source: { http: { url: 'https://x/y' } } }))).toEqual([
      'spec.source.http.checksum: is required',
    ]);
    expect(
      errors(object('VirtualImage', { source: { http: { url: 'https://x/y', checksum: 'md5:1' } } })),
    ).toHaveLength(1);
    expect(errors(object('VirtualPool', {}))).toEqual(['spec.pool: is required']);
    expect(errors(object('VirtualPool', { pool: {} }))).toEqual(['spec.pool.type: is required']);
    expect(errors(object('VirtualNetwork', {}))).toEqual([]);
  });

  it('keep secrets out of URLs', () => {
    const url = 'https://user:secret@example.org/x';
    expect(errors(object('VirtualImage', { source: { http: { url, checksum: 'none' } } }))[0]).toMatch(
      /must not hold a user or password/,
    );
  });

  it('cannot change what they are', () => {
    const disk = (spec: object): KubeObject => object('VirtualDisk', { capacity: '1Gi', ...spec });
    expect(errors(disk({ pool: 'b' }), { old: disk({ pool: 'a' }) })).toEqual(['spec.pool: cannot be changed']);
    expect(errors(disk({ nodeName: 'b' }), { old: disk({}) })).toEqual([]);
    const net = (name: string): KubeObject => object('VirtualNetwork', { network: { name } });
    expect(errors(net('b'), { old: net('a') })).toEqual(['spec.network.name: cannot be changed']);
    const snap = (spec: object): KubeObject => object('VirtualMachineSnapshot', { virtualMachine: 'web', ...spec });
    expect(errors(snap({ memory: true }), { old: snap({}) })).toEqual(['spec.memory: cannot be changed']);
    expect(errors(snap({ ttlSeconds: 5 }), { old: snap({}) })).toEqual([]);
  });

  it('do not shrink unless it is allowed', () => {
    const disk = (spec: object): KubeObject => object('VirtualDisk', spec, {}, { capacity: '2Gi' });
    expect(errors(disk({ capacity: '1Gi' }), { old: disk({ capacity: '2Gi' }) })[0]).toMatch(
      /^spec\.capacity: shrinking from 2Gi to 1Gi destroys/,
    );
    expect(errors(disk({ capacity: '1Gi', allowShrink: true }), { old: disk({ capacity: '2Gi' }) })).toEqual([]);
    expect(errors(disk({ capacity: '3Gi' }), { old: disk({ capacity: '2Gi' }) })).toEqual([]);
  });

  it('are taken at times that exist', () => {
    const at = (cron: string, timeZone = 'UTC'): string[] =>
      errors(object('VirtualMachineSnapshot', { virtualMachine: 'web', schedule: { cron, timeZone } }));
    for (const cron of ['0 3 * * *', '*/5 0-6,12 1 jan mon-fri', '@daily', '0 0 * * 7'])
      expect(at(cron), cron).toEqual([]);
    for (const cron of ['0 3 * *', '60 * * * *', '* * 0 * *', '5-1 * * * *', '*/0 * * * *', 'a * * * *', '@never']) {
      expect(at(cron), cron).toHaveLength(1);
    }
    expect(at('@daily', 'Europe/Berlin')).toEqual([]);
    expect(at('@daily', 'Mars/Olympus')).toHaveLength(1);
  });
});

describe('validateDeletion', () => {
  it('keeps what is protected', () => {
    expect(lines(validateDeletion(vm({ deletionProtection: true })))[0]).toMatch(
      /is protected: set deletionProtection/,
    );
    expect(validateDeletion(vm({}))).toEqual([]);
  });
});
