import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { compareDefinition } from '../../../src/executor/virtual-machine/definition.ts';
import type { MachineMark } from '../../../src/executor/virtual-machine/domain-metadata.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';

const overlay = [{ at: '', xml: '<odd/>' }];
const wanted = { name: 'shop.web', title: 'web' };

function machine(spec: VirtualMachine['spec'] = {}, labels?: Readonly<Record<string, string>>): VirtualMachine {
  const metadata = { namespace: 'shop', name: 'web', uid: 'u', ...(labels === undefined ? {} : { labels }) };
  return { apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata, spec };
}

const mark: MachineMark = {
  ...{ namespace: 'shop', name: 'web', uid: 'u', generation: 1 },
  ...{ spec: {}, metadata: {}, applied: wanted, ignored: [] },
};

/** What is needed for a machine, with a mark in a definition that is as wanted, or as given. */
function needed(
  one: VirtualMachine,
  before: MachineMark | undefined,
  inactive: Readonly<Record<string, string>> = wanted,
  inactiveOverlay: DomainView['inactiveOverlay'] = [],
  isPersistent = true,
): string {
  const view = { mark: before, inactive, inactiveOverlay, isPersistent } as unknown as DomainView;
  return compareDefinition(one, wanted, view).needed;
}

describe('compareDefinition', () => {
  it('needs nothing where nothing changed', () => {
    expect(needed(machine(), mark)).toBe('nothing');
  });

  it('only marks a domain that was there before its machine and is as asked for', () => {
    expect(needed(machine(), undefined)).toBe('mark');
    expect(needed(machine(), undefined, { name: 'shop.web', title: 'other' })).toBe('define');
    expect(needed(machine({ overlay }), undefined)).toBe('define');
    expect(needed(machine({ overlay }), undefined, wanted, overlay)).toBe('mark');
  });

  it('only marks what the domain does not have: labels, the run strategy, another uid', () => {
    expect(needed(machine({}, { tier: 'front' }), mark)).toBe('mark');
    expect(needed(machine({ runStrategy: 'Halted' }), mark)).toBe('mark');
    expect(needed(machine(), { ...mark, uid: 'lost' })).toBe('mark');
  });

  it('defines a domain that is without a definition, and so has none to keep a mark in', () => {
    expect(needed(machine(), mark, wanted, [], false)).toBe('define');
    expect(needed(machine({}, { tier: 'front' }), mark, wanted, [], false)).toBe('define');
    expect(needed(machine(), undefined, wanted, [], false)).toBe('define');
  });

  it('defines it anew when the overlay changes', () => {
    expect(needed(machine({ overlay }), mark)).toBe('define');
    expect(needed(machine(), { ...mark, spec: { overlay } })).toBe('define');
    expect(needed(machine({ overlay }), { ...mark, spec: { overlay } })).toBe('nothing');
  });
});
