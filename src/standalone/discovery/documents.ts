/** Everything that is served beside resources: discovery, OpenAPI, the version and the health checks. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { methodNotAllowed } from '../http/api-error.ts';
import { sendBytes, sendText, sendValue } from '../http/respond.ts';
import type { DefinitionRegistry } from '../kinds/registry.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { apiVersions, group, groupList, resourceList } from './discovery.ts';
import { encodeOpenApiV2 } from './openapi-protobuf.ts';
import { openApiV2 } from './openapi-v2.ts';
import { openApiV3, openApiV3Index } from './openapi-v3.ts';

/** The version of Kubernetes whose API the server speaks. */
const kubernetesVersion = { major: '1', minor: '32', gitVersion: 'v1.32.0' };
const openApiV2Protobuf = 'application/com.github.proto-openapi.spec.v2';

export interface DocumentsOptions {
  readonly registry: DefinitionRegistry;
  /** virtctl's version. */
  readonly version: string;
  /** `host:port`, for /api. */
  readonly address: () => string;
  /** Problems that make the server not ready; empty when all is well. */
  readonly problems: () => readonly string[];
}

/** Bytes with their strong ETag. */
interface Document {
  readonly body: Buffer;
  readonly etag: string;
}

/** Documents are made when they are first asked for, and kept: definitions do not change while a server runs. */
export class DiscoveryDocuments {
  readonly #options: DocumentsOptions;
  readonly #documents = new Map<string, Document>();

  constructor(options: DocumentsOptions) {
    this.#options = options;
  }

  /** Answers a request for a document; false when the path is none. */
  serve(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const health = /^\/(healthz|livez|readyz)(\/.*)?$/.exec(path);
    if (health !== null) this.#health(health[1] === 'readyz', response);
    else if (path === '/openapi/v2') this.#openApiV2(request, response);
    else {
      const found = this.#find(path);
      if (found === undefined) return false;
      if (request.method !== 'GET') throw methodNotAllowed();
      if (path.startsWith('/openapi/'))
        this.#send(
          request,
          response,
          this.#keep(path, () => jsonBytes(found)),
          'application/json',
        );
      else sendValue(response, 200, found, 'json');
    }
    return true;
  }

  #find(path: string): JsonObject | undefined {
    const { registry } = this.#options;
    const parts = path.replace(/\/$/, '').split('/').slice(1);
    const [root = '', groupName = '', version = ''] = parts;
    if (root === 'api') {
      if (parts.length === 1) return apiVersions(this.#options.address());
      return parts.length === 2 ? resourceList(registry, '', groupName) : undefined;
    }
    if (root === 'apis') {
      if (parts.length === 1) return groupList(registry);
      if (parts.length === 2) return group(registry, groupName);
      return parts.length === 3 ? resourceList(registry, groupName, version) : undefined;
    }
    if (path === '/version') return this.#version();
    if (path === '/openapi/v3')
      return openApiV3Index(
        registry,
        (one) => this.#keep(`/openapi/v3/${one}`, () => jsonBytes(openApiV3(registry, one))).etag,
      );
    return path.startsWith('/openapi/v3/') ? openApiV3(registry, path.slice('/openapi/v3/'.length)) : undefined;
  }

  #version(): JsonObject {
    return {
      ...kubernetesVersion,
      gitVersion: `${kubernetesVersion.gitVersion}+virtctl-${this.#options.version}`,
      gitCommit: '',
      gitTreeState: 'clean',
      buildDate: '1970-01-01T00:00:00Z',
      goVersion: '',
      compiler: 'node',
      platform: 'linux/amd64',
    };
  }

  #health(readiness: boolean, response: ServerResponse): void {
    const problems = readiness ? this.#options.problems() : [];
    if (problems.length === 0) sendText(response, 200, 'ok');
    else sendText(response, 500, `${problems.map((problem) => `[-]${problem}`).join('\n')}\nreadyz check failed\n`);
  }

  #openApiV2(request: IncomingMessage, response: ServerResponse): void {
    const { registry } = this.#options;
    if ((request.headers.accept ?? '').includes(openApiV2Protobuf)) {
      const document = this.#keep('v2 protobuf', () => encodeOpenApiV2(openApiV2(registry)));
      this.#send(request, response, document, `${openApiV2Protobuf}.v1.0+protobuf`);
      return;
    }
    this.#send(
      request,
      response,
      this.#keep('v2', () => jsonBytes(openApiV2(registry))),
      'application/json',
    );
  }

  #keep(key: string, make: () => Buffer): Document {
    let document = this.#documents.get(key);
    if (document === undefined) {
      const body = make();
      document = { body, etag: `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"` };
      this.#documents.set(key, document);
    }
    return document;
  }

  #send(request: IncomingMessage, response: ServerResponse, document: Document, contentType: string): void {
    response.setHeader('etag', document.etag);
    response.setHeader('vary', 'Accept');
    if (request.headers['if-none-match'] === document.etag) {
      response.writeHead(304);
      response.end();
    } else sendBytes(response, 200, document.body, contentType);
  }
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
