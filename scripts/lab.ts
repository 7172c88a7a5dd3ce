/**
 * Several real nodes on one machine, to try things out with (docs/lab.md):
 *
 *   npm run lab -- up [--nodes 3] [--api embedded|kube] [--lease-seconds 40]
 *   npm run lab -- status
 *   npm run lab -- kill|start|pause|resume NODE [node|libvirtd|executor]
 *   npm run lab -- partition|heal NODE
 *   npm run lab -- exec NODE PROGRAM [ARGUMENT...]
 *   npm run lab -- down
 *
 * Each takes --folder FOLDER, where the lab is kept.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { askKeeper, nodeVerbs, type NodeVerb } from './lab/keeper.ts';
import { labApis, type LabApi, type LabOptions, type LabStatus } from './lab/lab.ts';
import { labVariable, processesOf, removeRemains } from './lab/remains.ts';

const usage = `usage: npm run lab -- up [--nodes 3] [--api ${labApis.join('|')}] [--lease-seconds 40]
       npm run lab -- status | down
       npm run lab -- kill|start|pause|resume NODE [node|libvirtd|executor]
       npm run lab -- kill|start|pause|resume scheduler|controller
       npm run lab -- partition|heal NODE
       npm run lab -- exec NODE PROGRAM [ARGUMENT...]
each with --folder FOLDER; $XDG_RUNTIME_DIR/virtctl-lab or /run/virtctl-lab when left out\n`;

class WrongUsage extends Error {}

interface Flags {
  readonly folder: string;
  readonly nodes: string;
  readonly api: string;
  readonly 'lease-seconds'?: string | undefined;
}

async function main(args: readonly string[]): Promise<number> {
  // What follows `exec NODE` is not ours.
  const at = args.indexOf('exec');
  const own = at === -1 ? args : args.slice(0, at + 2);
  const { values, positionals } = parseArgs({
    args: [...own],
    allowPositionals: true,
    options: {
      folder: { type: 'string', default: join(process.env['XDG_RUNTIME_DIR'] ?? '/run', 'virtctl-lab') },
      nodes: { type: 'string', default: '3' },
      api: { type: 'string', default: 'embedded' },
      'lease-seconds': { type: 'string' },
    },
  });
  const [verb = '', target, part] = positionals;
  const folder = resolve(values.folder);
  switch (verb) {
    case 'up':
      return up(folder, values);
    case 'status':
      return show(await asked(folder, { verb: 'status' }));
    case 'down':
      return down(folder);
    case 'exec':
      return exec(folder, target ?? '', args.slice(at + 2));
    default:
      if (!(nodeVerbs as readonly string[]).includes(verb) || target === undefined) throw new WrongUsage();
      return show(await asked(folder, { verb: verb as NodeVerb, target, ...(part === undefined ? {} : { part }) }));
  }
}

async function up(folder: string, flags: Flags): Promise<number> {
  const nodes = Number(flags.nodes);
  const leaseSeconds = flags['lease-seconds'] === undefined ? undefined : Number(flags['lease-seconds']);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 50) throw new WrongUsage('--nodes: expected 1 to 50');
  if (leaseSeconds !== undefined && !(Number.isInteger(leaseSeconds) && leaseSeconds > 0)) {
    throw new WrongUsage('--lease-seconds: expected a whole number');
  }
  if (!(labApis as readonly string[]).includes(flags.api)) throw new WrongUsage(`--api: ${labApis.join(' or ')}`);
  if ((await askKeeper(folder, { verb: 'status' })) !== undefined || (await processesOf(folder)).length > 0) {
    process.stderr.write(`a lab is up in ${folder}: npm run lab -- down\n`);
    return 1;
  }
  await removeRemains(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const options: LabOptions = { folder, nodes, api: flags.api as LabApi, leaseSeconds };
  const path = join(folder, 'keeper.log');
  const log = await open(path, 'a');
  const script = join(import.meta.dirname, 'lab/keeper.ts');
  const keeper = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(options)], {
    cwd: resolve(import.meta.dirname, '..'),
    env: { ...process.env, [labVariable]: folder },
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  await log.close();
  let status: LabStatus | undefined;
  let told = 0;
  let said = '';
  while (status === undefined) {
    await delay(100);
    // Removed when it does not come up: then what was read before is all there is.
    try {
      said = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    process.stderr.write(said.slice(told));
    told = said.length;
    if (keeper.exitCode !== null || keeper.signalCode !== null) return 1;
    status = await askKeeper(folder, { verb: 'status' });
  }
  keeper.unref();
  show(status);
  const ours = process.env['XDG_RUNTIME_DIR'] === undefined && folder === '/run/virtctl-lab';
  const suffix = ours ? '' : ` --folder ${folder}`;
  process.stdout.write(`
Next:
  export KUBECONFIG=${status.kubeconfig}
  alias virtctl='node ${status.program}'
  virtctl node list
  npm run lab -- partition node-2${suffix}    # and heal; kill, start, pause, resume
  npm run lab -- down${suffix}
Disks that all nodes see go below ${status.shared}, those of a node below /var/lib/libvirt.
`);
  return 0;
}

async function down(folder: string): Promise<number> {
  try {
    await askKeeper(folder, { verb: 'down' });
  } catch (error) {
    // Killed, or stuck: its remains go all the same.
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
  const killed = await removeRemains(folder);
  process.stdout.write(
    `nothing is left of the lab in ${folder}${killed === 0 ? '' : ` (killed ${killed} processes)`}\n`,
  );
  return 0;
}

async function exec(folder: string, name: string, command: readonly string[]): Promise<number> {
  const node = (await asked(folder, { verb: 'status' })).nodes.find((one) => one.name === name);
  if (node === undefined || node.pid === 0) throw new Error(`${name} does not run`);
  if (command.length === 0) throw new WrongUsage();
  const into = ['-t', String(node.pid), '-m', '-u', '-n', '-p', '-i', '--'];
  const child = spawn('nsenter', [...into, ...command], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

async function asked(folder: string, request: Parameters<typeof askKeeper>[1]): Promise<LabStatus> {
  const status = await askKeeper(folder, request);
  if (status === undefined) throw new Error(`there is no lab in ${folder}: npm run lab -- up`);
  return status;
}

function show(status: LabStatus): number {
  const parts = Object.entries(status.parts).map(([name, word]) => `${name} ${word}`);
  const lines = [
    `${status.api === 'kube' ? 'kube-apiserver' : 'embedded API server'} at ${status.server}: ${parts.join(', ')}`,
    ...status.nodes.map(({ name, address, state, libvirtd, executor, partitioned, socket }) => {
      const words = [state, `libvirtd ${libvirtd}`, `executor ${executor}`, ...(partitioned ? ['cut off'] : [])];
      return `${name}  ${address}  ${words.join(', ')}  qemu+unix:///system?socket=${socket}`;
    }),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isUsage =
    error instanceof WrongUsage || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message === '' ? '' : `${message}\n`}${isUsage ? usage : ''}`);
  process.exitCode = isUsage ? 2 : 1;
}
