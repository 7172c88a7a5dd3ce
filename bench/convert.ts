/**
 * XML → YAML object and back over libvirt's whole test corpus, beside Python's xmltodict and Go's libvirtxml.
 *
 * Every contender reads all documents from memory into its objects and writes all of them again, in rounds, one
 * contender after the other and all of them three times, so that a disturbance meets each. libvirtxml is taken from
 * LIBVIRTXML (a checkout), Debian's /usr/share/gocode, or Go's module cache or proxy, in this order; without it, or
 * without Go or xmltodict, their column is missing and a note says so.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { analyse } from '../src/analyser/analyse.ts';
import { render } from '../src/convertor/render.ts';
import { corpusDocuments, ownDocuments, type DocumentFile } from '../test/support/libvirt-documents.ts';
import { median, type BenchReport, type BenchRow } from './bench-report.ts';

const runFile = promisify(execFile);
const rounds = 15;
const repetitions = 3;

/** Milliseconds of each round over all documents. */
interface Times {
  readonly read: number[];
  /** Indented. */
  readonly write: number[];
  /** In one line; libvirtxml always indents. */
  readonly compact?: number[];
}

/** The report of `npm run bench -- convert`. */
export async function run(): Promise<BenchReport> {
  const documents = corpusDocuments.length > 0 ? corpusDocuments : repeated(ownDocuments, 600);
  const folder = await mkdtemp(join(tmpdir(), 'virtctl-bench-'));
  try {
    const list = join(folder, 'documents.json');
    const libvirtXml = documents.filter(({ text }) => kindsOfLibvirtXml.includes(analyse(text).kind));
    await writeFile(list, JSON.stringify(libvirtXml.map(({ text }) => [analyse(text).kind, text])));
    return await measure(libvirtXml, folder, list);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The kinds that convert/libvirtxml.go reads. */
const kindsOfLibvirtXml = ['domain', 'domainsnapshot', 'network', 'storagepool', 'storagevol'];

async function measure(documents: readonly DocumentFile[], folder: string, list: string): Promise<BenchReport> {
  const notes: string[] = [];
  const go = await buildGo(folder, notes);
  const others: [string, () => Promise<Times>][] = [];
  if (go !== undefined) others.push(['libvirtxml', () => child(go, [list, String(rounds)])]);
  if (await hasXmltodict(notes)) {
    const script = join(import.meta.dirname, 'convert/xmltodict-rounds.py');
    others.push(['xmltodict', () => child('/usr/bin/python3', [script, list, String(rounds)])]);
  }
  const cold = ours(documents, 1);
  const times = new Map<string, Times>([
    ['virtctl', { read: [], write: [], compact: [] }],
    ...others.map(([name]): [string, Times] => [name, { read: [], write: [], compact: [] }]),
  ]);
  ours(documents, 5);
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    add(times.get('virtctl'), ours(documents, rounds));
    for (const [name, measured] of others) add(times.get(name), await measured());
  }
  const bytes = documents.reduce((sum, { text }) => sum + text.length, 0);
  notes.push(
    `${documents.length} documents, ${Math.round(bytes / 1024)} KiB; median of ${rounds * repetitions} rounds`,
  );
  notes.push(
    `virtctl's very first round, before the just-in-time compiler: read ${cold.read[0]?.toFixed(0) ?? '?'} ms, ` +
      `write ${cold.write[0]?.toFixed(0) ?? '?'} ms`,
  );
  return {
    title: 'XML → YAML object and back, whole corpus',
    rows: [
      row('read', times, 'libvirtxml', 'at most 1.0 × libvirtxml', (mine, theirs) => mine <= theirs),
      row('write', times, 'xmltodict', 'faster than xmltodict', (mine, theirs) => mine < theirs),
      row('compact', times, 'xmltodict', 'faster than xmltodict', (mine, theirs) => mine < theirs),
    ],
    notes,
  };
}

const titles = { read: 'read', write: 'write, indented', compact: 'write, in one line' } as const;

function row(
  what: keyof Times,
  times: ReadonlyMap<string, Times>,
  beside: string,
  goal: string,
  isReached: (mine: number, theirs: number) => boolean,
): BenchRow {
  const values: Record<string, number> = {};
  for (const [name, all] of times) if ((all[what]?.length ?? 0) > 0) values[name] = median(all[what] ?? []);
  const { virtctl: mine, [beside]: theirs } = values;
  const reached = mine === undefined || theirs === undefined ? {} : { reached: isReached(mine, theirs) };
  return { what: titles[what], unit: 'ms', values, goal, ...reached };
}

function ours(documents: readonly DocumentFile[], count: number): Times {
  const times: Required<Times> = { read: [], write: [], compact: [] };
  for (let round = 0; round < count; round += 1) {
    let start = performance.now();
    const analysed = documents.map(({ text }) => analyse(text));
    times.read.push(performance.now() - start);
    start = performance.now();
    const written = analysed.map(({ kind, value, overlay }) => whole(render(kind, value, overlay)));
    times.write.push(performance.now() - start);
    start = performance.now();
    const compact = analysed.map(({ kind, value, overlay }) => whole(render(kind, value, overlay, { pretty: false })));
    times.compact.push(performance.now() - start);
    if (written.includes('') || compact.includes('')) throw new Error('a document came out empty');
  }
  return times;
}

/** V8 joins the pieces of a text when it is first read; that belongs to writing it. */
function whole(text: string): string {
  return text.charCodeAt(text.length - 1) > 0 ? text : '';
}

function add(to: Times | undefined, more: Times): void {
  to?.read.push(...more.read);
  to?.write.push(...more.write);
  to?.compact?.push(...(more.compact ?? []));
}

/** Runs a contender, which prints its rounds as JSON. */
async function child(program: string, args: readonly string[]): Promise<Times> {
  const { stdout } = await runFile(program, args, { timeout: 300_000, maxBuffer: 1 << 20 });
  return JSON.parse(stdout) as Times;
}

async function hasXmltodict(notes: string[]): Promise<boolean> {
  try {
    await runFile('/usr/bin/python3', ['-c', 'import xmltodict'], { timeout: 30_000 });
    return true;
  } catch {
    notes.push('without xmltodict: apt-get install python3-xmltodict');
    return false;
  }
}

/** Builds the Go program; undefined, with a note, where Go or libvirtxml is not to be had. */
async function buildGo(folder: string, notes: string[]): Promise<string | undefined> {
  const sources = join(folder, 'go');
  const program = join(folder, 'libvirtxml-rounds');
  await mkdir(sources);
  await writeFile(join(sources, 'main.go'), await readFile(join(import.meta.dirname, 'convert/libvirtxml-rounds.go')));
  const name = 'libvirt.org/go/libvirtxml';
  const checkout = [process.env['LIBVIRTXML'], `/usr/share/gocode/src/${name}`].find(
    (path) => path !== undefined && existsSync(join(path, 'domain.go')),
  );
  const required =
    checkout === undefined ? `require ${name} v1.9008.0\n` : `require ${name} v0.0.0\nreplace ${name} => ${checkout}\n`;
  await writeFile(join(sources, 'go.mod'), `module rounds\n\ngo 1.19\n\n${required}`);
  try {
    const env = { ...process.env, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' };
    await runFile('go', ['build', '-o', program, '.'], { cwd: sources, env, timeout: 300_000 });
    return program;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    notes.push(
      missing
        ? 'without libvirtxml: apt-get install golang-go'
        : `without libvirtxml: Go cannot get ${name}; set LIBVIRTXML to a checkout of it`,
    );
    return undefined;
  }
}

function repeated(documents: readonly DocumentFile[], count: number): DocumentFile[] {
  return Array.from({ length: count }, (_, index) => documents[index % documents.length]).filter(
    (document) => document !== undefined,
  );
}
