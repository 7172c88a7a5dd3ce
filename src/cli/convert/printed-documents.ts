import type { Converted } from './convert-document.ts';
import type { Context } from '../context.ts';
import { writeResult } from '../write-result.ts';

/**
 * Prints converted documents as they come, each kind of format in the way its readers take several: YAML with `---`
 * between, XML one after another, JSON as one List when there is more than one.
 */
export class PrintedDocuments {
  readonly #context: Context;
  #yaml = 0;
  #json = 0;
  #held: unknown;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Prints the next document; a JSON document waits until it is known whether another follows. */
  async add({ format, value, text }: Converted): Promise<void> {
    if (format === 'json') {
      if (this.#json === 1) await this.raw(`${listStart}${indented(this.#held)}`);
      if (this.#json >= 1) await this.raw(`,\n${indented(value)}`);
      else this.#held = value;
      this.#json += 1;
      return;
    }
    if (format === 'yaml') {
      if (this.#yaml > 0) await this.raw('---\n');
      this.#yaml += 1;
    }
    await this.raw(text);
  }

  /** Prints something else. */
  async raw(text: string): Promise<void> {
    await writeResult(this.#context, text);
  }

  /** Prints what was held back, and the end of a list. */
  async end(): Promise<void> {
    if (this.#json === 1) await this.raw(`${JSON.stringify(this.#held, undefined, 2)}\n`);
    if (this.#json > 1) await this.raw(listEnd);
  }
}

const listStart = '{\n  "apiVersion": "v1",\n  "kind": "List",\n  "items": [\n';
const listEnd = '\n  ]\n}\n';

function indented(value: unknown): string {
  return `    ${JSON.stringify(value, undefined, 2).replaceAll('\n', '\n    ')}`;
}

/** Several JSON documents in one file: a List, as kubectl writes it. */
export function jsonList(values: readonly unknown[]): string {
  return `${listStart}${values.map(indented).join(',\n')}${listEnd}`;
}
