/** Answers requests for resources: chooses the verb, reads its options, writes the answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { badRequest, invalid, methodNotAllowed } from './api-error.ts';
import type { RequestInfo } from './request-info.ts';
import { checkObjectType, contentTypeOf, negotiate } from './negotiation.ts';
import { decodeBody, readBody } from './read-body.ts';
import { sendValue } from './respond.ts';
import { sendList } from './send-list.ts';
import { serveWatch } from './serve-watch.ts';
import { notFound } from './api-error.ts';
import { resourceKey } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import { partialMetadata, table, tableWriter } from '../table/table.ts';
import type { ApiState, WriteOptions, Written } from '../verbs/api-state.ts';
import { decode, keyOf, metadataOf, show, storageDefinition } from '../verbs/api-state.ts';
import { createObject } from '../verbs/create.ts';
import { decodeObject } from '../verbs/decode-object.ts';
import { deleteObject, goStrings, isNamespace, parseDeleteOptions } from '../verbs/delete.ts';
import { isSelected, listObjects, parseFlag, parseSelection } from '../verbs/list.ts';
import { patchObject, acceptedPatchTypes, patchTypes } from '../verbs/patch.ts';
import { finalizeNamespace } from '../verbs/finalize-namespace.ts';
import { latest, updateObject } from '../verbs/update.ts';
import type { WatchHub } from '../verbs/watch.ts';
import { unsupportedMediaType } from './api-error.ts';

/** One request for a resource. */
export interface ResourceRequest {
  readonly state: ApiState;
  readonly hub: WatchHub;
  readonly info: RequestInfo;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** @throws ApiError for everything that is refused. */
export async function serveResource(call: ResourceRequest): Promise<void> {
  const { info, request } = call;
  const onCollection = info.name === '';
  switch (request.method) {
    case 'GET':
      // With a name, kube-apiserver reads the object whatever watch says.
      if (!onCollection) serveGet(call);
      else if (parseFlag(call.query, 'watch')) serveWatch(call);
      else serveList(call);
      break;
    case 'POST':
      if (!onCollection) throw methodNotAllowed();
      await servePost(call);
      break;
    case 'PUT':
      if (onCollection) throw methodNotAllowed();
      await servePut(call);
      break;
    case 'PATCH':
      if (onCollection) throw methodNotAllowed();
      await servePatch(call);
      break;
    case 'DELETE':
      if (info.subresource !== '') throw methodNotAllowed();
      if (onCollection) await serveDeleteCollection(call);
      else await serveDelete(call);
      break;
    default:
      throw methodNotAllowed();
  }
}

function serveGet(call: ResourceRequest): void {
  const { state, info } = call;
  const stored = state.store.get(resourceKey(info.definition), keyOf(info.definition, info.namespace, info.name));
  if (stored === undefined) throw notFound(info.definition, info.name);
  sendObject(call, 200, show(info.definition, decode(stored)));
}

function serveList(call: ResourceRequest): void {
  const { state, info, query } = call;
  const selection = parseSelection(info.definition, query);
  const listed = listObjects(state, info.definition, info.namespace, selection, query);
  sendList(call, listed);
}

/** Sends an object, as a table or as metadata when that was asked for. */
function sendObject(call: ResourceRequest, code: number, object: JsonObject): void {
  const { info, request, response, query, state } = call;
  const { format, as } = negotiate(request.headers.accept);
  if (as === 'object' || object['kind'] === 'Status') {
    sendValue(response, code, object, format);
    return;
  }
  if (as === 'PartialObjectMetadata') {
    sendValue(response, code, partialMetadata(object), format);
    return;
  }
  const writer = tableWriter(info.definition);
  const include = includeObject(query);
  const metadata = { resourceVersion: textOf(metadataOf(object)['resourceVersion']) };
  sendValue(response, code, table(writer, [writer.row(object, include, state.now())], metadata), format);
}

/** @throws ApiError 400 for another word than Kubernetes knows. */
export function includeObject(query: URLSearchParams): 'None' | 'Metadata' | 'Object' {
  const given = query.get('includeObject') ?? '';
  if (given === '') return 'Metadata';
  if (given === 'None' || given === 'Metadata' || given === 'Object') return given;
  throw badRequest(`unrecognized includeObject value: ${JSON.stringify(given)}`);
}

async function servePost(call: ResourceRequest): Promise<void> {
  const { state, info, request } = call;
  const type = contentTypeOf(request);
  checkObjectType(type);
  const options = writeOptions(call);
  negotiate(request.headers.accept);
  const body = decodeBody(await readBody(request), type, info.definition.kind);
  const object = toStorage(info, decodeObject(body, info.definition, options));
  const definition = storageDefinition(state, info.definition);
  finish(call, await createObject(state, definition, info.namespace, object, options), options);
}

function toStorage(info: RequestInfo, object: JsonObject): JsonObject {
  return info.definition.conversion?.toStorage(object) ?? object;
}

function finish(call: ResourceRequest, written: Written, options: WriteOptions): void {
  for (const warning of options.warnings) {
    call.response.appendHeader('warning', `299 - ${JSON.stringify(warning)}`);
  }
  sendObject(call, written.created ? 201 : 200, show(call.info.definition, written.object));
}

async function servePut(call: ResourceRequest): Promise<void> {
  const { state, info, request } = call;
  const type = contentTypeOf(request);
  checkObjectType(type);
  const options = writeOptions(call);
  const body = decodeBody(await readBody(request), type, info.definition.kind);
  const object = toStorage(info, decodeObject(body, info.definition, options));
  const definition = storageDefinition(state, info.definition);
  if (info.subresource === 'finalize') {
    finish(call, await finalizeNamespace(state, info, object, options), options);
    return;
  }
  if (info.definition.createOnUpdate === true && latest(state, info) === undefined) {
    const { namespace } = info;
    finish(call, await createObject(state, definition, namespace, object, options), options);
    return;
  }
  finish(call, await updateObject(state, { ...info, definition }, object, options), options);
}

async function servePatch(call: ResourceRequest): Promise<void> {
  const { state, info, request, query } = call;
  const type = contentTypeOf(request);
  const accepted = acceptedPatchTypes(info.definition);
  if (!accepted.includes(type)) throw unsupportedMediaType(accepted);
  const options = writeOptions(call, type === patchTypes.apply);
  const patch = decodeBody(await readBody(request), type, info.definition.kind);
  finish(
    call,
    await patchObject(state, info, type, patch, options, query.has('force') ? parseFlag(query, 'force') : undefined),
    options,
  );
}

async function serveDelete(call: ResourceRequest): Promise<void> {
  const { state, info, query } = call;
  const options = parseDeleteOptions(await optionsBody(call), query);
  const result = await deleteObject(state, info, options);
  sendObject(call, 200, result as JsonObject);
}

async function optionsBody(call: ResourceRequest): Promise<unknown> {
  const body = await readBody(call.request);
  if (body.length === 0) return undefined;
  const type = contentTypeOf(call.request);
  checkObjectType(type);
  const options = decodeBody(body, type, 'DeleteOptions') ?? undefined;
  if (isJsonObject(options) && options['kind'] !== undefined && options['kind'] !== 'DeleteOptions') {
    throw badRequest(`the body of a delete has to be DeleteOptions, not ${textOf(options['kind'])}`);
  }
  return options;
}

/** Deletes what a selection finds, and answers with the list as it was. */
async function serveDeleteCollection(call: ResourceRequest): Promise<void> {
  const { state, info, query } = call;
  const { definition, namespace } = info;
  if (isNamespace(definition) || (definition.scope === 'Namespaced' && namespace === '')) throw methodNotAllowed();
  const options = parseDeleteOptions(await optionsBody(call), query);
  const selection = parseSelection(definition, query);
  const objects = [...state.store.range(resourceKey(definition), namespace === '' ? '' : `${namespace}/`)];
  const selected = objects.filter((object) => isSelected(selection, object));
  // All deletions of one turn share a transaction.
  const deletions = selected
    .filter((stored) => state.store.latest(stored.resource, stored.key) !== undefined)
    .map((stored) => deleteObject(state, { ...info, namespace: stored.namespace, name: stored.name }, options));
  await Promise.all(deletions);
  const revision = state.store.revision;
  sendList(call, { objects: selected, resourceVersion: revision, continue: '', remaining: undefined });
}

function writeOptions(call: ResourceRequest, isApply = false): WriteOptions {
  const { query, request } = call;
  const dryRun = query.getAll('dryRun').filter((one) => one !== '');
  const problems = [];
  if (dryRun.some((one) => one !== 'All')) {
    const message = `Unsupported value: ${goStrings(dryRun)}: supported values: "All"`;
    problems.push({ reason: 'FieldValueNotSupported', message, field: 'dryRun' });
  }
  const fieldManager = query.get('fieldManager') ?? '';
  if (fieldManager.length > 128) {
    problems.push({
      reason: 'FieldValueTooLong',
      message: 'Too long: must have at most 128 bytes',
      field: 'fieldManager',
    });
  }
  const unprintable = Array.from(fieldManager).findIndex((char) => /[\p{C}\p{Zl}\p{Zp}]/u.test(char));
  if (unprintable >= 0) {
    const code = (Array.from(fieldManager)[unprintable]?.codePointAt(0) ?? 0)
      .toString(16)
      .toUpperCase()
      .padStart(4, '0');
    const rule = `invalid character U+${code} (at position ${unprintable})`;
    problems.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(fieldManager)}: ${rule}`,
      field: 'fieldManager',
    });
  }
  const fieldValidation = query.get('fieldValidation') ?? 'Warn';
  if (fieldValidation !== 'Strict' && fieldValidation !== 'Warn' && fieldValidation !== 'Ignore') {
    const message = `Unsupported value: ${JSON.stringify(fieldValidation)}: supported values: "", "Ignore", "Strict", "Warn"`;
    problems.push({ reason: 'FieldValueNotSupported', message, field: 'fieldValidation' });
  }
  if (problems.length > 0) {
    const kind =
      request.method === 'POST' ? 'CreateOptions' : request.method === 'PUT' ? 'UpdateOptions' : 'PatchOptions';
    throw invalid({ group: 'meta.k8s.io', plural: kind.toLowerCase(), kind }, '', problems);
  }
  return {
    dryRun: dryRun.length > 0,
    // Without a name, the program's name stands for the manager, except of an apply.
    fieldManager: fieldManager === '' && !isApply ? programName(request.headers['user-agent']) : fieldManager,
    fieldValidation: fieldValidation as WriteOptions['fieldValidation'],
    warnings: [],
  };
}

function programName(userAgent: string | undefined): string {
  return (userAgent ?? '').split('/')[0]?.slice(0, 128) ?? '';
}
