/** VirtualNetwork: a libvirt network, on the nodes it selects. */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration, overlay } from './meta.ts';
import { nodesSelector } from './scheduling.ts';
import { boolean, document, integer, list, longInteger, object, string, time, words, type Value } from './schema.ts';
import type { Network } from '../model/types.gen.ts';

/** The schema of a VirtualNetwork's spec. */
export const virtualNetworkSpec = object(
  'What is wanted.',
  {},
  {
    nodeSelector: nodesSelector,
    autostart: boolean('Whether libvirt starts it with the node. true when left out.'),
    active: boolean('Whether it is started. true when left out.'),
    driftPolicy: words(
      'What happens when somebody changes it behind our back. Enforce: what spec sets is restored. Report: it is only ' +
        'told in status.',
      ['Enforce', 'Report'],
      { default: 'Enforce' },
    ),
    network: document<Network>(
      "libvirt's network, all of it (https://libvirt.org/formatnetwork.html). Its name at libvirt is " +
        '<namespace>.<name> unless network.name says otherwise.',
      'network',
    ),
    overlay,
  },
);

/** The schema of a VirtualNetwork's status. */
export const virtualNetworkStatus = object(
  'What is; written by the executors, each its node.',
  {},
  {
    observedGeneration,
    summary: string('On how many nodes it is ready, of how many: 3/3.'),
    nodes: list(
      'The nodes it is on.',
      object(
        'A node.',
        { nodeName: string('Its name.') },
        {
          state: words('Whether it is started there; Absent when not defined.', ['Active', 'Inactive', 'Absent']),
          name: string('Its name at libvirt there.'),
          uuid: string('Its UUID there.'),
          bridge: string('Its bridge there, as virbr0.'),
          persistent: boolean('Whether it is defined there, not only running.'),
          autostart: boolean('Whether libvirt starts it with the node.'),
          observedGeneration: longInteger('The metadata.generation that is in effect there.', { min: 0 }),
          restartRequired: list(
            'The fields that take effect when it is restarted.',
            string('A path below spec.network.'),
          ),
          restartedAt: string(
            'The restart that was asked for last and is done: the annotation virtctl.dev/restartedAt.',
          ),
          refused: string("Why a change could not be made in the running network, in libvirt's words."),
          drift: list('What somebody changed behind our back and is left so.', string('A path below spec.network.')),
          ignored: list('What libvirt did not keep of what it was given.', string('A path below spec.network.')),
          attached: list('The machines that are plugged into it, as namespace/name.', string('A machine.')),
          attachedLeftOut: integer('How many more machines there are than are told.', { min: 1 }),
          leases: list(
            'The addresses its DHCP server gave.',
            object(
              'A lease.',
              { mac: string('The MAC address.'), ip: string('The IP address.') },
              {
                prefix: integer('The length of the prefix in bits.', { min: 0, max: 128 }),
                hostname: string("The guest's host name."),
                clientId: string("The client's id."),
                expiresAt: time('When it ends.'),
              },
            ),
            { maxItems: 1024 },
          ),
          leasesLeftOut: integer('How many more leases there are than are told.', { min: 1 }),
          lastUpdateTime: time('When this was found out.'),
          reason: string('Why it is not ready, in one word: a reason of the condition Ready.'),
          message: string("Why it is not ready, in libvirt's words."),
        },
      ),
      { keys: ['nodeName'] },
    ),
    conditions,
  },
);

/** What is wanted of a network. */
export type VirtualNetworkSpec = Value<typeof virtualNetworkSpec>;
/** What is known of a network. */
export type VirtualNetworkStatus = Value<typeof virtualNetworkStatus>;
/** A network. */
export type VirtualNetwork = Resource<'VirtualNetwork', VirtualNetworkSpec, VirtualNetworkStatus>;

/** The annotation that asks for a restart: any new value, by custom the time. */
export const restartAnnotation = 'virtctl.dev/restartedAt';

/** The types of a VirtualNetwork's conditions. */
export const virtualNetworkConditions = {
  /** It runs on every node that is selected. */
  Ready: 'Ready',
  /** It is as spec says on every node. */
  Synchronized: 'Synchronized',
  /** Some fields wait for the next start of the network. */
  RestartRequired: 'RestartRequired',
  /** Deleting it waits: machines are plugged into it. */
  InUse: 'InUse',
} as const;

/** The reasons of a VirtualNetwork's conditions. */
export const virtualNetworkReasons = {
  // Ready
  Running: 'Running',
  Stopped: 'Stopped',
  NoNodes: 'NoNodes',
  NotOnAllNodes: 'NotOnAllNodes',
  DefineFailed: 'DefineFailed',
  StartFailed: 'StartFailed',
  RemoveFailed: 'RemoveFailed',
  BridgeInUse: 'BridgeInUse',
  SubnetOverlaps: 'SubnetOverlaps',
  ForeignNetwork: 'ForeignNetwork',
  // Synchronized
  InSync: 'InSync',
  Drifted: 'Drifted',
  IgnoredByLibvirt: 'IgnoredByLibvirt',
  FieldsPending: 'FieldsPending',
  NothingPending: 'NothingPending',
  InUse: 'InUse',
  NotInUse: 'NotInUse',
} as const;

/** The name of the libvirt network: spec.network.name, else `<namespace>.<name>`. */
export function networkName(network: {
  readonly metadata: { readonly name?: string | undefined; readonly namespace?: string | undefined };
  readonly spec?: { readonly network?: { readonly name?: unknown } | undefined };
}): string {
  const given = network.spec?.network?.name;
  if (typeof given === 'string' && given !== '') return given;
  return `${network.metadata.namespace ?? 'default'}.${network.metadata.name ?? ''}`;
}
