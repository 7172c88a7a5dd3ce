import type { ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import { stringify } from 'yaml';
import type { Representation } from './negotiation.ts';

/** Chunks are written this large, in bytes: fewer, larger TLS records. */
const writeBytes = 64 * 1024;

/** Sends a value as JSON or YAML. */
export function sendValue(
  response: ServerResponse,
  code: number,
  value: unknown,
  format: Representation['format'],
): void {
  const text =
    format === 'yaml' ? stringify(value, { lineWidth: 0, aliasDuplicateObjects: false }) : `${JSON.stringify(value)}\n`;
  sendBytes(response, code, Buffer.from(text), `application/${format}`);
}

/** Sends bytes. */
export function sendBytes(response: ServerResponse, code: number, body: Buffer, contentType: string): void {
  response.writeHead(code, STATUS_CODES[code], {
    'content-type': contentType,
    'content-length': body.length,
    'cache-control': 'no-cache, private',
  });
  response.end(body);
}

/** Sends plain text, as kube-apiserver does for health checks and unknown paths. */
export function sendText(response: ServerResponse, code: number, text: string): void {
  sendBytes(response, code, Buffer.from(text), 'text/plain; charset=utf-8');
}

/** Sends many buffers as one body without joining all of them. */
export function sendPieces(response: ServerResponse, pieces: readonly Buffer[], contentType: string): void {
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  response.writeHead(200, {
    'content-type': contentType,
    'content-length': total,
    'cache-control': 'no-cache, private',
  });
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    batch.push(piece);
    bytes += piece.length;
    if (bytes < writeBytes) continue;
    response.write(Buffer.concat(batch, bytes));
    batch = [];
    bytes = 0;
  }
  response.end(Buffer.concat(batch, bytes));
}
