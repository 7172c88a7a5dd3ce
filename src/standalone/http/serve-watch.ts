import { textOf } from '../schema/json-schema.ts';
import { invalid } from './api-error.ts';
import { negotiate } from './negotiation.ts';
import type { ResourceRequest } from './serve-resource.ts';
import { includeObject } from './serve-resource.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { partialMetadata, table, tableWriter } from '../table/table.ts';
import { metadataOf, show } from '../verbs/api-state.ts';
import { parseFlag, parseInteger, parseResourceVersion, parseSelection } from '../verbs/list.ts';
import type { EventEncoder, WatchEventType } from '../verbs/watch.ts';

/** A watch without timeoutSeconds ends after half an hour to an hour, as kube-apiserver's. */
const minTimeoutMs = 30 * 60 * 1000;
/** A client that does not read is dropped when this much waits for it, in bytes. It resumes from where it was. */
const maxBufferedBytes = 32 * 1024 * 1024;

/** Answers a watch: a stream of JSON lines that ends when its time is over. */
export function serveWatch(call: ResourceRequest): void {
  const { info, query, request, response, state, hub } = call;
  const representation = negotiate(request.headers.accept);
  const selection = parseSelection(info.definition, query);
  const resourceVersion = parseResourceVersion(query);
  const timeoutSeconds = parseInteger(query, 'timeoutSeconds') ?? 0;
  const sendInitialEvents = parseFlag(query, 'sendInitialEvents');
  if (sendInitialEvents && query.get('resourceVersionMatch') !== 'NotOlderThan') {
    throw invalid({ group: 'meta.k8s.io', plural: 'listoptions', kind: 'ListOptions' }, '', [
      {
        reason: 'FieldValueForbidden',
        message: 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
        field: 'resourceVersionMatch',
      },
    ]);
  }
  const encoder =
    representation.as === 'object'
      ? objectEncoder(info.definition)
      : shapedEncoder(info.definition, representation.as, includeObject(query), state.now);
  response.writeHead(200, {
    'content-type': representation.format === 'yaml' ? 'application/json' : representation.contentType,
    'cache-control': 'no-cache, private',
    'transfer-encoding': 'chunked',
  });
  response.flushHeaders();
  const stop = hub.start(
    {
      definition: info.definition,
      namespace: info.namespace,
      selection,
      resourceVersion: resourceVersion === 0 ? undefined : resourceVersion,
      allowBookmarks: parseFlag(query, 'allowWatchBookmarks'),
      sendInitialEvents,
      timeoutMs:
        timeoutSeconds > 0 ? Math.min(timeoutSeconds * 1000, 2 ** 31 - 1) : minTimeoutMs * (1 + state.random()),
      encoder,
    },
    {
      write(chunk) {
        if (response.destroyed) return;
        const { socket } = response;
        // Past the response, whose framing costs three buffers for each of many watchers that get the same bytes. It has
        // no socket while an earlier request on the same connection is not answered yet.
        if (socket === null) response.write(chunk);
        else socket.write(framed(chunk));
        if ((socket ?? response).writableLength > maxBufferedBytes) response.destroy();
      },
      end: () => void response.end(),
    },
  );
  response.once('close', stop);
}

/** Frames are made once for all who get the same chunk. */
const frames = new WeakMap<Buffer, Buffer>();

/** A chunk of the chunked transfer coding (RFC 9112, section 7.1). */
function framed(chunk: Buffer): Buffer {
  let frame = frames.get(chunk);
  if (frame === undefined) {
    frame = Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, lineBreak]);
    frames.set(chunk, frame);
  }
  return frame;
}

const lineBreak = Buffer.from('\r\n');
const newline = Buffer.from('}\n');

/** Objects as they are stored; only another version's view of them has to be decoded. */
function objectEncoder(definition: ResourceDefinition): EventEncoder {
  const encode = (type: WatchEventType, object: JsonObject): Buffer => {
    const shown = type === 'ERROR' || type === 'BOOKMARK' ? object : show(definition, object);
    return Buffer.from(`{"type":"${type}","object":${JSON.stringify(shown)}}\n`);
  };
  if (definition.conversion !== undefined) return { sharedKey: definition.group, encode };
  return {
    sharedKey: 'json',
    encode,
    encodeStored: (type, stored) => Buffer.concat([Buffer.from(`{"type":"${type}","object":`), stored.json, newline]),
  };
}

/** Objects as tables or metadata. Only the first table of a stream says what its columns are. */
function shapedEncoder(
  definition: ResourceDefinition,
  as: 'Table' | 'PartialObjectMetadata',
  include: 'None' | 'Metadata' | 'Object',
  now: () => number,
): EventEncoder {
  let first = true;
  const shape = (object: JsonObject): JsonObject => {
    const shown = show(definition, object);
    if (as === 'PartialObjectMetadata') return partialMetadata(shown);
    const writer = tableWriter(definition);
    const metadata = { resourceVersion: textOf(metadataOf(shown)['resourceVersion']) };
    const made = table(writer, [writer.row(shown, include, now())], metadata, first);
    first = false;
    return made;
  };
  return {
    sharedKey: as === 'Table' ? undefined : 'metadata',
    encode: (type, object) =>
      Buffer.from(`${JSON.stringify({ type, object: type === 'ERROR' ? object : shape(object) })}\n`),
  };
}
