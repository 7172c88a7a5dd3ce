import { describe, expect, it } from 'vitest';
import { chooseDomain, isCopy, type MarkedDomain } from '../../src/commands/recover/choose-domain.ts';

const own = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const other = 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de';

/** A domain with the mark of shop/web, whose object had the uid `own`. */
function domainOf(node: string, uuid: string, state: 'off' | 'running', spec: object = {}): MarkedDomain {
  return {
    host: { node: { name: node } },
    view: { state, domain: { name: `${node}-${state}`, uuid } },
    mark: { namespace: 'shop', name: 'web', uid: own, spec },
  } as unknown as MarkedDomain;
}

const whole = domainOf('node-1', own, 'off');
const copy = domainOf('node-1', other, 'running');

describe('of the domains that carry the mark of a lost machine', () => {
  it('the one that runs is the machine, and not what a migration left behind', () => {
    const runs = domainOf('node-2', own, 'running');
    expect(chooseDomain([whole, runs])).toBe(runs);
  });

  it('a copy with another UUID is not, whether it runs, both run or it comes first', () => {
    const runs = domainOf('node-1', own, 'running');
    expect(chooseDomain([copy, whole])).toBe(whole);
    expect(chooseDomain([copy, runs])).toBe(runs);
    expect([whole, copy].map(isCopy)).toEqual([false, true]);
  });

  it('one that was given its UUID by spec is no copy', () => {
    const spec = { domain: { uuid: other.toUpperCase() } };
    expect(isCopy(domainOf('node-1', other, 'off', spec))).toBe(false);
    expect(isCopy(domainOf('node-1', own, 'off', spec))).toBe(true);
  });

  it('a copy is where nothing else is left', () => {
    expect(chooseDomain([copy])).toBe(copy);
  });

  it('none is where two run, and a person is asked', () => {
    const two = [domainOf('node-1', own, 'running'), domainOf('node-2', own, 'running')];
    expect(() => chooseDomain(two)).toThrow('vm/web in shop is active on node-1 and node-2');
  });
});
