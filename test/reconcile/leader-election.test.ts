import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { LeaderElector, LeadershipLostError } from '../../src/reconcile/leader-election.ts';
import { keepLease } from '../../src/reconcile/lease.ts';
import type { Lease } from '../../src/reconcile/lease.ts';
import { sendJson, startFakeApiServer, statusBody } from '../support/fake-api-server.ts';
import type { FakeApiServer } from '../support/fake-api-server.ts';
import { FakeObjectStore } from '../support/fake-object-store.ts';
import { ManualClock } from '../support/manual-clock.ts';

const ref = { namespace: 'n', name: 'leader' };
const path = '/apis/coordination.k8s.io/v1/namespaces/n/leases/leader';

let store: FakeObjectStore;
let isSick: boolean;
/** Whether the namespace of leases is gone, as after the loss of the API server's data. */
let isHomeless: boolean;
let server: FakeApiServer;
let client: KubeClient;
let clock: ManualClock;
let stop: AbortController;
const candidates: Promise<unknown>[] = [];
const live = new Map<ManualClock, number>();

beforeEach(async () => {
  store = new FakeObjectStore();
  isSick = false;
  isHomeless = false;
  server = await startFakeApiServer((request, response) => {
    if (isSick) sendJson(response, 500, statusBody(500, 'InternalError', 'sick'));
    else if (isHomeless) sendJson(response, 404, statusBody(404, 'NotFound', 'namespaces "n" not found'));
    else store.answer(request, response);
  });
  client = new KubeClient(server.connection());
  clock = new ManualClock();
  stop = new AbortController();
});

afterEach(async () => {
  stop.abort();
  await Promise.all(candidates.splice(0));
  client.close();
  await server.close();
});

interface Candidate {
  readonly leads: () => boolean;
  readonly ended: Promise<unknown>;
  readonly stop: AbortController;
  readonly clock: ManualClock;
}

/** Somebody makes the namespace. */
const makeNamespace = (): Promise<void> => {
  isHomeless = false;
  return Promise.resolve();
};

function start(identity: string, own = clock): Candidate {
  const leases = client.resource<Lease>(builtin.leases);
  const elector = new LeaderElector({
    leases,
    ref,
    identity,
    clock: own,
    random: () => 0,
    logger: silentLogger,
    makeNamespace,
  });
  const ownStop = new AbortController();
  stop.signal.addEventListener('abort', () => ownStop.abort());
  let leads = false;
  const ended = elector
    .run(async (signal) => {
      leads = true;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      leads = false;
    }, ownStop.signal)
    .catch((error: unknown) => error);
  liveUntil(own, ended);
  return { leads: () => leads, ended, stop: ownStop, clock: own };
}

const spec = (): Lease['spec'] => store.objects.get(path)?.['spec'] as Lease['spec'];
const until = (isSo: () => boolean): Promise<unknown> => vi.waitUntil(isSo, { timeout: 5000, interval: 1 });

/** Moves a clock in steps, and lets everybody on it ask the server and come to rest after each. */
async function pass(one: ManualClock, ms: number): Promise<void> {
  const isAtRest = (): boolean => one.sleeping === (live.get(one) ?? 0);
  for (let left = ms; left > 0; left -= 500) {
    await until(isAtRest);
    await one.advance(Math.min(500, left));
  }
  await until(isAtRest);
}

/** Counts who lives on a clock until the promise settles; each sleeps whenever it does not ask the server. */
function liveUntil(own: ManualClock, ended: Promise<unknown>): void {
  live.set(own, (live.get(own) ?? 0) + 1);
  candidates.push(ended.then(() => live.set(own, (live.get(own) ?? 0) - 1)));
}

