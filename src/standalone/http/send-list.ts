import { negotiate } from './negotiation.ts';
import { sendPieces, sendValue } from './respond.ts';
import type { ResourceRequest } from './serve-resource.ts';
import { includeObject } from './serve-resource.ts';
import { apiVersionOf } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { partialMetadata, table, tableWriter } from '../table/table.ts';
import { decode, show } from '../verbs/api-state.ts';
import type { Listed } from '../verbs/list.ts';

const comma = Buffer.from(',');
const end = Buffer.from(']}\n');

/** Sends a list. Objects are copied as they are stored, without being decoded, unless another form was asked for. */
export function sendList(call: ResourceRequest, listed: Listed): void {
  const { info, request, response, query, state } = call;
  const { definition } = info;
  const { format, as, contentType } = negotiate(request.headers.accept);
  const metadata: JsonObject = {
    resourceVersion: String(listed.resourceVersion),
    ...(listed.continue === '' ? {} : { continue: listed.continue }),
    ...(listed.remaining === undefined ? {} : { remainingItemCount: listed.remaining }),
  };
  const kind = `${definition.kind}List`;
  const apiVersion = apiVersionOf(definition);
  const decoded = (): JsonObject[] => listed.objects.map((stored) => show(definition, decode(stored)));
  if (as === 'Table') {
    const writer = tableWriter(definition);
    const include = includeObject(query);
    const now = state.now();
    const rows = decoded().map((object) => writer.row(object, include, now));
    sendValue(response, 200, table(writer, rows, metadata), format);
    return;
  }
  if (as === 'PartialObjectMetadata') {
    const items = decoded().map(partialMetadata);
    const list = { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items };
    sendValue(response, 200, list, format);
    return;
  }
  if (format === 'yaml' || definition.conversion !== undefined) {
    const items = decoded().map((object) => (definition.builtIn === true ? withoutTypeMeta(object) : object));
    sendValue(response, 200, { apiVersion, kind, metadata, items }, format);
    return;
  }
  const head = JSON.stringify({ apiVersion, kind, metadata }).slice(0, -1);
  const pieces: Buffer[] = [Buffer.from(`${head},"items":[`)];
  // Lists of Kubernetes' own kinds leave out what is the same for all items, custom resources' do not.
  const cut = definition.builtIn === true ? JSON.stringify({ apiVersion, kind: definition.kind }).length : 0;
  listed.objects.forEach(({ json }, index) => {
    if (index > 0) pieces.push(comma);
    if (cut === 0) pieces.push(json);
    else pieces.push(openBrace, json.subarray(cut));
  });
  pieces.push(end);
  sendPieces(response, pieces, contentType);
}

const openBrace = Buffer.from('{');

function withoutTypeMeta(object: JsonObject): JsonObject {
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = object;
  return rest;
}
