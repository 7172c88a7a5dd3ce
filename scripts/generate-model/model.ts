/** Builds the model: from patterns to types with fields, shared between the document kinds. */
import { contentOf, contentOfElements, type ChildUse, type Content } from './content.ts';
import { SchemaReader, type ElementPattern } from './rng.ts';
import { scalarOf, type Scalar } from './scalar.ts';

/** The schema file and the name of the root's TypeScript type, for each document kind. */
export const roots = {
  domain: ['domain.rng', 'Domain'],
  domainsnapshot: ['domainsnapshot.rng', 'DomainSnapshot'],
  domaincheckpoint: ['domaincheckpoint.rng', 'DomainCheckpoint'],
  network: ['network.rng', 'Network'],
  networkport: ['networkport.rng', 'NetworkPort'],
  storagepool: ['storagepool.rng', 'StoragePool'],
  storagevol: ['storagevol.rng', 'StorageVolume'],
  nwfilter: ['nwfilter.rng', 'NwFilter'],
  secret: ['secret.rng', 'Secret'],
  nodedev: ['nodedev.rng', 'NodeDevice'],
} as const;

/** The prefix that libvirt documents for each namespace. */
export const prefixes: Readonly<Record<string, string>> = {
  'http://libvirt.org/schemas/domain/qemu/1.0': 'qemu',
  'http://libvirt.org/schemas/domain/lxc/1.0': 'lxc',
  'http://libvirt.org/schemas/domain/bhyve/1.0': 'bhyve',
  'http://libvirt.org/schemas/domain/xen/1.0': 'xen',
  'http://libvirt.org/schemas/domain/vmware/1.0': 'vmware',
  'http://libvirt.org/schemas/network/dnsmasq/1.0': 'dnsmasq',
  'http://libvirt.org/schemas/storagepool/fs/1.0': 'fs',
  'http://libvirt.org/schemas/storagepool/rbd/1.0': 'rbd',
};

export interface ModelField {
  readonly key: string;
  readonly xmlName: string;
  readonly node: 'attribute' | 'text' | 'element';
  readonly list: boolean;
  readonly required: boolean;
  /** Of an attribute or text. An element's is in its type. */
  readonly scalar?: Scalar;
  type?: ModelType;
}

export interface ModelType {
  name: string;
  readonly element: string;
  readonly fields: ModelField[];
  /** Holds other people's XML. */
  readonly raw: boolean;
}

export interface Model {
  readonly types: readonly ModelType[];
  readonly roots: ReadonlyMap<string, { readonly xmlName: string; readonly type: ModelType }>;
}

/** Reads the schemas in a folder and builds the model of all document kinds. */
export function buildModel(folder: string): Model {
  const reader = new SchemaReader(folder);
  const kinds = Object.entries(roots).map(([kind, [file, name]]) => {
    const builder = new KindBuilder();
    const start = contentOf(reader.start(file));
    const [root] = start === undefined ? [] : [...start.children.values()];
    if (root === undefined || start?.children.size !== 1) throw new Error(`${file} does not start with one element`);
    const type = builder.type(root);
    return { kind, name, xmlName: root.name, type, types: builder.types };
  });
  const shared = shareEqualTypes(kinds.map((kind) => kind.types));
  const taken = new Set<string>();
  for (const { name, type } of kinds) nameTypes(shared(type), name, taken);
  const types = new Set<ModelType>();
  for (const { type } of kinds) reach(shared(type), types);
  return {
    types: [...types],
    roots: new Map(kinds.map(({ kind, xmlName, type }) => [kind, { xmlName, type: shared(type) }])),
  };
}

/** The types of one kind: one for each set of element patterns that may stand in the same place. */
class KindBuilder {
  readonly types: ModelType[] = [];
  readonly #known = new Map<string, ModelType>();

  type(use: ChildUse): ModelType {
    const key = use.patterns
      .map((pattern: ElementPattern) => pattern.id)
      .sort((a, b) => a - b)
      .join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const content = contentOfElements(use.patterns);
    const type: ModelType = { name: '', element: xmlNameOf(use), fields: [], raw: content.any };
    this.#known.set(key, type);
    this.types.push(type);
    this.#fill(type, content);
    return type;
  }

