import { shortDuration } from '../../base/short-duration.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { coreEvents } from './known-resources.ts';

/** A core/v1 Event, as far as it is printed. */
export interface CoreEvent extends KubeObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly firstTimestamp?: string | null;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string } | null;
  readonly source?: { readonly component?: string };
  readonly reportingComponent?: string;
  readonly involvedObject?: { readonly kind?: string; readonly name?: string; readonly uid?: string };
}

/** The events about one object, oldest first, at most `limit` of them. */
export async function eventsOf(
  client: KubeClient,
  object: {
    readonly kind: string;
    readonly name: string;
    readonly namespace: string | undefined;
    readonly uid?: string | undefined;
  },
  options: { readonly limit: number; readonly signal: AbortSignal },
): Promise<CoreEvent[]> {
  const fields = [`involvedObject.kind=${object.kind}`, `involvedObject.name=${object.name}`];
  if (object.uid !== undefined) fields.push(`involvedObject.uid=${object.uid}`);
  const { items } = await client.resource<CoreEvent>(coreEvents).listAll({
    // Events about a cluster-wide object may be in kube-system or default, by who wrote them: as kubectl, look everywhere.
    namespace: object.namespace,
    fieldSelector: fields.join(','),
    signal: options.signal,
  });
  return sortEvents(items).slice(-options.limit);
}

/** Oldest first. */
export function sortEvents(events: readonly CoreEvent[]): CoreEvent[] {
  return [...events].sort((a, b) => lastSeen(a) - lastSeen(b));
}

/** When an event was seen last, in milliseconds since 1970. */
export function lastSeen(event: CoreEvent): number {
  const text =
    event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';
  return Date.parse(text);
}

/** Cells for an event: age (with count), type, reason, object, message. */
export function eventCells(event: CoreEvent, nowMs: number): string[] {
  const count = event.series?.count ?? event.count ?? 1;
  const first = Date.parse(event.firstTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '');
  const age = shortDuration(nowMs - lastSeen(event));
  const { kind = '', name = '' } = event.involvedObject ?? {};
  return [
    count > 1 ? `${age} (x${count} over ${shortDuration(nowMs - first)})` : age,
    event.type ?? '',
    event.reason ?? '',
    `${kind.toLowerCase()}/${name}`,
    // One line, and nothing that steers the terminal: libvirt's and the guest's words come through here.
    // eslint-disable-next-line no-control-regex -- control characters are what is taken out
    (event.message ?? '').trim().replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' '),
  ];
}
