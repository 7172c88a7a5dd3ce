/** Devices in a file of their own, as `virsh attach-device` takes them: libvirt's XML, or the same in YAML or JSON. */
import type { Context } from './context.ts';
import { joinPath } from './input/source-document.ts';
import type { InputDocument, XmlDocument } from './input/read-documents.ts';
import type { ObjectDocument } from './input/source-document.ts';
import { visitInputs } from './input/visit-inputs.ts';
import { exitCodeOf, ReportedFailure } from './reported-failure.ts';
import { analyse } from '../analyser/analyse.ts';
import { isRecord } from '../api/problem.ts';
import { InvalidInputError, type InputProblem } from '../base/errors.ts';
import { rootType } from '../model/schema.ts';
import { validateDocument } from '../model/validate.ts';
import { readFragment } from '../xml/fragment.ts';

/** One device, by libvirt's rules for YAML. */
export interface DeviceFragment {
  /** The element's name, as `disk`. */
  readonly kind: string;
  readonly device: Readonly<Record<string, unknown>>;
  /** Whether a domain can have several of the kind. */
  readonly isList: boolean;
}

/**
 * Reads the devices of files: `<disk …>…</disk>` elements, or YAML as below `spec.domain.devices` (`disk: [{…}]`; one that
 * is not in a list counts as a list of one).
 *
 * @throws ReportedFailure after every error was printed with its place.
 */
export async function readDevices(context: Context, files: readonly string[]): Promise<DeviceFragment[]> {
  const devices: DeviceFragment[] = [];
  const failed = await visitInputs(context, files, false, {
    document(document) {
      devices.push(...devicesOf(document));
    },
  });
  if (failed.length > 0) throw new ReportedFailure(exitCodeOf(failed));
  return devices;
}

function devicesOf(document: InputDocument): DeviceFragment[] {
  return document.format === 'xml' ? fromXml(document) : fromObject(document);
}

const [opening, closing] = ['<domain><devices>', '</devices></domain>'];

function fromXml(document: XmlDocument): DeviceFragment[] {
  const xml = document.text.replace(/^\s*<\?xml[^>]*\?>/, (prolog) => prolog.replace(/[^\n]/g, ' '));
  const read = readFragment(xml);
  if (typeof read === 'string') throw new InvalidInputError(document.problems([{ path: '', message: read }]));
  // Well-formed on its own, so it can only be the content of what stands around it here.
  const { value, problems } = analyse(opening + xml + closing);
  if (problems.length > 0) throw new InvalidInputError(document.problems(problems.map(unwrapped)));
  const found = fragments(isRecord(value['devices']) ? value['devices'] : {});
  if (found.length > 0) return found;
  throw new InvalidInputError(document.problems([{ path: '', message: 'there is no device in it' }]));
}

/** Places and paths without the elements that were put around. */
function unwrapped(problem: InputProblem): InputProblem {
  const { line, column, path } = problem;
  const shifted = line === 1 && column !== undefined ? { column: Math.max(1, column - opening.length) } : {};
  return { ...problem, ...shifted, path: path.replace(/^devices\.?/, '') };
}

function fromObject(document: ObjectDocument): DeviceFragment[] {
  const refuse = (path: string, message: string): InvalidInputError =>
    new InvalidInputError([document.problem(path, message)]);
  const { value } = document;
  if (!isRecord(value) || Object.keys(value).length === 0) {
    throw refuse('', 'expected devices by their kind, as below spec.domain.devices: disk: [{…}]');
  }
  const prefix = isRecord(value['devices']) && Object.keys(value).length === 1 ? 'devices' : '';
  const given = prefix === '' ? value : (value['devices'] as Readonly<Record<string, unknown>>);
  const listed = Object.fromEntries(
    Object.entries(given).map(([kind, one]) => [kind, isListKind(kind) && isRecord(one) ? [one] : one]),
  );
  const problems = validateDocument('domain', { devices: listed })
    .filter(({ path }) => path.startsWith('devices.'))
    .map((problem) => ({ ...problem, path: joinPath(prefix, problem.path.slice('devices.'.length)) }));
  if (problems.length > 0) throw new InvalidInputError(document.problems(problems));
  return fragments(listed);
}

function fragments(devices: Readonly<Record<string, unknown>>): DeviceFragment[] {
  return Object.entries(devices).flatMap(([kind, value]) => {
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    return list.filter(isRecord).map((device) => ({ kind, device, isList: isListKind(kind) }));
  });
}

function isListKind(kind: string): boolean {
  return rootType('domain').fields.get('devices')?.type?.fields.get(kind)?.list === true;
}
