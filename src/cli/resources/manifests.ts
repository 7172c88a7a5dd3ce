/** The objects in `-f` files, ready to be written: read with their places, completed, validated. */
import { withDefaults } from '../../api/defaults.ts';
import { apiVersion, type KubeObject } from '../../api/meta.ts';
import { isRecord } from '../../api/problem.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { InvalidInputError } from '../../base/errors.ts';
import type { Context } from '../context.ts';
import type { LibvirtDocument } from '../convert/libvirt-document.ts';
import type { InputDocument } from '../input/read-documents.ts';
import { visitInputs } from '../input/visit-inputs.ts';
import { validateApiObject } from '../validate-api-object.ts';
import { resourceOfObject, type KnownResource } from './known-resources.ts';

/** An object of a file, and how it is addressed. */
export interface Manifest {
  readonly resource: KnownResource;
  readonly object: KubeObject;
  readonly name: string;
  /** Undefined for a cluster-wide object. */
  readonly namespace: string | undefined;
}

/** How files are read. */
export interface ManifestOptions {
  /** `-n`: a file that names another namespace is an error, as for kubectl. */
  readonly givenNamespace: string | undefined;
  /** For objects that name none. */
  readonly namespace: string;
  /** Validate, and add what `create` adds; without it only names matter (delete, get). */
  readonly complete: boolean;
}

/**
 * Reads every object of files, in their order. libvirt's XML becomes the object that carries it. Errors are printed at
 * once, each with its place, and do not hide the others.
 *
 * @returns The objects, and the errors that were printed.
 */
export async function readManifests(
  context: Context,
  files: readonly string[],
  options: ManifestOptions,
): Promise<{ readonly manifests: readonly Manifest[]; readonly failed: readonly unknown[] }> {
  const manifests: Manifest[] = [];
  const failed = await visitInputs(context, files, false, {
    async document(document) {
      manifests.push(await toManifest(context, document, options));
    },
  });
  return { manifests, failed };
}

async function toManifest(context: Context, document: InputDocument, options: ManifestOptions): Promise<Manifest> {
  const source = await libvirtIn(document, options.complete);
  const refuse = (path: string, message: string): InvalidInputError =>
    new InvalidInputError(
      document.format === 'xml' ? document.problems([{ path, message }]) : [document.problem(path, message)],
    );
  if (options.complete && source === undefined && document.format !== 'xml' && isRecord(document.value)) {
    const { warnings } = validateApiObject(document, document.value);
    for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`);
  }
  const object = await objectOf(document, source);
  if (object === undefined) throw refuse('', `no kind of virtctl carries libvirt's ${source?.kind ?? 'document'}`);
  const resource = resourceOfObject(object);
  if (resource === undefined) {
    throw refuse('kind', `virtctl has no command for a ${object.kind} of ${object.apiVersion}; use kubectl for it`);
  }
  const own = object.metadata.namespace;
  if (
    resource.namespaced &&
    options.givenNamespace !== undefined &&
    own !== undefined &&
    own !== options.givenNamespace
  ) {
    throw refuse('metadata.namespace', `is "${own}", but -n says "${options.givenNamespace}"`);
  }
  const namespace = resource.namespaced ? (own ?? options.namespace) : undefined;
  const isMachine = options.complete && object.kind === 'VirtualMachine' && object.apiVersion === apiVersion;
  // What came as XML is what a libvirt has or is to have: nothing is added to it.
  const completed = isMachine && source === undefined ? withDefaults(object as VirtualMachine) : object;
  return {
    resource,
    name: object.metadata.name ?? '',
    namespace,
    object: namespace === undefined ? completed : { ...completed, metadata: { ...completed.metadata, namespace } },
  };
}

/** The libvirt document of an input that is no object of the API; the XML side is loaded only for one. */
async function libvirtIn(document: InputDocument, validate: boolean): Promise<LibvirtDocument | undefined> {
  if (document.format !== 'xml' && isObjectOfApi(document.value)) return undefined;
  const [{ readLibvirt }, { validateInput }] = await Promise.all([
    import('../convert/libvirt-document.ts'),
    import('../validate-input.ts'),
  ]);
  if (validate) validateInput(document);
  return readLibvirt(document);
}

async function objectOf(document: InputDocument, source: LibvirtDocument | undefined): Promise<KubeObject | undefined> {
  if (source !== undefined) {
    const { toEnvelope } = await import('../../analyser/envelope.ts');
    return toEnvelope(source);
  }
  if (document.format === 'xml') return undefined;
  const value = document.value as KubeObject & { readonly metadata: unknown };
  if (isRecord(value.metadata)) return value;
  throw new InvalidInputError([document.problem('metadata', 'expected an object with a name')]);
}

function isObjectOfApi(value: unknown): boolean {
  return isRecord(value) && typeof value['apiVersion'] === 'string' && typeof value['kind'] === 'string';
}
