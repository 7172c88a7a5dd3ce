import { describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { ConflictError } from '../../src/base/errors.ts';
import { assertSameHost } from '../../src/commands/adopt/known-host.ts';

const here = '4c4c4544-0051-3210-8052-c4c04f4d3632';

function node(systemUUID?: string): Hypervisor {
  const status = systemUUID === undefined ? {} : { status: { nodeInfo: { systemUUID } } };
  return { apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor', metadata: { name: 'n1' }, spec: {}, ...status };
}

const check = (known: string | undefined, uuid: string) => () => {
  assertSameHost(node(known), uuid, 'qemu:///system');
};

describe('the libvirt of a node', () => {
  it('is the one of its host, however the UUID is written', () => {
    expect(check(here, here)).not.toThrow();
    expect(check(here.toUpperCase(), here)).not.toThrow();
  });

  it.each([
    ["is another host's", here, here.replace('4c4c', '5d5d'), 'is not that of node n1'],
    ['does not say which host it is', here, '', 'does not say which host it is'],
    ['is compared with a node that never told', undefined, here, 'has not told which host it is'],
    ['and its node say nothing', '', '', 'has not told which host it is'],
  ])('is refused when it %s', (_what, known, uuid, message) => {
    expect(check(known, uuid)).toThrow(ConflictError);
    expect(check(known, uuid)).toThrow(message);
  });
});
