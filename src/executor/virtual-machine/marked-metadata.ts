/** What a domain's mark keeps of its object's metadata: labels and annotations, so that a lost object can be made again. */
import { isObject, type Data } from './same-value.ts';
import type { KubeObject } from '../../kube/object.ts';

/** Labels and annotations; left out where there are none. */
export interface MarkedMetadata {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What tools write for themselves, and the next one writes again. */
const notKept: readonly string[] = ['kubectl.kubernetes.io/last-applied-configuration'];

/** Larger annotations are somebody's documents, not a machine's: libvirtd sends all of it with every description. */
const maxTextBytes = 4096;
/** All labels or all annotations together. */
const maxTotalBytes = 32 * 1024;

/** The labels and annotations of an object that are kept, by key. */
export function markedMetadata({ metadata }: Pick<KubeObject, 'metadata'>): MarkedMetadata {
  return {
    ...kept('labels', metadata.labels),
    ...kept('annotations', metadata.annotations),
  };
}

/** The reverse: what a mark has. */
export function readMarkedMetadata(value: Data | undefined): MarkedMetadata {
  const member = (key: string): Record<string, string> => {
    const found = isObject(value) ? value[key] : undefined;
    const entries = Object.entries(isObject(found) ? found : {});
    return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  };
  return { ...kept('labels', member('labels')), ...kept('annotations', member('annotations')) };
}

function kept(key: 'labels' | 'annotations', map: Readonly<Record<string, string>> | undefined): MarkedMetadata {
  let left = maxTotalBytes;
  const entries = Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .filter(([name, text]) => {
      const bytes = Buffer.byteLength(name) + Buffer.byteLength(text);
      if (notKept.includes(name) || bytes > maxTextBytes || bytes > left) return false;
      left -= bytes;
      return true;
    });
  return entries.length === 0 ? {} : { [key]: Object.fromEntries(entries) };
}
