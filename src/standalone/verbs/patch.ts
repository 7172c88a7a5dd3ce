import { toKubernetesTime } from '../../base/clock.ts';
import { serverSideApply } from '../fields/server-side-apply.ts';
import { badRequest, conflict, invalid, modifiedMeanwhile, unsupportedMediaType } from '../http/api-error.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import { applyStrategicMergePatch } from '../patch/strategic-merge-patch.ts';
import { dropNulls } from '../schema/drop-nulls.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import type { ApiState, WriteOptions, Written } from './api-state.ts';
import { apiVersionOf, decode, fullSchema, metadataOf, show, storageDefinition } from './api-state.ts';
import { createApplied } from './create.ts';
import { decodeObject } from './decode-object.ts';
import type { Target } from './update.ts';
import { checkVersion, latest, mustExist, writeUpdate } from './update.ts';

/** The media types of patches. */
export const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

/** The patch types that a definition takes, in the order in which kube-apiserver names them. */
export function acceptedPatchTypes(definition: Target['definition']): string[] {
  const { json, merge, strategic, apply } = patchTypes;
  return definition.builtIn === true ? [json, merge, strategic, apply] : [json, merge, apply];
}

/**
 * Patches an object, or its status.
 *
 * @param type The patch's media type.
 * @param force For server-side apply: take fields from other managers.
 * @throws ApiError 400, 404, 409, 415, 422.
 */
export async function patchObject(
  state: ApiState,
  target: Target,
  type: string,
  patch: unknown,
  options: WriteOptions,
  force: boolean | undefined,
): Promise<Written> {
  const { definition } = target;
  if (!acceptedPatchTypes(definition).includes(type)) throw unsupportedMediaType(acceptedPatchTypes(definition));
  if (type === patchTypes.apply) return await apply(state, target, patch, options, force === true);
  if (force !== undefined) throw invalidOptions('force', 'may not be specified for non-apply patch');
  const stored = mustExist(state, target);
  const old = decode(stored);
  const shown = show(definition, old);
  const patched = patchValue(target, type, shown, patch);
  if (!isJsonObject(patched)) throw badRequest('the patch does not leave an object');
  const metadata = metadataOf(patched);
  if ((metadata['uid'] ?? '') !== stored.uid) {
    const message = `Invalid value: ${JSON.stringify(textOf(metadata['uid']))}: field is immutable`;
    throw invalid(definition, target.name, [{ reason: 'FieldValueInvalid', message, field: 'metadata.uid' }]);
  }
  checkVersion(target, metadata, stored);
  if (metadata['name'] !== target.name) {
    throw badRequest(
      `the name of the object (${textOf(metadata['name'])}) does not match the name on the URL (${target.name})`,
    );
  }
  if (definition.scope === 'Namespaced' && metadata['namespace'] !== target.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  const next = decodeObject(patched, definition, options);
  const asStored = definition.conversion === undefined ? next : definition.conversion.toStorage(next);
  return await writeUpdate(state, target, old, asStored, options, false);
}

function patchValue(target: Target, type: string, object: JsonObject, patch: unknown): unknown {
  if (type === patchTypes.json) return applyJsonPatch(object, patch);
  if (!isJsonObject(patch)) {
    const message = `Invalid value: ${JSON.stringify(JSON.stringify(patch))}: a merge patch has to be an object`;
    throw invalid({ group: '', plural: '', kind: '' }, '', [{ reason: 'FieldValueInvalid', message, field: 'patch' }]);
  }
  if (type === patchTypes.merge) return structuredClone(applyMergePatch(object, patch));
  return structuredClone(applyStrategicMergePatch(object, patch, fullSchema(target.definition)));
}

function invalidOptions(field: string, rule: string): Error {
  return invalid({ group: 'meta.k8s.io', plural: 'patchoptions', kind: 'PatchOptions' }, '', [
    { reason: 'FieldValueForbidden', message: `Forbidden: ${rule}`, field },
  ]);
}

async function apply(
  state: ApiState,
  target: Target,
  patch: unknown,
  options: WriteOptions,
  force: boolean,
): Promise<Written> {
  if (options.fieldManager === '') {
    throw invalid({ group: 'meta.k8s.io', plural: 'patchoptions', kind: 'PatchOptions' }, '', [
      { reason: 'FieldValueRequired', message: 'Required value: is required for apply patch', field: 'fieldManager' },
    ]);
  }
  if (!isJsonObject(patch)) throw badRequest('error decoding YAML: the applied configuration is not an object');
  checkIdentity(target, patch);
  const definition = storageDefinition(state, target.definition);
  const configuration =
    definition === target.definition ? patch : (target.definition.conversion?.toStorage(patch) ?? patch);
  const stored = latest(state, target);
  const old = stored === undefined ? undefined : decode(stored);
  const manager = {
    manager: options.fieldManager,
    operation: 'Apply',
    apiVersion: apiVersionOf(target.definition),
    subresource: target.subresource,
    time: toKubernetesTime(state.now()),
  } as const;
  if (old === undefined) {
    if (target.subresource !== '') mustExist(state, target);
    if ((metadataOf(configuration)['name'] ?? '') === '') {
      throw badRequest(
        `the name of the object (${target.name} based on URL) was undeterminable: name must be provided`,
      );
    }
    if ((metadataOf(configuration)['uid'] ?? '') !== '') {
      throw conflict(
        target.definition,
        target.name,
        `uid mismatch: the provided object specified uid ${String(metadataOf(configuration)['uid'])}, and no existing object was found`,
      );
    }
  }
  if (target.definition.statusSubresource) {
    // The main resource does not own the status, nor the status anything else.
    if (target.subresource === '') delete configuration['status'];
    else
      for (const key of Object.keys(configuration))
        if (!['apiVersion', 'kind', 'metadata', 'status'].includes(key)) Reflect.deleteProperty(configuration, key);
  }
  dropNulls(configuration, definition.schema);
  const merged = serverSideApply(old, configuration, fullSchema(definition), manager, force);
  const next = decodeObject(structuredClone(merged), definition, options);
  if (old === undefined) {
    metadataOf(next)['name'] = target.name;
    return await createApplied(state, definition, target.namespace, next, options);
  }
  const version = textOf(metadataOf(configuration)['resourceVersion']);
  if (version !== '' && version !== String(stored?.resourceVersion))
    throw modifiedMeanwhile(target.definition, target.name);
  return await writeUpdate(state, { ...target, definition }, old, next, options, true);
}

function checkIdentity(target: Target, patch: JsonObject): void {
  const { definition, name, namespace } = target;
  const expected = apiVersionOf(definition);
  if ((patch['apiVersion'] ?? '') !== expected) {
    throw badRequest(
      `Incorrect version specified in apply patch. Specified patch version: ${textOf(patch['apiVersion'])}, expected: ${expected}`,
    );
  }
  if (patch['kind'] !== definition.kind) {
    throw badRequest(
      `the applied configuration has to be ${expected}, Kind=${definition.kind}, and is ${String(patch['apiVersion'])}, Kind=${String(patch['kind'])}`,
    );
  }
  const metadata = metadataOf(patch);
  if (metadata['managedFields'] !== undefined) throw badRequest('metadata.managedFields must be nil');
  if (metadata['name'] !== undefined && metadata['name'] !== name) {
    throw badRequest(
      `the name of the object (${textOf(metadata['name'])}) does not match the name on the URL (${name})`,
    );
  }
  if (definition.scope === 'Namespaced' && (metadata['namespace'] ??= namespace) !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}
