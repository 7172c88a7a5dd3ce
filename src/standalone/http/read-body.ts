import type { IncomingMessage } from 'node:http';
import { parse, type DocumentOptions, type ParseOptions, type SchemaOptions, type ToJSOptions } from 'yaml';
import { ApiError, badRequest } from './api-error.ts';
import { decodeProtobuf, protobufType } from './kubernetes-protobuf.ts';

/** A request may not be larger than this, in bytes: kube-apiserver's bound. */
const maxRequestBytes = 3 * 1024 * 1024;

/** YAML 1.1 as kube-apiserver reads it, of whose types JSON has no dates, sets and times. */
const yamlOptions: ParseOptions & DocumentOptions & SchemaOptions & ToJSOptions = {
  version: '1.1',
  schema: 'yaml-1.1',
  merge: true,
  uniqueKeys: false,
  maxAliasCount: 100,
  logLevel: 'error',
  customTags: (tags) =>
    tags.filter(
      (tag) =>
        typeof tag === 'string' || !(tag.format === 'TIME' || /:(?:timestamp|binary|omap|pairs|set)$/.test(tag.tag)),
    ),
};

/** @throws ApiError 413 when it is too large. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const tooLarge = (): ApiError =>
    new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${maxRequestBytes}`);
  if (Number(request.headers['content-length'] ?? 0) > maxRequestBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > maxRequestBytes) throw tooLarge();
  }
  return Buffer.concat(chunks, bytes);
}

/**
 * Decodes a body: JSON, or YAML (of which JSON is a part).
 *
 * @throws ApiError 400.
 */
export function decodeBody(body: Buffer, type: string, kind: string): unknown {
  if (type === protobufType) return decodeProtobuf(body);
  const text = body.toString('utf8');
  try {
    if (type.endsWith('yaml')) return parse(text, yamlOptions) as unknown;
    return JSON.parse(text) as unknown;
  } catch (error) {
    const shown = text === '' ? '<empty>' : `${text.slice(0, 28)}${text.length > 28 ? ' ...' : ''}`;
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${why} (${shown})`,
    );
  }
}
