import { isJsonObject } from '../schema/json-schema.ts';

type Step = (value: unknown) => unknown[];

/**
 * The part of kubectl's JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]` and
 * `[?(@.type=="Ready")]`.
 *
 * @returns A function that gives every value found; it finds nothing for an expression it does not understand.
 */
export function compileJsonPath(path: string): (value: unknown) => unknown[] {
  const steps: Step[] = [];
  let rest = path.replace(/^\{|\}$/g, '').replace(/^\$/, '');
  while (rest !== '') {
    const found = nextStep(rest);
    if (found === undefined) return () => [];
    steps.push(found.step);
    rest = rest.slice(found.length);
  }
  return (value) => steps.reduce<unknown[]>((values, step) => values.flatMap(step), [value]);
}

const field =
  (key: string): Step =>
  (value) =>
    isJsonObject(value) && Object.hasOwn(value, key) ? [value[key]] : [];

function nextStep(text: string): { readonly step: Step; readonly length: number } | undefined {
  const name = /^\.((?:\\.|[^.[\]\\])+)/.exec(text);
  if (name !== null) return { step: field((name[1] ?? '').replaceAll(/\\(.)/g, '$1')), length: name[0].length };
  const quoted = /^\.?\[(['"])(.*?)\1\]/.exec(text);
  if (quoted !== null) return { step: field(quoted[2] ?? ''), length: quoted[0].length };
  const index = /^\.?\[(-?\d+)\]/.exec(text);
  if (index !== null) {
    return {
      step: (value) => (Array.isArray(value) ? (value as unknown[]).slice(Number(index[1])).slice(0, 1) : []),
      length: index[0].length,
    };
  }
  const all = /^\.?\[\*\]/.exec(text);
  if (all !== null)
    return { step: (value) => (Array.isArray(value) ? (value as unknown[]) : []), length: all[0].length };
  const filter = /^\.?\[\?\(@((?:\.[\w-]+)+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([^)\s]+))\)\]/.exec(text);
  if (filter === null) return undefined;
  const inner = compileJsonPath(filter[1] ?? '');
  const wanted = filter[3] ?? filter[4] ?? filter[5] ?? '';
  const equal = filter[2] === '==';
  return {
    length: filter[0].length,
    step: (value) =>
      Array.isArray(value) ? (value as unknown[]).filter((item) => (String(inner(item)[0]) === wanted) === equal) : [],
  };
}
