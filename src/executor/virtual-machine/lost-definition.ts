/**
 * A domain that runs without a definition, after libvirtd was restarted: the daemon knows the running domain alone, and
 * gives that for its definition (virDomainObjGetDefs: there is no newDef). What only a start fills in would stay in the
 * domain for ever if it were defined so: the guest's whole CPU, the balloon of now, the host's address of a console. Pure.
 */
import { isList, isObject, type Data, type DataObject } from './same-value.ts';

/** What libvirt fills in at a start, and again at the next, where nobody sets it. */
const filledIn: ReadonlySet<string> = new Set(['cpu', 'resource', 'seclabel', 'currentMemory']);
const filledInOfGraphics: ReadonlySet<string> = new Set(['listen', 'listens']);

/** The running domain without what its start filled in; addresses, which the guest knows it by, stay. */
export function asDefinition(running: DataObject): DataObject {
  const { devices, ...rest } = without(running, filledIn);
  if (!isObject(devices)) return { ...rest, devices };
  const { graphics } = devices;
  if (!isList(graphics)) return { ...rest, devices };
  const asked = graphics.map((one): Data => (isObject(one) ? without(one, filledInOfGraphics) : one));
  return { ...rest, devices: { ...devices, graphics: asked } };
}

function without(object: DataObject, keys: ReadonlySet<string>): DataObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.has(key)));
}