  #fill(type: ModelType, content: Content): void {
    const keys = new Set<string>();
    const add = (field: ModelField): void => {
      if (keys.has(field.key)) throw new Error(`${type.element} has ${field.key} twice`);
      keys.add(field.key);
      type.fields.push(field);
    };
    for (const { ns, name, bodies, required } of content.attributes.values()) {
      const xmlName = xmlNameOf({ ns, name });
      add({ key: xmlName, xmlName, node: 'attribute', list: false, required, scalar: scalarOf(bodies) });
    }
    if (content.text.length > 0) {
      add({ key: 'value', xmlName: '', node: 'text', list: false, required: false, scalar: textScalar(content) });
    }
    for (const use of inOrder(content)) {
      const xmlName = xmlNameOf(use);
      const key = keys.has(xmlName) ? (use.repeats ? `${xmlName}s` : `${xmlName}Config`) : xmlName;
      const list = use.repeats;
      add({ key, xmlName, node: 'element', list, required: use.required, type: this.type(use) });
    }
  }
}

/** The text of an element; `<genid/>` stands beside `<genid>UUID</genid>`. Beside attributes no text is no `value`. */
function textScalar(content: Content): Scalar {
  const onlyText = content.attributes.size === 0 && content.children.size === 0;
  return scalarOf(onlyText && content.textMayLack ? [...content.text, { t: 'empty' }] : content.text);
}

function xmlNameOf({ ns, name }: { ns: string; name: string }): string {
  if (ns === '') return name;
  const prefix = prefixes[ns];
  if (prefix === undefined) throw new Error(`no prefix is known for ${ns}`);
  return `${prefix}:${name}`;
}

/** Children as they first appear, moved only where an ordered group of the schema wants it otherwise. */
function inOrder(content: Content): ChildUse[] {
  const left = [...content.children];
  const sorted: ChildUse[] = [];
  while (left.length > 0) {
    const free = left.findIndex(([key]) =>
      left.every(([other]) => !content.order.has(`${other}\0${key}`) || content.order.has(`${key}\0${other}`)),
    );
    const [next] = left.splice(Math.max(free, 0), 1);
    if (next !== undefined) sorted.push(next[1]);
  }
  return sorted;
}

/** Maps every type to the first of all kinds that is equal to it, all the way down. Within one kind none are merged. */
function shareEqualTypes(kinds: readonly (readonly ModelType[])[]): (type: ModelType) => ModelType {
  const all = kinds.flat();
  let classes = new Map(all.map((type) => [type, '']));
  for (let count = 0; ;) {
    const numbers = new Map<string, number>();
    const next = new Map<ModelType, string>();
    for (const type of all) {
      const fields = type.fields.map((field) => [{ ...field, type: field.type && classes.get(field.type) }]);
      const signature = JSON.stringify([type.element, type.raw, fields]);
      if (!numbers.has(signature)) numbers.set(signature, numbers.size);
      next.set(type, String(numbers.get(signature)));
    }
    classes = next;
    if (numbers.size === count) break;
    count = numbers.size;
  }
  const first = new Map<string, ModelType>();
  const target = new Map<ModelType, ModelType>();
  for (const types of kinds) {
    const before = new Map(first);
    for (const type of types) {
      const name = classes.get(type) ?? '';
      target.set(type, before.get(name) ?? type);
      if (!first.has(name)) first.set(name, type);
    }
  }
  for (const type of all) {
    for (const field of type.fields) if (field.type !== undefined) field.type = target.get(field.type) ?? field.type;
  }
  return (type) => target.get(type) ?? type;
}

function reach(type: ModelType, into: Set<ModelType>): void {
  if (into.has(type)) return;
  into.add(type);
  for (const field of type.fields) if (field.type !== undefined) reach(field.type, into);
}

/** Names types breadth first: a device or a child of the root by its element, others after their parent. */
function nameTypes(root: ModelType, rootName: string, taken: Set<string>): void {
  const queue: { type: ModelType; parent: string; element: string }[] = [{ type: root, parent: '', element: rootName }];
  for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
    const { type, parent } = entry;
    if (type.name !== '') continue;
    const own = pascal(entry.element);
    const bare = parent === 'Domain' || parent === 'Devices' ? own : parent + own;
    let name = taken.has(bare) ? (parent === 'Devices' ? `Device${own}` : parent + own) : bare;
    for (let n = 2; taken.has(name); n += 1) name = `${bare}${n}`;
    taken.add(name);
    type.name = name;
    for (const field of type.fields) {
      if (field.type !== undefined) queue.push({ type: field.type, parent: name, element: field.key });
    }
  }
}

function pascal(name: string): string {
  return name
    .split(/[^a-zA-Z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}
