import { InvalidInputError } from '../base/errors.ts';

/**
 * The text of an XML file. UTF-8 only, with or without a byte order mark.
 * @throws InvalidInputError for UTF-16, UTF-32 and bytes that are no UTF-8.
 */
export function decodeXml(bytes: Uint8Array, file?: string): string {
  const [first, second] = bytes;
  const refuse = (message: string, cause?: unknown): InvalidInputError =>
    new InvalidInputError([{ file, line: 1, column: 1, path: '', message }], { cause });
  const wide = first === 0xfe || first === 0xff || first === 0 || second === 0;
  if (wide) throw refuse('the file is not in UTF-8 (UTF-16 and UTF-32 are not supported)');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw refuse('the file is not in UTF-8', error);
  }
}
