/**
 * Parser of the XDR language (RFC 4506) in the dialect of rpcgen that libvirt's `*.x` files use. It keeps the
 * annotations of the comments before enumerators (`@readstream`, `@writestream`), which libvirt's own generator reads.
 */

/** A member of a struct, an arm of a union, or what a typedef names. */
export interface Declaration {
  readonly name: string;
  /** The type's words joined: `unsigned hyper`, `remote_nonnull_string`. */
  readonly type: string;
  /** How many: one, perhaps none (`*`), exactly `size` (`[n]`), or at most `size` (`<n>`). */
  readonly shape: 'one' | 'optional' | 'fixed' | 'variable';
  /** A constant's name or a number; undefined for `<>` and for one. */
  readonly size?: string | undefined;
}

/** One enumerator, with the annotations before it. */
export interface Enumerator {
  readonly name: string;
  readonly value: number;
  readonly annotations: ReadonlyMap<string, string>;
}

/** Everything one or several files define, by name, in order. */
export interface Definitions {
  readonly constants: Map<string, string>;
  readonly enums: Map<string, readonly Enumerator[]>;
  readonly structs: Map<string, readonly Declaration[]>;
  readonly typedefs: Map<string, Declaration>;
  readonly unions: Map<string, readonly Declaration[]>;
}

interface Token {
  readonly text: string;
  readonly line: number;
  readonly comment: string;
}

/** Nothing defined yet. */
export function emptyDefinitions(): Definitions {
  return { constants: new Map(), enums: new Map(), structs: new Map(), typedefs: new Map(), unions: new Map() };
}

/**
 * Adds what `text` defines to `into`.
 *
 * @param file Names the text in errors.
 * @throws Error naming file and line where the text is not of this language.
 */
export function parseXdr(text: string, file: string, into: Definitions): void {
  const parser = new Parser(tokenise(text), file);
  while (!parser.atEnd()) parser.definition(into);
}

function tokenise(text: string): Token[] {
  const pattern = /\/\*[\s\S]*?\*\/|^[ \t]*%.*$|[A-Za-z_]\w*|-?0x[0-9A-Fa-f]+|-?\d+|[{}()<>[\];:,=*]|\n/gm;
  const tokens: Token[] = [];
  let line = 1;
  let comment = '';
  for (const [found] of text.matchAll(pattern)) {
    if (found.startsWith('/*')) comment += found;
    else if (found !== '\n' && !found.trimStart().startsWith('%')) {
      tokens.push({ text: found, line, comment });
      comment = '';
    }
    line += found.split('\n').length - 1;
  }
  return tokens;
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #file: string;
  #at = 0;

  constructor(tokens: readonly Token[], file: string) {
    this.#tokens = tokens;
    this.#file = file;
  }

  atEnd(): boolean {
    return this.#at >= this.#tokens.length;
  }

  definition(into: Definitions): void {
    const kind = this.#next().text;
    switch (kind) {
      case 'const': {
        const name = this.#word();
        this.#expect('=');
        into.constants.set(name, this.#next().text);
        break;
      }
      case 'enum':
        into.enums.set(this.#word(), this.#enumerators(into));
        break;
      case 'struct': {
        const name = this.#word();
        into.structs.set(name, this.#members());
        break;
      }
      case 'typedef': {
        const declaration = this.#declaration();
        into.typedefs.set(declaration.name, declaration);
        break;
      }
      case 'union': {
        const name = this.#word();
        into.unions.set(name, this.#arms());
        break;
      }
      default:
        throw this.#error(`expected a definition, found ${kind}`);
    }
    this.#expect(';');
  }

  #enumerators(into: Definitions): Enumerator[] {
    const found: Enumerator[] = [];
    this.#expect('{');
    while (!this.#take('}')) {
      const { text: name, comment } = this.#next();
      this.#expect('=');
      const value = this.#next().text;
      const annotations = new Map(
        [...comment.matchAll(/@(\w+):\s*(\S+)/g)].map((match) => [match[1] ?? '', match[2] ?? '']),
      );
      found.push({ name, value: Number(value), annotations });
      into.constants.set(name, value);
      this.#take(',');
    }
    return found;
  }

  #members(): Declaration[] {
    const found: Declaration[] = [];
    this.#expect('{');
    while (!this.#take('}')) {
      found.push(this.#declaration());
      this.#expect(';');
    }
    return found;
  }

  #arms(): Declaration[] {
    for (const text of ['switch', '(', 'int']) this.#expect(text);
    this.#word();
    this.#expect(')');
    this.#expect('{');
    const found: Declaration[] = [];
    while (!this.#take('}')) {
      this.#expect('case');
      const size = this.#word();
      this.#expect(':');
      found.push({ ...this.#declaration(), size });
      this.#expect(';');
    }
    return found;
  }

  #declaration(): Declaration {
    let type = this.#word();
    if (type === 'unsigned') {
      const next = this.#peek();
      type = ['int', 'hyper', 'char', 'short'].includes(next) ? `unsigned ${this.#word()}` : 'unsigned int';
    }
    const optional = this.#take('*');
    const name = this.#word();
    if (optional) return { name, type, shape: 'optional' };
    if (this.#take('[')) {
      const size = this.#next().text;
      this.#expect(']');
      return { name, type, shape: 'fixed', size };
    }
    if (this.#take('<')) {
      if (this.#take('>')) return { name, type, shape: 'variable' };
      const size = this.#next().text;
      this.#expect('>');
      return { name, type, shape: 'variable', size };
    }
    return { name, type, shape: 'one' };
  }

  #peek(): string {
    return this.#tokens[this.#at]?.text ?? '';
  }

  #next(): Token {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw this.#error('unexpected end');
    this.#at += 1;
    return token;
  }

  #take(text: string): boolean {
    if (this.#peek() !== text) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    const found = this.#peek();
    if (!this.#take(text)) throw this.#error(`expected ${text}, found ${found}`);
  }

  #word(): string {
    const { text } = this.#next();
    if (!/^[A-Za-z_]/.test(text)) throw this.#error(`expected a name, found ${text}`);
    return text;
  }

  #error(message: string): Error {
    return new Error(
      `${this.#file}:${this.#tokens[Math.min(this.#at, this.#tokens.length - 1)]?.line ?? 1}: ${message}`,
    );
  }
}
