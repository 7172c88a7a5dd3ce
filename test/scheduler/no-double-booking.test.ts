import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SchedulerWorld, turn } from '../support/scheduler-world.ts';

/** Something that happens. Numbers choose among what there is at that moment. */
type Step =
  | { readonly do: 'create'; readonly mib: number; readonly priority: number }
  | { readonly do: 'delete' | 'release' | 'lose' | 'heal' | 'cordon' | 'remove' | 'remake'; readonly which: number }
  | { readonly do: 'node'; readonly mib: number }
  | { readonly do: 'start' | 'wait' }
  | { readonly do: 'kill'; readonly which: number }
  | { readonly do: 'serve'; readonly which: number; readonly fate: 'answered' | 'lost' }
  | { readonly do: 'deliver'; readonly which: number; readonly count: number };

const which = fc.nat({ max: 1000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      mib: fc.constantFrom(700, 1700, 3500),
      // Who is placed first is then not who was reserved for first.
      priority: fc.constantFrom(0, 0, 5),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'delete' as const,
        'delete',
        'release',
        'lose',
        'heal',
        'cordon',
        'remove',
        'remake',
        'remake',
      ),
      which,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('node' as const), mib: fc.constantFrom(4096, 6000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('start' as const, 'wait') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), which }) },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('serve' as const),
      which,
      fate: fc.constantFrom('answered' as const, 'answered', 'answered', 'lost'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), which, count: fc.integer({ min: 1, max: 6 }) }),
  },
);

const pick = <T>(list: readonly T[], which: number): T | undefined => list[which % Math.max(1, list.length)];

/**
 * Starts one more scheduler. Who comes to lead after a node was made anew has waited for the lease of the one before: the
 * binds that one sent have come to their end. Nothing tells it of reservations on an object that was gone before it began.
 */
async function start(world: SchedulerWorld): Promise<void> {
  if (world.remade) await world.settle();
  world.start();
}

async function happen(world: SchedulerWorld, what: Step, number: number): Promise<void> {
  const machine = 'which' in what ? pick([...world.machines.keys()], what.which) : undefined;
  const node = 'which' in what ? pick([...world.nodes.keys()], what.which) : undefined;
  const living = world.schedulers.filter(({ alive }) => alive());
  const ready = (status: string) => ({
    status: { ...world.nodes.get(node ?? '')?.status, conditions: [{ type: 'Ready', status }] },
  });
  switch (what.do) {
    case 'create':
      world.addMachine(`m${number}`, what.mib, { priority: what.priority });
      break;
    case 'delete':
      world.delete('machine', machine ?? '');
      break;
    case 'release':
      world.change('machine', machine ?? '', ({ spec: { nodeName: _gone, ...spec } }) => ({ spec }));
      break;
    case 'node':
      if (world.nodes.size < 5) world.addNode(`n${number}`, `${what.mib}Mi`);
      break;
    case 'lose':
      world.change('node', node ?? '', () => ready('Unknown'));
      break;
    case 'heal':
      world.change('node', node ?? '', () => ({ ...ready('True'), spec: {} }));
      break;
    case 'cordon':
      world.change('node', node ?? '', () => ({ spec: { unschedulable: true } }));
      break;
    case 'remove':
      world.delete('node', node ?? '');
      break;
    case 'remake':
      // As when somebody deletes a Hypervisor, and its executor makes it anew.
      world.remake(node ?? '');
      break;
    case 'start':
      if (living.length < 2) await start(world);
      break;
    case 'wait':
      await world.clock.advance(1_500);
      break;
    case 'kill':
      pick(living, what.which)?.kill();
      break;
    case 'serve':
      world.serve(what.which % Math.max(1, world.requests.length), what.fate);
      break;
    case 'deliver':
      pick(living, what.which)?.deliver(what.count);
      break;
  }
  await turn();
}

describe('schedulers', () => {
  it('never give away more than a node has, and leave no machine behind that fits, whatever happens to them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 160, size: 'max' }), async (steps) => {
        const world = new SchedulerWorld();
        world.addNode('n-a', '4096Mi');
        world.addNode('n-b', '6000Mi');
        // Two that believe to lead: one is cut off from the API server, say, and the other took its place.
        world.start();
        world.start();
        for (const mib of [1700, 3500, 1700]) world.addMachine(`first-${mib}`, mib);
        for (const [number, what] of steps.entries()) {
          await happen(world, what, number);
          expect([world.overcommitted(), world.moved]).toEqual([[], []]);
        }
        if (!world.schedulers.some(({ alive }) => alive())) await start(world);
        // What failed is tried again after a while; then nothing is left to wait for.
        for (let round = 0; round < 12; round += 1) {
          await world.settle();
          await world.clock.advance(30_000);
        }
        await world.settle();
        expect([world.overcommitted(), world.moved]).toEqual([[], []]);
        expect(world.forgotten()).toEqual([]);
        for (const one of world.schedulers) one.kill();
      }),
      { numRuns: Number(process.env['SCHEDULER_RUNS'] ?? 150) },
    );
  }, 120_000);
});
