import { Option, type Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { isRecord } from '../api/problem.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { printedName, type KnownResource } from '../cli/resources/known-resources.ts';
import { compileExpression, foundText } from '../cli/resources/json-path.ts';
import { outputWords, parseOutput, writeObjects, type OutputFormat } from '../cli/resources/print-objects.ts';
import { alignColumns, tableLines, tableOfObjects, type Table, type TableRow } from '../cli/resources/print-table.ts';
import {
  addChoiceOptions,
  forEachReported,
  refuseTogether,
  type ChoiceFlags,
} from '../cli/resources/resource-options.ts';
import { parseTargets, type Target } from '../cli/resources/targets.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';
import { collectionPath, objectPath } from '../kube/resource-type.ts';
import { isNotFound } from '../kube/status-error.ts';

interface GetFlags extends ChoiceFlags {
  readonly output?: string;
  readonly watch?: boolean;
  readonly watchOnly?: boolean;
  readonly ignoreNotFound?: boolean;
  readonly headers: boolean;
  readonly showLabels?: boolean;
  readonly labelColumns?: string;
  readonly sortBy?: string;
  readonly showManagedFields?: boolean;
  readonly showKind?: boolean;
  readonly chunkSize: number;
}

/** `virtctl get`: prints objects as a table, or in another format. */
export function configure(command: Command, context: Context): void {
  command.argument('[kind or kind/name...]', 'a kind, or several with commas; then names; or KIND/NAME');
  addChoiceOptions(command);
  command
    .option('-o, --output <format>', outputWords)
    .option('-w, --watch', 'go on printing changes until interrupted')
    .option('--watch-only', 'print changes only, not what is there at first')
    .option('--ignore-not-found', 'a name that does not exist is no error')
    .option('--no-headers', 'without the line of headings')
    .option('--show-labels', 'with a column of all labels')
    .option('-L, --label-columns <labels>', 'with columns for these labels, as app,tier')
    .option('--show-kind', 'with the kind before each name')
    .option('--show-managed-fields', 'with metadata.managedFields in JSON and YAML')
    .option('--sort-by <path>', 'sort by a field, as .metadata.creationTimestamp')
    .addOption(
      new Option('--chunk-size <count>', 'how many objects are asked for at a time').argParser(Number).default(500),
    );
  addKubeOptions(command);
  addExamples(command, [
    ['List machines, in every namespace, with more columns', 'virtctl get vm -A -o wide'],
    ['The address of a machine', "virtctl get vm web -o jsonpath='{.status.interfaces[0].ips[0]}'"],
    ["A machine's domain as libvirt's XML", 'virtctl get vm/web -o xml'],
  ]);
  command.action(async (words: readonly string[], flags: GetFlags) => {
    const format = parseOutput(flags.output);
    refuseTogether([
      [words.length > 0, flags.filename !== undefined, 'give kinds and names, or -f, not both'],
      [
        flags.watch === true || flags.watchOnly === true,
        flags.sortBy !== undefined,
        '--sort-by does not go with --watch',
      ],
    ]);
    if (words.length === 0 && flags.filename === undefined) {
      throw new UsageError('expected a kind, as in `virtctl get vm`', { hint: 'virtctl get virt lists every kind' });
    }
    await withKubeClient(context, flags, async (client) => {
      const get = new Get(context, client, flags, format);
      await get.run(words);
    });
  });
}

class Get {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #flags: GetFlags;
  readonly #format: OutputFormat;

  constructor(context: Context, client: KubeClient, flags: GetFlags, format: OutputFormat) {
    this.#context = context;
    this.#client = client;
    this.#flags = flags;
    this.#format = format;
  }

  async run(words: readonly string[]): Promise<void> {
    const { targets, failed } = await this.#targets(words);
    if (targets.some(({ name }) => name !== undefined) && this.#flags.filename === undefined) {
      refuseTogether([
        [true, this.#flags.selector !== undefined, 'give names, or -l, not both'],
        [true, this.#flags.allNamespaces === true, '-A lists; it does not go with names'],
      ]);
    }
    if (this.#flags.watch === true || this.#flags.watchOnly === true) await this.#watch(targets);
    else if (this.#format.type === 'table') await this.#tables(targets, failed);
    else await this.#objects(targets, this.#format, failed);
  }

  async #targets(words: readonly string[]): Promise<{ targets: readonly Target[]; failed: readonly unknown[] }> {
    const { filename, namespace } = this.#flags;
    if (filename === undefined) return { targets: parseTargets(words), failed: [] };
    const { readManifests } = await import('../cli/resources/manifests.ts');
    const { manifests, failed } = await readManifests(this.#context, filename, {
      givenNamespace: namespace,
      namespace: this.#client.namespace,
      complete: false,
    });
    return { targets: manifests, failed };
  }

  #namespaceOf({ resource, namespace }: Target): string | undefined {
    if (!resource.namespaced || (this.#flags.allNamespaces === true && namespace === undefined)) return undefined;
    return namespace ?? this.#client.namespace;
  }

  async #objects(
    targets: readonly Target[],
    format: Exclude<OutputFormat, { type: 'table' }>,
    failed: readonly unknown[],
  ): Promise<void> {
    const objects: KubeObject[] = [];
    const { signal } = this.#context;
    const { selector, fieldSelector, chunkSize, sortBy } = this.#flags;
    const print = async (): Promise<void> => {
      const single = targets.length === 1 && targets[0]?.name !== undefined;
      if (single && objects.length === 0) return;
      const sorted = sortBy === undefined ? objects : sortObjects(objects, sortBy);
      const options = {
        single,
        showManagedFields: this.#flags.showManagedFields === true,
        headers: this.#flags.headers,
      };
      await writeResult(this.#context, await writeObjects(format, sorted, options));
    };
    try {
      await forEachReported(
        this.#context,
        targets,
        async (target) => {
          const client = this.#client.resource<KubeObject>(target.resource);
          const namespace = this.#namespaceOf(target);
          if (target.name === undefined) {
            const page = await client.listAll({
              namespace,
              labelSelector: selector,
              fieldSelector,
              limit: chunkSize,
              signal,
            });
            for (const item of page.items) objects.push(item);
          } else {
            const found = await this.#unlessMissing(client.get({ namespace, name: target.name }, { signal }));
            if (found !== undefined) objects.push(found);
          }
        },
        failed,
      );
    } finally {
      if (!signal.aborted) await print();
    }
  }

  async #unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (this.#flags.ignoreNotFound === true && isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #tables(targets: readonly Target[], failed: readonly unknown[]): Promise<void> {
    const byResource = new Map<string, { resource: KnownResource; tables: Table[] }>();
    const work = forEachReported(
      this.#context,
      targets,
      async (target) => {
        const table = await this.#unlessMissing(this.#table(target));
        if (table === undefined) return;
        const known = byResource.get(target.resource.plural);
        if (known === undefined) byResource.set(target.resource.plural, { resource: target.resource, tables: [table] });
        else known.tables.push(table);
      },
      failed,
    );
    try {
      await work;
    } finally {
      if (!this.#context.signal.aborted) await this.#printTables([...byResource.values()], targets);
    }
  }

  async #printTables(
    groups: readonly { readonly resource: KnownResource; readonly tables: readonly Table[] }[],
    targets: readonly Target[],
  ): Promise<void> {
    const filled = groups.filter(({ tables }) => tables.some(({ rows }) => (rows?.length ?? 0) > 0));
    const isListing = targets.some(({ name }) => name === undefined);
    if (filled.length === 0 && isListing && groups.length > 0) {
      const scope =
        this.#flags.allNamespaces === true || targets.every(({ resource }) => !resource.namespaced)
          ? ''
          : ` in ${this.#client.namespace} namespace`;
      if (this.#flags.ignoreNotFound !== true) this.#context.stderr.write(`No resources found${scope}.\n`);
      return;
    }
    const several = this.#flags.showKind === true || new Set(targets.map(({ resource }) => resource.plural)).size > 1;
    const texts = filled.map(({ resource, tables }) => {
      const rows = tables.flatMap((table) => table.rows ?? []);
      const sorted = this.#flags.sortBy === undefined ? rows : sortRows(rows, this.#flags.sortBy);
      const whole: Table = { kind: 'Table', columnDefinitions: tables[0]?.columnDefinitions ?? [], rows: sorted };
      return alignColumns(tableLines(whole, this.#tableOptions(resource, several))).text;
    });
    await writeResult(this.#context, texts.join('\n'));
  }

  #tableOptions(resource: KnownResource, several: boolean): Parameters<typeof tableLines>[1] {
    const { headers, showLabels, labelColumns, allNamespaces } = this.#flags;
    return {
      wide: this.#format.type === 'table' && this.#format.wide,
      headers,
      withNamespace: allNamespaces === true && resource.namespaced,
      namePrefix: several ? printedName(resource, '') : '',
      showLabels: showLabels === true,
      labelColumns: labelColumns?.split(',').filter((label) => label !== '') ?? [],
    };
  }

  /** The server's own table, page by page. */
  async #table(target: Target): Promise<Table> {
    const namespace = this.#namespaceOf(target);
    const { selector, fieldSelector, chunkSize, sortBy } = this.#flags;
    const { signal, now } = this.#context;
    const rows: TableRow[] = [];
    let next: string | undefined;
    let columns: Table['columnDefinitions'] = null;
    do {
      const query = new URLSearchParams({
        ...(sortBy === undefined ? {} : { includeObject: 'Object' }),
        ...(target.name === undefined && chunkSize > 0 ? { limit: String(chunkSize) } : {}),
        ...(selector === undefined ? {} : { labelSelector: selector }),
        ...(fieldSelector === undefined || target.name !== undefined ? {} : { fieldSelector }),
        ...(next === undefined ? {} : { continue: next }),
      });
      const path =
        target.name === undefined
          ? collectionPath(target.resource, namespace)
          : objectPath(target.resource, { namespace, name: target.name });
      const answer = await this.#client.raw(query.size === 0 ? path : `${path}?${query.toString()}`, {
        accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
        signal,
      });
      const page = isTable(answer) ? answer : tableOfObjects(target.resource, objectsOf(answer), now());
      columns ??= page.columnDefinitions;
      for (const row of page.rows ?? []) rows.push(row);
      next = page.metadata?.continue;
    } while (next !== undefined && next !== '');
    return { kind: 'Table', columnDefinitions: columns, rows };
  }

  async #watch(targets: readonly Target[]): Promise<void> {
    const [target, ...more] = targets;
    if (target === undefined || more.length > 0) throw new UsageError('--watch follows one kind or one object only');
    const { watchObjects } = await import('../cli/resources/watch-objects.ts');
    const { selector, fieldSelector, watchOnly } = this.#flags;
    const tableOptions = this.#tableOptions(target.resource, this.#flags.showKind === true);
    let widths: readonly number[] = [];
    let isFirst = true;
    const print = async (objects: readonly KubeObject[]): Promise<void> => {
      if (this.#format.type !== 'table') {
        for (const object of objects) {
          const options = { single: true, showManagedFields: this.#flags.showManagedFields === true, headers: isFirst };
          const text = await writeObjects(this.#format, [object], options);
          await writeResult(this.#context, text.endsWith('\n') ? text : `${text}\n`);
          isFirst = false;
        }
        return;
      }
      const table = tableOfObjects(target.resource, objects, this.#context.now());
      const lines = tableLines(table, { ...tableOptions, headers: tableOptions.headers && isFirst });
      const aligned = alignColumns(lines, widths);
      widths = aligned.widths;
      isFirst = false;
      await writeResult(this.#context, aligned.text);
    };
    const own = target.name === undefined ? [] : [`metadata.name=${target.name}`];
    await watchObjects(this.#client.resource<KubeObject>(target.resource), {
      namespace: this.#namespaceOf(target),
      labelSelector: selector,
      fieldSelector: [...own, ...(fieldSelector === undefined ? [] : [fieldSelector])].join(',') || undefined,
      signal: this.#context.signal,
      present: async (objects) => {
        if (target.name !== undefined && objects.length === 0) await this.#table(target);
        if (watchOnly !== true && objects.length > 0) await print(objects);
      },
      changed: (object) => print([object]),
    });
  }
}

function isTable(answer: unknown): answer is Table {
  return isRecord(answer) && answer['kind'] === 'Table';
}

function objectsOf(answer: unknown): readonly KubeObject[] {
  if (!isRecord(answer)) return [];
  return Array.isArray(answer['items']) ? (answer['items'] as KubeObject[]) : [answer as unknown as KubeObject];
}

function sortRows(rows: readonly TableRow[], path: string): TableRow[] {
  const find = compileExpression(path);
  return [...rows].sort((a, b) => compareFound(find(a.object), find(b.object)));
}

function sortObjects(objects: readonly KubeObject[], path: string): KubeObject[] {
  const find = compileExpression(path);
  return [...objects].sort((a, b) => compareFound(find(a), find(b)));
}

function compareFound([a]: readonly unknown[], [b]: readonly unknown[]): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [foundText(a), foundText(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}
