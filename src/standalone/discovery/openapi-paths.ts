/** The paths of OpenAPI documents: kubectl reads from them which verbs take dryRun and fieldValidation. */
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { subresourcesOf } from '../http/request-info.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { acceptedPatchTypes } from '../verbs/patch.ts';
import { gvkOf, metaNames, schemaName } from './openapi-schemas.ts';

/** How one version of OpenAPI writes parameters, bodies and answers. */
export interface OperationWriter {
  readonly parameter: (name: string, place: 'query' | 'path', type: string, description: string) => JsonObject;
  readonly withBody: (operation: JsonObject, schema: string, mediaTypes: readonly string[]) => void;
  readonly response: (description: string, schema: string) => JsonObject;
}

const dryRun =
  'When present, indicates that modifications should not be persisted. Valid values are: - All: all dry run stages will be processed';
const fieldManager = 'A name associated with the actor or entity that is making these changes.';
const fieldValidation = 'Instructs the server on how to handle unknown fields: Ignore, Warn or Strict.';
const force =
  'Force is going to "force" Apply requests. It means user will re-acquire conflicting fields owned by other people.';

/** Every path of a definition. */
export function pathsOf(definition: ResourceDefinition, writer: OperationWriter): JsonObject {
  const { group, version, plural, scope } = definition;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const namespaced = scope === 'Namespaced';
  const collection = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const name = writer.parameter('name', 'path', 'string', `name of the ${definition.kind}`);
  const namespace = writer.parameter(
    'namespace',
    'path',
    'string',
    'object name and auth scope, such as for teams and projects',
  );
  const shared = namespaced ? [namespace] : [];
  const paths: JsonObject = {
    [collection]: { ...collectionOperations(definition, writer), parameters: shared },
    [`${collection}/{name}`]: { ...objectOperations(definition, writer), parameters: [name, ...shared] },
  };
  if (namespaced) paths[`${root}/${plural}`] = { get: operation(definition, writer, 'list', true) };
  for (const subresource of subresourcesOf(definition)) {
    const { delete: _delete, ...operations } = objectOperations(definition, writer);
    paths[`${collection}/{name}/${subresource}`] = { ...operations, parameters: [name, ...shared] };
  }
  return paths;
}

function operation(
  definition: ResourceDefinition,
  writer: OperationWriter,
  action: string,
  isList = false,
): JsonObject {
  return {
    description: `${action} ${definition.kind}`,
    operationId: `${action}${definition.group.replace(/\W/g, '')}${definition.version}${definition.plural}`,
    parameters: [],
    responses: { '200': writer.response('OK', `${schemaName(definition)}${isList ? 'List' : ''}`) },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkOf(definition),
  };
}

function collectionOperations(definition: ResourceDefinition, writer: OperationWriter): JsonObject {
  const list = operation(definition, writer, 'list', true);
  const query = (name: string, type: string, description: string): JsonObject =>
    writer.parameter(name, 'query', type, description);
  list['parameters'] = [
    query('labelSelector', 'string', 'Restricts the list by labels.'),
    query('fieldSelector', 'string', 'Restricts the list by fields.'),
    query('limit', 'integer', 'The most objects to return.'),
    query('continue', 'string', 'The token of the next page.'),
    query('watch', 'boolean', 'Watch for changes.'),
    query('resourceVersion', 'string', 'What state may be shown.'),
    query('timeoutSeconds', 'integer', 'How long a watch lasts, in seconds.'),
  ];
  const post = operation(definition, writer, 'post');
  post['parameters'] = [
    query('dryRun', 'string', dryRun),
    query('fieldManager', 'string', fieldManager),
    query('fieldValidation', 'string', fieldValidation),
  ];
  writer.withBody(post, schemaName(definition), ['application/json', 'application/yaml']);
  return { get: list, post };
}

function objectOperations(definition: ResourceDefinition, writer: OperationWriter): JsonObject {
  const query = (name: string, type: string, description: string): JsonObject =>
    writer.parameter(name, 'query', type, description);
  const write = [
    query('dryRun', 'string', dryRun),
    query('fieldManager', 'string', fieldManager),
    query('fieldValidation', 'string', fieldValidation),
  ];
  const put = operation(definition, writer, 'put');
  put['parameters'] = write;
  writer.withBody(put, schemaName(definition), ['application/json', 'application/yaml']);
  const patch = operation(definition, writer, 'patch');
  patch['parameters'] = [...write, query('force', 'boolean', force)];
  writer.withBody(patch, metaNames.patch, acceptedPatchTypes(definition));
  const remove = operation(definition, writer, 'delete');
  remove['responses'] = { '200': writer.response('OK', metaNames.status) };
  remove['parameters'] = [
    query('dryRun', 'string', dryRun),
    query('propagationPolicy', 'string', 'Background, Foreground or Orphan.'),
  ];
  return { get: operation(definition, writer, 'get'), put, patch, delete: remove };
}
