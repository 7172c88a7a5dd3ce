import type { IncomingMessage } from 'node:http';
import { protobufType } from './kubernetes-protobuf.ts';
import { notAcceptable, unsupportedMediaType } from './api-error.ts';

/** How an answer is to be written. */
export interface Representation {
  readonly format: 'json' | 'yaml';
  /** As a Table or as metadata only, instead of the objects themselves. */
  readonly as: 'object' | 'Table' | 'PartialObjectMetadata';
  readonly contentType: string;
}

const plain: Representation = { format: 'json', as: 'object', contentType: 'application/json' };
const acceptable = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'];

/**
 * Chooses the first media type of the Accept header that the server can write.
 *
 * @throws ApiError 406.
 */
export function negotiate(accept: string | undefined): Representation {
  if (accept === undefined || accept.trim() === '') return plain;
  for (const clause of accept.split(',')) {
    const [type = '', ...parameters] = clause.split(';').map((part) => part.trim());
    const values = new Map(parameters.map((parameter) => parameter.split('=', 2) as [string, string]));
    const format = formatOf(type);
    if (format === undefined) continue;
    const as = values.get('as') ?? values.get('as'.toUpperCase());
    if (as === undefined) return { ...plain, format, contentType: `application/${format}` };
    const kind = as.replace(/List$/, '');
    if (values.get('g') !== 'meta.k8s.io' || values.get('v') !== 'v1') continue;
    if (kind === 'Table' || kind === 'PartialObjectMetadata') {
      return { format, as: kind, contentType: `application/${format}` };
    }
  }
  throw notAcceptable(acceptable.slice(0, 2));
}

function formatOf(type: string): 'json' | 'yaml' | undefined {
  if (type === '*/*' || type === 'application/*' || type === 'application/json') return 'json';
  return type === 'application/yaml' ? 'yaml' : undefined;
}

/** The media type of a request's body, without parameters. */
export function contentTypeOf(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/** @throws ApiError 415 for a body that is neither JSON nor YAML. */
export function checkObjectType(type: string): void {
  if (type === '' || type === '*/*' || type === 'application/json' || type === 'application/yaml') return;
  if (type === protobufType) return;
  throw unsupportedMediaType(['application/json', 'application/yaml']);
}