describe('leader election', () => {
  it('makes the first candidate the leader, who renews', async () => {
    const a = start('a');
    await until(a.leads);
    const acquired = spec();
    expect(acquired).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 });
    await pass(clock, 10_000);
    expect(spec()?.acquireTime).toBe(acquired?.acquireTime);
    expect(Date.parse(spec()?.renewTime ?? '')).toBeGreaterThanOrEqual(Date.parse(acquired?.renewTime ?? '') + 8000);
  });

  it('lets nobody else lead while the leader renews', async () => {
    const a = start('a');
    await until(a.leads);
    const b = start('b');
    await pass(clock, 60_000);
    expect([a.leads(), b.leads()]).toEqual([true, false]);
  });

  it('lets another one lead once the lease was not renewed for its duration, counted by the other’s own clock', async () => {
    const a = start('a');
    await until(a.leads);
    // Its clock is an hour behind; only how long it saw no change counts.
    const b = start('b', new ManualClock({ startMs: clock.now() - 3_600_000 }));
    await pass(b.clock, 14_500);
    expect(b.leads()).toBe(false);
    await pass(b.clock, 2_500);
    expect(b.leads()).toBe(true);
    expect(spec()).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    await pass(clock, 2_500);
    expect(await a.ended).toBeInstanceOf(LeadershipLostError);
    expect(a.leads()).toBe(false);
  });

  it('makes the leader give up before anybody else may lead, when the server fails', async () => {
    const a = start('a');
    await until(a.leads);
    isSick = true;
    await pass(clock, 9_000);
    expect(a.leads()).toBe(true);
    await pass(clock, 1_500);
    await until(() => !a.leads());
    expect(await a.ended).toMatchObject({ message: 'could not renew the lease for 10 s' });
    isSick = false;
    expect(spec()?.holderIdentity).toBe('a');
  });

  it('survives failures that are shorter', async () => {
    const a = start('a');
    await until(a.leads);
    isSick = true;
    await pass(clock, 7_000);
    isSick = false;
    await pass(clock, 30_000);
    expect(a.leads()).toBe(true);
  });

  it('releases the lease at a stop, so that the next one leads at once', async () => {
    const a = start('a');
    await until(a.leads);
    const b = start('b');
    await until(() => clock.sleeping === 2);
    a.stop.abort();
    await a.ended;
    expect(spec()?.holderIdentity).toBe('');
    await pass(clock, 2_000);
    expect(b.leads()).toBe(true);
    expect(spec()).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
  });

  it('leads on after the lease was lost with its namespace, which it makes again', async () => {
    const a = start('a');
    await until(a.leads);
    store.objects.clear();
    isHomeless = true;
    await pass(clock, 5_000);
    expect([a.leads(), isHomeless]).toEqual([true, false]);
    expect(spec()).toMatchObject({ holderIdentity: 'a' });
  });

  it('refuses times that make no sense together', () => {
    const leases = client.resource<Lease>(builtin.leases);
    const make = (renewDeadlineMs: number): LeaderElector =>
      new LeaderElector({ leases, ref, identity: 'a', clock, random: () => 0, logger: silentLogger, renewDeadlineMs });
    expect(() => make(15_000)).toThrow('leaseDuration > renewDeadline');
    expect(() => make(2_000)).toThrow('leaseDuration > renewDeadline');
  });
});

describe('a lease as a sign of life', () => {
  it('is made, renewed, and renewed again after failures', async () => {
    const leases = client.resource<Lease>(builtin.leases);
    const kept = keepLease({ leases, ref, holder: 'node-1', clock, logger: silentLogger }, stop.signal);
    liveUntil(clock, kept);
    await until(() => spec() !== undefined);
    const first = spec();
    expect(first).toMatchObject({ holderIdentity: 'node-1', leaseDurationSeconds: 40 });
    isSick = true;
    await pass(clock, 10_000);
    isSick = false;
    expect(spec()).toEqual(first);
    await pass(clock, 10_000);
    expect(Date.parse(spec()?.renewTime ?? '')).toBeGreaterThan(Date.parse(first?.renewTime ?? ''));
  });

  it('is made again with its namespace', async () => {
    const leases = client.resource<Lease>(builtin.leases);
    isHomeless = true;
    const kept = keepLease({ leases, ref, holder: 'node-1', clock, logger: silentLogger, makeNamespace }, stop.signal);
    liveUntil(clock, kept);
    await pass(clock, 10_000);
    expect(spec()).toMatchObject({ holderIdentity: 'node-1' });
  });
});
