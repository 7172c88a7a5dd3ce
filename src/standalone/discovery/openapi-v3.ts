import type { DefinitionRegistry } from '../kinds/registry.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import type { OperationWriter } from './openapi-paths.ts';
import { pathsOf } from './openapi-paths.ts';
import { namedSchemas } from './openapi-schemas.ts';

const refPrefix = '#/components/schemas/';

/**
 * /openapi/v3: where each group version's document is.
 *
 * @param hashOf The ETag of a group version's document: clients cache by it.
 */
export function openApiV3Index(registry: DefinitionRegistry, hashOf: (groupVersion: string) => string): JsonObject {
  const groupVersions = [...new Set(registry.definitions.map(pathOf))];
  const entry = (groupVersion: string): JsonObject => ({
    serverRelativeURL: `/openapi/v3/${groupVersion}?hash=${hashOf(groupVersion).replaceAll('"', '')}`,
  });
  return { paths: Object.fromEntries(groupVersions.map((groupVersion) => [groupVersion, entry(groupVersion)])) };
}

function pathOf({ group, version }: ResourceDefinition): string {
  return group === '' ? `api/${version}` : `apis/${group}/${version}`;
}

/** The OpenAPI 3.0 document of a group version, as `apis/example.com/v1`; undefined when there is none. */
export function openApiV3(registry: DefinitionRegistry, groupVersion: string): JsonObject | undefined {
  const definitions = registry.definitions.filter((one) => pathOf(one) === groupVersion);
  if (definitions.length === 0) return undefined;
  return {
    openapi: '3.0.0',
    info: { title: 'virtctl', version: 'v1' },
    paths: Object.assign({}, ...definitions.map((one) => pathsOf(one, operations))) as JsonObject,
    components: { schemas: namedSchemas(definitions, { refPrefix, write: toV3 }) },
  };
}

const operations: OperationWriter = {
  parameter: (name, place, type, description) => ({
    name,
    in: place,
    description,
    schema: { type, uniqueItems: true },
    ...(place === 'path' ? { required: true } : {}),
  }),
  withBody(operation, schema, mediaTypes) {
    const content = { schema: { $ref: `${refPrefix}${schema}` } };
    operation['requestBody'] = {
      required: true,
      content: Object.fromEntries(mediaTypes.map((type) => [type, content])),
    };
  },
  response: (description, schema) => ({
    description,
    content: { 'application/json': { schema: { $ref: `${refPrefix}${schema}` } } },
  }),
};

/** A structural schema as it is: OpenAPI 3.0 has all that it uses. */
function toV3(schema: JsonSchema): JsonObject {
  return { ...schema };
}
