/** A value of virTypedParameter with its type on the wire. 64-bit values are bigint. */
export type TypedParameter =
  | { readonly field: string; readonly type: 'int' | 'uint' | 'double'; readonly value: number }
  | { readonly field: string; readonly type: 'llong' | 'ullong'; readonly value: bigint }
  | { readonly field: string; readonly type: 'boolean'; readonly value: boolean }
  | { readonly field: string; readonly type: 'string'; readonly value: string };

/** What a typed parameter may hold. */
export type TypedValue = TypedParameter['value'];

/** libvirt-common.h's virTypedParameterType; the index is the number on the wire. */
export const typedParameterTypes = ['', 'int', 'uint', 'llong', 'ullong', 'double', 'boolean', 'string'] as const;

/**
 * Typed parameters by name, as Python's binding has them. Where a name repeats (`migrate_disks`) the last one wins:
 * use the list itself for those.
 */
export function typedParametersToObject(parameters: readonly TypedParameter[]): Record<string, TypedValue> {
  const object: Record<string, TypedValue> = {};
  for (const { field, value } of parameters) object[field] = value;
  return object;
}

/**
 * Makes typed parameters from names and values. Which type a name has is libvirt's choice (see the
 * `VIR_…_PARAM_…` macros): a pair says it; without, a string is `string`, a boolean `boolean`, a bigint `ullong`
 * and a number `int`. A name whose value is undefined is left out; one with a list of strings is repeated.
 */
export function typedParameters(
  values: Readonly<Record<string, TypedValue | readonly string[] | undefined>>,
  types: Readonly<Record<string, TypedParameter['type']>> = {},
): TypedParameter[] {
  return Object.entries(values).flatMap(([field, value]): TypedParameter[] => {
    if (value === undefined) return [];
    if (typeof value === 'object') return value.map((one) => ({ field, type: 'string', value: one }));
    return [typedParameter(field, value, types[field])];
  });
}

function typedParameter(field: string, value: TypedValue, type: TypedParameter['type'] | undefined): TypedParameter {
  switch (type ?? defaultType(value)) {
    case 'int':
      return { field, type: 'int', value: Number(value) };
    case 'uint':
      return { field, type: 'uint', value: Number(value) };
    case 'double':
      return { field, type: 'double', value: Number(value) };
    case 'llong':
      return { field, type: 'llong', value: BigInt(value) };
    case 'ullong':
      return { field, type: 'ullong', value: BigInt(value) };
    case 'boolean':
      return { field, type: 'boolean', value: Boolean(value) };
    case 'string':
      return { field, type: 'string', value: String(value) };
  }
}

function defaultType(value: TypedValue): TypedParameter['type'] {
  switch (typeof value) {
    case 'string':
      return 'string';
    case 'boolean':
      return 'boolean';
    case 'bigint':
      return 'ullong';
    default:
      return 'int';
  }
}
