import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';

/** A server that the suite runs against. */
export interface ServerUnderTest {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
  /** The real kube-apiserver, without controllers beside it; or the embedded one. */
  readonly isEmbedded: boolean;
}

export type Json = Record<string, unknown>;

/** A response, decoded. */
export interface Answer {
  readonly code: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly body: Json;
}

export interface AskOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: Json;
}

const deadlineMs = 30_000;

/** Speaks plain HTTP to a server: no client library is between the suite and what it tests. */
export class ApiProbe {
  readonly #server: ServerUnderTest;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(server: ServerUnderTest) {
    this.#server = server;
  }

  async ask(method: string, path: string, options: AskOptions = {}): Promise<Answer> {
    const { body, type = 'application/json' } = options;
    const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await this.#open(
      method,
      path,
      {
        ...(payload === undefined
          ? {}
          : { 'content-type': type, 'content-length': String(Buffer.byteLength(payload)) }),
        ...(options.accept === undefined ? {} : { accept: options.accept }),
        ...options.headers,
      },
      payload,
    );
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const isJson = (response.headers['content-type'] ?? '').startsWith('application/json');
    return {
      code: response.statusCode ?? 0,
      headers: response.headers,
      text,
      body: isJson && text !== '' ? (JSON.parse(text) as Json) : {},
    };
  }

  get(path: string, options?: AskOptions): Promise<Answer> {
    return this.ask('GET', path, options);
  }
  post(path: string, body: unknown, options: AskOptions = {}): Promise<Answer> {
    return this.ask('POST', path, { ...options, body });
  }
  put(path: string, body: unknown, options: AskOptions = {}): Promise<Answer> {
    return this.ask('PUT', path, { ...options, body });
  }
  delete(path: string, body?: unknown): Promise<Answer> {
    return this.ask('DELETE', path, { body });
  }
  merge(path: string, body: unknown): Promise<Answer> {
    return this.ask('PATCH', path, { body, type: 'application/merge-patch+json' });
  }
  json(path: string, body: unknown): Promise<Answer> {
    return this.ask('PATCH', path, { body, type: 'application/json-patch+json' });
  }
  strategic(path: string, body: unknown): Promise<Answer> {
    return this.ask('PATCH', path, { body, type: 'application/strategic-merge-patch+json' });
  }
  apply(path: string, manager: string, body: unknown, force = false): Promise<Answer> {
    const query = `fieldManager=${manager}${force ? '&force=true' : ''}`;
    return this.ask('PATCH', `${path}?${query}`, { body, type: 'application/apply-patch+yaml' });
  }

  /** Reads a watch until it has `count` events or ends by itself; then lets it go. */
  async watch(
    path: string,
    count: number,
    options: AskOptions & {
      readonly whenOpen?: () => Promise<void>;
      readonly onEvent?: (event: WatchEvent) => void;
    } = {},
  ): Promise<WatchEvent[]> {
    const response = await this.#open('GET', path, options.accept === undefined ? {} : { accept: options.accept });
    const events: WatchEvent[] = [];
    const lines = createInterface({ input: response });
    const opened = options.whenOpen?.();
    try {
      for await (const line of lines) {
        const event = JSON.parse(line) as WatchEvent;
        options.onEvent?.(event);
        if (Number.isFinite(count)) events.push(event);
        if (events.length >= count) break;
      }
      await opened;
    } finally {
      lines.close();
      response.destroy();
    }
    return events;
  }

  close(): void {
    this.#agent.destroy();
  }

  #open(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    payload?: string,
  ): Promise<IncomingMessage> {
    const { url, ca, token } = this.#server;
    return new Promise((resolve, reject) => {
      const asked = request(
        `${url}${path}`,
        {
          method,
          ca,
          agent: this.#agent,
          timeout: deadlineMs,
          headers: { authorization: `Bearer ${token}`, 'user-agent': 'conformance/1', ...headers },
        },
        resolve,
      );
      asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer in ${deadlineMs / 1000} s`)));
      asked.on('error', reject);
      asked.end(payload);
    });
  }
}
