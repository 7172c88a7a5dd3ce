import type { ServerResponse } from 'node:http';
import { sendJson, statusBody } from './fake-api-server.ts';
import type { Answer, SeenRequest } from './fake-api-server.ts';

interface Stored {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly [field: string]: unknown;
}

/** Objects behind a fake API server: create, read, replace with conflict detection, shallow merge patch. */
export class FakeObjectStore {
  readonly objects = new Map<string, Stored>();
  #version = 0;

  readonly answer: Answer = (request, response) => {
    const path = request.url.pathname;
    const body = JSON.parse(request.body === '' ? '{}' : request.body) as Partial<Stored>;
    if (request.method === 'POST') this.#create(`${path}/${body.metadata?.name ?? ''}`, body, response);
    else this.#onObject(path, body, request, response);
  };

  #create(path: string, body: object, response: ServerResponse): void {
    if (this.objects.has(path)) sendJson(response, 409, statusBody(409, 'AlreadyExists', `${path} already exists`));
    else sendJson(response, 201, this.#store(path, body));
  }

  #onObject(path: string, body: Partial<Stored>, request: SeenRequest, response: ServerResponse): void {
    const known = this.objects.get(path);
    if (known === undefined) sendJson(response, 404, statusBody(404, 'NotFound', `${path} not found`));
    else if (request.method === 'GET') sendJson(response, 200, known);
    else if ((body.metadata?.resourceVersion ?? known.metadata.resourceVersion) !== known.metadata.resourceVersion) {
      sendJson(response, 409, statusBody(409, 'Conflict', `${path} was modified`));
    } else if (request.method === 'PUT') sendJson(response, 200, this.#store(path, body));
    else sendJson(response, 200, this.#store(path, { ...known, ...body, metadata: { ...known.metadata } }));
  }

  #store(path: string, body: object): Stored {
    this.#version += 1;
    const { metadata } = body as Stored;
    const stored = { ...body, metadata: { ...metadata, resourceVersion: String(this.#version) } };
    this.objects.set(path, stored);
    return stored;
  }
}
