/**
 * One libvirt call through our client, beside libvirt's C library (its Python binding, Debian's python3-libvirt) and a
 * spawned virsh, against the same daemon in one run: the test driver with 200 domains, and downloads of a volume.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { openLibvirt, type Libvirt } from '../src/libvirt/libvirt.ts';
import type { NonnullDomain } from '../src/libvirt/protocol.gen.ts';
import { startLibvirtd, type LibvirtdNode } from '../test/support/libvirtd.ts';
import { runProgram } from '../test/support/run-program.ts';
import { median, type BenchReport, type BenchRow } from './bench-report.ts';

const domains = 200;
const rounds = 15;
const volumeBytes = 256 << 20;

/** What is measured: how often a round does it, and how each contender does it once. */
interface Operation {
  readonly what: string;
  readonly times: number;
  readonly ours: (libvirt: Libvirt) => Promise<unknown>;
  /** The name in the Python program. */
  readonly python: string;
  readonly virsh: readonly string[];
}

const operations: readonly Operation[] = [
  {
    what: `list of ${domains} domains`,
    times: 200,
    ours: (libvirt) => libvirt.domains.list(),
    python: 'list',
    virsh: ['list', '--all'],
  },
  {
    what: 'XML of one domain',
    times: 200,
    ours: (libvirt) => libvirt.rpc.call('domainGetXmlDesc', { dom: one, flags: 0 }),
    python: 'xml',
    virsh: ['dumpxml', 'bench-7'],
  },
  {
    what: `statistics of ${domains} domains in bulk`,
    times: 50,
    ours: (libvirt) => libvirt.domains.stats(),
    python: 'stats',
    virsh: ['domstats'],
  },
];

let one: NonnullDomain = { name: '', uuid: new Uint8Array(16), id: -1 };

const python = `
import libvirt, sys, time
conn = libvirt.open(sys.argv[1])
dom = conn.lookupByName('bench-7')
operations = {'list': lambda: conn.listAllDomains(), 'xml': lambda: dom.XMLDesc(0), 'stats': lambda: conn.getAllDomainStats()}
for line in sys.stdin:
    name, times = line.split()
    operation = operations[name]
    start = time.perf_counter()
    for _ in range(int(times)): operation()
    print(time.perf_counter() - start, flush=True)
`;

/** See bench/run.ts. */
export async function run(): Promise<BenchReport> {
  const node = await startLibvirtd();
  try {
    return {
      title: "libvirt's RPC: ours beside the C library (python3-libvirt) and a spawned virsh, same daemon",
      rows: [...(await calls(node)), await download(node)],
      notes: [
        `medians of ${rounds} rounds in turn; per call, the C library always in series, as it has no other way`,
        'pipelined: all calls of a round in flight at once on one connection',
      ],
    };
  } finally {
    await node.close();
  }
}

async function calls(node: LibvirtdNode): Promise<BenchRow[]> {
  const file = join(node.dir, 'many.xml');
  await writeFile(file, manyDomains());
  const uri = `test+unix://${file}?socket=${node.socket}`;
  const libvirt = await openLibvirt(uri);
  one = (await libvirt.domains.byName('bench-7')).ref;
  const child = spawn('/usr/bin/python3', ['-c', python, uri], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]() as AsyncIterator<string, undefined>;
  const inPython = async (name: string, times: number): Promise<number> => {
    child.stdin.write(`${name} ${times}\n`);
    const answer = await answers.next();
    if (answer.done === true) throw new Error('the Python program ended');
    return (Number(answer.value) * 1000) / times;
  };
  try {
    const rows: BenchRow[] = [];
    for (const operation of operations) rows.push(...(await measure(operation, libvirt, uri, inPython)));
    return rows;
  } finally {
    await libvirt.close();
    child.stdin.end();
    await once(child, 'close');
  }
}

async function measure(
  { what, times, ours, python: name, virsh }: Operation,
  libvirt: Libvirt,
  uri: string,
  inPython: (name: string, times: number) => Promise<number>,
): Promise<BenchRow[]> {
  const series: number[] = [];
  const pipelined: number[] = [];
  const library: number[] = [];
  const spawned: number[] = [];
  for (let round = -2; round < rounds; round += 1) {
    const measured = {
      series: await perCall(times, async () => {
        for (let at = 0; at < times; at += 1) await ours(libvirt);
      }),
      library: await inPython(name, times),
      pipelined: await perCall(times, () => Promise.all(Array.from({ length: times }, () => ours(libvirt)))),
      spawned: await perCall(1, () => runProgram('virsh', ['-c', uri, ...virsh])),
    };
    // The first rounds warm everybody up.
    if (round < 0) continue;
    series.push(measured.series);
    library.push(measured.library);
    pipelined.push(measured.pipelined);
    spawned.push(measured.spawned);
  }
  const others = { 'C library': median(library), virsh: median(spawned) };
  const inSeries = median(series);
  const inPipeline = median(pipelined);
  return [
    {
      what: `${what}, in series`,
      unit: 'ms',
      values: { ours: inSeries, ...others },
      goal: `≤ 1.5 × the C library: ${(inSeries / others['C library']).toFixed(2)} ×`,
      reached: inSeries <= 1.5 * others['C library'],
    },
    {
      what: `${what}, pipelined`,
      unit: 'ms',
      values: { ours: inPipeline, 'C library': others['C library'] },
      goal: `below the C library: ${(inPipeline / others['C library']).toFixed(2)} ×`,
      reached: inPipeline < others['C library'],
    },
  ];
}

async function download(node: LibvirtdNode): Promise<BenchRow> {
  const folder = join(node.dir, 'pool');
  await mkdir(folder);
  await writeFile(join(folder, 'big'), randomBytes(volumeBytes));
  const libvirt = await openLibvirt(node.uri);
  const pool = await libvirt.pools.createXml(
    `<pool type='dir'><name>b</name><target><path>${folder}</path></target></pool>`,
  );
  const volume = await pool.volume('big');
  const ours: number[] = [];
  const virsh: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const mine = await perCall(1, () => volume.download(join(node.dir, 'down')));
    const theirs = await perCall(1, () => node.virsh('vol-download', '--pool', 'b', 'big', join(node.dir, 'down')));
    if (round < 0) continue;
    ours.push(mine);
    virsh.push(theirs);
  }
  await libvirt.close();
  const [mine, theirs] = [median(ours), median(virsh)];
  return {
    what: `download of ${volumeBytes >> 20} MiB`,
    unit: 'ms',
    values: { ours: mine, virsh: theirs },
    goal: `≤ 1.5 × virsh vol-download: ${(mine / theirs).toFixed(2)} ×`,
    reached: mine <= 1.5 * theirs,
  };
}

/** Milliseconds of each of `times`. */
async function perCall(times: number, work: () => Promise<unknown>): Promise<number> {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start) / 1e6 / times;
}

/** A configuration of the test driver. */
function manyDomains(): string {
  const one = (at: number): string =>
    `<domain type='test'><name>bench-${at}</name><memory>524288</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>`;
  return `<node>${Array.from({ length: domains }, (_none, at) => one(at)).join('')}</node>`;
}
