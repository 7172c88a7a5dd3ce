import type { Database } from 'lmdb';
import type { ChangeEvent, StoredObject } from './change.ts';
import { openRecord } from './record.ts';
import type { IndexObject } from './store.ts';

/** Every object of the file; checks each record's checksum. */
export function* loadObjects(
  objects: Database<Buffer, string>,
  separator: string,
  indexObject: IndexObject,
): Generator<StoredObject> {
  for (const { key: id, value } of objects.getRange({})) {
    const at = id.indexOf(separator);
    const resource = id.slice(0, at);
    const key = id.slice(at + 1);
    yield indexObject(resource, key, openRecord(value, `${resource} ${key}`));
  }
}

/**
 * Every change of the file in order. A record holds the object before its change; the one after it is the one before
 * the next change of the same object, or the live one: found by walking backwards.
 */
export function loadHistory(
  changes: Database<Buffer, number>,
  live: (resource: string, key: string) => StoredObject | undefined,
  indexObject: IndexObject,
): ChangeEvent[] {
  const after = new Map<string, StoredObject | undefined>();
  const events: ChangeEvent[] = [];
  for (const { key: resourceVersion, value } of changes.getRange({ reverse: true })) {
    const payload = openRecord(value, `change ${resourceVersion}`);
    const headLength = payload.readUInt32LE(0);
    const head = JSON.parse(payload.toString('utf8', 4, 4 + headLength)) as [ChangeEvent['type'], string, string];
    const [type, resource, key] = head;
    const json = payload.subarray(4 + headLength);
    const previous = json.length === 0 ? undefined : indexObject(resource, key, json);
    const id = `${resource}\u0001${key}`;
    const object = type === 'DELETED' ? previous : after.has(id) ? after.get(id) : live(resource, key);
    after.set(id, previous);
    if (object !== undefined) events.push({ type, resource, key, resourceVersion, object, previous });
  }
  return events.reverse();
}
