import { LineIndex } from './line-index.ts';
import { InvalidInputError, toError } from '../../base/errors.ts';

/**
 * The text of a file's bytes. UTF-8, with or without a byte order mark; XML also in UTF-16 with a byte order mark or in
 * the encoding that its declaration names, as libxml2 reads it.
 *
 * @param file Names the file in errors.
 * @throws InvalidInputError with the place of the first byte that is not of the encoding.
 */
export function decodeText(file: string, bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return withoutEncoding(decodeAs('utf-16le', file, bytes.subarray(2)));
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return withoutEncoding(decodeAs('utf-16be', file, bytes.subarray(2)));
  const text = tryDecode('utf-8', bytes);
  if (typeof text === 'string') return text;
  const declared = declaredEncoding(bytes);
  if (declared !== undefined && !/^utf-?8$/i.test(declared)) return withoutEncoding(decodeAs(declared, file, bytes));
  throw invalidByte(file, bytes, text);
}

function decodeAs(encoding: string, file: string, bytes: Uint8Array): string {
  const text = tryDecode(encoding, bytes);
  if (typeof text === 'string') return text;
  const message = `the bytes are not text in the encoding ${JSON.stringify(encoding)}`;
  throw new InvalidInputError([{ file, line: 1, column: 1, path: '', message }], { cause: text });
}

/** What is decoded is in no encoding any more: blanks instead of the declaration's word keep every place. */
function withoutEncoding(text: string): string {
  return text.replace(/^(<\?xml\s[^>]*?)(encoding\s*=\s*["'][^"']*["'])/, (_all, before: string, encoding: string) => {
    return before + ' '.repeat(encoding.length);
  });
}

/** The text, or why there is none. A byte order mark is left out. */
function tryDecode(encoding: string, bytes: Uint8Array): string | Error {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (error) {
    return toError(error);
  }
}

/** The encoding of an XML declaration. Latin-1 keeps the ASCII that a declaration is written in. */
function declaredEncoding(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 200)).toString('latin1');
  return /^(?:\xef\xbb\xbf)?<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']/.exec(head)?.[1];
}

function invalidByte(file: string, bytes: Uint8Array, cause: Error): InvalidInputError {
  // What does decode ends where the bad byte stands: halve the distance until it is found.
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (decodesSoFar(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  const before = new TextDecoder('utf-8').decode(bytes.subarray(0, good));
  const place = new LineIndex(before).place(before.length);
  const hex = (bytes[good] ?? 0).toString(16).padStart(2, '0');
  const message = `the byte 0x${hex} is not UTF-8 text`;
  return new InvalidInputError([{ file, ...place, path: '', message }], { cause });
}

function decodesSoFar(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}
